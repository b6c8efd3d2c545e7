//! around: what `lendfs ls` asks of a directory beside its files.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use super::core::{Caller, Core};
use super::error::Result;
use super::resolve::Found;
use super::server::Run;
use crate::control::wire::{Bytes, PlaceRef};
use crate::control::{answers as answer, requests};
use crate::policy::authority::Actor;
use crate::policy::{FolderPolicy, Place, PlaceId, Principal};

impl Run for requests::Around {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Around> {
        if let PlaceRef::Local { mount, path } = &self.directory
            && path.0.is_empty()
        {
            core.own_mount(caller, &mount.0)?;
            return core.around_top(caller);
        }
        let found = core.find_place(caller, &self.directory)?;
        let policy = core.policy(&found.folder)?;
        let actor = core.actor(caller, &policy)?;
        // What is not there and what he does not see answer alike.
        core.anchor(caller, &found)?;
        let places = policy.places.at_or_below(&found.path);
        let children = places.filter(|place| place.path.parent().as_ref() == Some(&found.path));
        let named = children.filter_map(|place| Some((place, place.path.file_name()?)));
        let entries = core.others(&actor, caller, &policy, named);
        Ok(answer::Around {
            at: core.mounted_at(caller, &found)?,
            entries,
        })
    }
}

impl Core {
    fn around_top(&mut self, caller: &Caller) -> Result<answer::Around> {
        let mut entries = Vec::new();
        for entry in self.store.load_tops(&self.snapshot, caller.account.id)?.iter() {
            let Some(policy) = self.snapshot.folders.get(&entry.folder) else {
                continue;
            };
            let actor = self.actor(caller, policy)?;
            let place = policy.places.get(entry.place);
            let named = place.into_iter().map(|place| (place, &*entry.name));
            entries.extend(self.others(&actor, caller, policy, named));
        }
        Ok(answer::Around {
            at: Vec::new(),
            entries,
        })
    }

    /// The lines of others at some places, each with its name, where the caller may know them and there are any. Looks
    /// through the lines of the folder once, however many places there are.
    fn others<'a>(
        &self, actor: &Actor<'_>, caller: &Caller, policy: &FolderPolicy,
        places: impl Iterator<Item = (&'a Place, &'a [u8])>,
    ) -> Vec<answer::Others> {
        let known = places.filter(|(place, _)| actor.inspects(&place.path).is_ok());
        let mut at: HashMap<PlaceId, (&[u8], Vec<answer::LineOfOther>)> = known
            .map(|(place, name)| (place.id, (name, Vec::new())))
            .collect();
        if at.is_empty() {
            return Vec::new();
        }
        for line in policy.lines.values().flat_map(|lines| lines.iter()) {
            if let Some((_, lines)) = at.get_mut(&line.place)
                && line.principal != Principal::Account(caller.account.id)
                && let Ok(principal) = self.store.principal_name(line.principal)
            {
                let level = line.level.to_string();
                lines.push(answer::LineOfOther { principal, level });
            }
        }
        at.retain(|_, (_, lines)| !lines.is_empty());
        let others = at.into_values().map(|(name, mut lines)| {
            lines.sort_unstable();
            answer::Others {
                name: Bytes(name.into()),
                lines,
            }
        });
        others.collect()
    }

    /// Where the caller's mounts show a place.
    fn mounted_at(&mut self, caller: &Caller, found: &Found) -> Result<Vec<Bytes>> {
        let tops = self.store.load_tops(&self.snapshot, caller.account.id)?;
        let policy = self.policy(&found.folder)?;
        let shown = tops.iter().filter(|entry| entry.folder == found.folder.id);
        let below = shown.filter_map(|entry| {
            let top = policy.places.get(entry.place).map(|place| place.path.clone());
            let rest = found.path.strip_prefix(&top.unwrap_or_default())?.to_bytes();
            let slash: &[u8] = if rest.is_empty() { b"" } else { b"/" };
            Some([&entry.name, slash, &rest].concat())
        });
        let below: Vec<_> = below.collect();
        let mounts = self
            .mounts
            .iter()
            .filter(|mount| mount.subject == caller.account.id);
        let paths = mounts.filter_map(|mount| mount.at()).flat_map(|at| {
            let below = below.iter();
            below
                .map(|below| Bytes([at.as_os_str().as_bytes(), b"/", below].concat()))
                .collect::<Vec<_>>()
        });
        Ok(paths.collect())
    }
}
