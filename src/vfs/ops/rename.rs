//! rename.

use std::sync::Arc;

use super::lookup::parse_name;
use crate::backing::{self, FileKind, Name};
use crate::policy::{Operation, Place, PlaceChange, PlaceKind, Refusal, Right, Standing};
use crate::vfs::again::known;
use crate::vfs::edits::{At, protects};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::gone::Presence;
use crate::vfs::ids::Ino;
use crate::vfs::journal::requests;
use crate::vfs::locate::Probe;
use crate::vfs::node::Position;
use crate::vfs::object::Opened;
use crate::vfs::paths::path_below;
use crate::vfs::view::View;

/// The flags of `renameat2(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenameFlags {
    /// `RENAME_NOREPLACE`
    pub no_replace: bool,
    /// `RENAME_EXCHANGE`
    pub exchange: bool,
    /// `RENAME_WHITEOUT`
    pub whiteout: bool,
}

impl FileSystem {
    /// Renames or moves an entry within its folder. In the top directory: renames the folder, for its owner.
    ///
    /// # Errors
    /// EXDEV across folders; the rename rows of the table.
    pub fn rename(
        &self, caller: Caller, from: (Ino, &[u8]), to: (Ino, &[u8]), mut flags: RenameFlags,
    ) -> Result<()> {
        let (name, new_name) = (parse_name(from.1)?, parse_name(to.1)?);
        self.with_view(|view| {
            let (parent, new_parent) = match (self.target(view, from.0)?, self.target(view, to.0)?) {
                (Target::Entry(parent), Target::Entry(new_parent)) => (parent, new_parent),
                (Target::Top, Target::Top) => return self.rename_folder(view, &name, &new_name, flags),
                (Target::Top, Target::Entry(_)) => return self.refuse_in_top(view, name.as_bytes()),
                (Target::Entry(_), Target::Top) => {
                    self.authorize(&Operation::ChangeTop)?;
                    return Err(Refusal::NotPermitted.into());
                }
            };
            let parent = self.verify(view, parent)?;
            let new_parent = if Arc::ptr_eq(&new_parent.node, &parent.node) {
                parent.clone()
            } else {
                self.verify(view, new_parent)?
            };
            let _held = self.shared.names.hold_both(&parent.node, &new_parent.node);
            let entry = self.probe(&parent, &name)?;
            let Some(kind) = entry.kind() else {
                let leads = parent.folder.tree.leads(entry.cursor);
                self.authorize(&Operation::LookUp {
                    parent: parent.verdict,
                    entry: entry.verdict,
                    leads,
                })?;
                return Err(Refusal::NotFound.into());
            };
            let target = self.probe(&new_parent, &new_name)?;
            let from = At {
                parent: &parent,
                name: &name,
                probe: &entry,
            };
            let to = At {
                parent: &new_parent,
                name: &new_name,
                probe: &target,
            };
            let process = self.process_to_rename(caller, from, to);
            let exemption = self.exemption(process, from, to)?;
            // To who unlinked it the name is free.
            flags.no_replace &= self.presence(caller, to) != Presence::Gone;
            let tree = &parent.folder.tree;
            let below = |probe: &Probe, exempt: bool| {
                let needed = if exempt { Right::Write } else { Right::Delete };
                probe.kind() != Some(FileKind::Directory) || tree.all_below(probe.cursor, needed)
            };
            self.authorize(&Operation::Rename {
                parent: parent.verdict,
                entry: entry.verdict,
                directory: kind == FileKind::Directory,
                new_parent: new_parent.verdict,
                target: target.verdict,
                occupied: target.there.is_some(),
                same_directory: parent.node.ino == new_parent.node.ino,
                same_folder: parent.node.folder == new_parent.node.folder,
                below: below(&entry, exemption.entry) && below(&target, exemption.target),
                no_replace: flags.no_replace,
                exchange: flags.exchange,
                whiteout: flags.whiteout,
                exemption,
            })?;
            let saves = exemption.saves && protects(target.verdict);
            if saves {
                self.keep_maker(to, from)?;
                self.keep_access(to, from)?;
            }
            self.lose_marks(from, to, saves)?;
            if flags.exchange {
                self.lose_marks(to, from, false)?;
            }
            // Under `edit`, what another mount makes there by now is not to be replaced.
            let judged_free = target.there.is_none() && protects(target.verdict) && !flags.no_replace;
            let rename = |no_replace| {
                let flags = RenameFlags { no_replace, ..flags };
                self.rename_judged(&parent, &name, &entry, &new_parent, &new_name, &target, flags)
            };
            match rename(flags.no_replace || judged_free) {
                Err(Error::Backing(error)) if judged_free => match error.raw_os_error() {
                    Some(libc::EEXIST) => return Err(Error::PlacesMoved),
                    // Not every file system can promise it.
                    Some(libc::EINVAL) => rename(false)?,
                    _ => return Err(error.into()),
                },
                done => done?,
            }
            // Two names of one inode stay as they are (`rename(2)`).
            let same = |there: &Opened| {
                target
                    .there
                    .as_ref()
                    .is_some_and(|other| other.object.is(&there.object))
            };
            if !entry.there.as_ref().is_some_and(same) {
                self.note_renamed(process, from, to, flags.exchange);
            }
            Ok(())
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two entries, each a directory, a name and what is there"
    )]
    fn rename_judged(
        &self, parent: &Seen, name: &Name, entry: &Probe, new_parent: &Seen, new_name: &Name, target: &Probe,
        flags: RenameFlags,
    ) -> Result<()> {
        // Who leaves a name with a line is remembered before he leaves, and who comes to one is known by then.
        if file_line(parent, name).is_some() || file_line(new_parent, new_name).is_some() {
            for (parent, name, probe) in [(parent, name, entry), (new_parent, new_name, target)] {
                if let Some(there) = &probe.there {
                    self.handle_at(parent, name, &there.object)?;
                }
            }
        }
        self.note_bearer(parent, name, entry);
        self.note_bearer(new_parent, new_name, target);
        if !flags.exchange {
            self.keep_for_readers(new_parent, new_name, target)?;
        }
        let _changing = (self.changing(&parent.node), self.changing(&new_parent.node));
        let _touching = (
            self.touching_found(parent, entry),
            self.touching_found(parent, target),
        );
        {
            let (from, to) = (self.fd(parent)?, self.fd(new_parent)?);
            let _as = parent.folder.backing.credentials().assume()?;
            let flags = backing::RenameFlags {
                no_replace: flags.no_replace,
                exchange: flags.exchange,
            };
            requests::reach(known(entry), u64::from(target.there.is_some()));
            backing::rename(&from, name, &to, new_name, flags)?;
        }
        self.renamed((parent, name, entry), (new_parent, new_name, target), flags);
        Ok(())
    }

    /// Lets all follow that knew what was renamed.
    fn renamed(
        &self, (parent, name, entry): (&Seen, &Name, &Probe),
        (new_parent, new_name, target): (&Seen, &Name, &Probe), flags: RenameFlags,
    ) {
        self.follow(parent, name, entry, new_parent, new_name);
        self.displace((parent, name), (new_parent, new_name), entry.kind());
        if flags.exchange {
            self.follow(new_parent, new_name, target, parent, name);
            self.displace((new_parent, new_name), (parent, name), target.kind());
            self.note_bearer(parent, name, target);
        }
        self.note_bearer(new_parent, new_name, entry);
        self.touched_inode(parent, entry);
        self.touched_inode(parent, target);
    }

    /// Likewise, where a former daemon renamed it and came no further.
    pub(in crate::vfs) fn renamed_before(
        &self, caller: Caller, (parent, name, entry): (&Seen, &Name, &Probe),
        (new_parent, new_name, target): (&Seen, &Name, &Probe), replaced: bool, flags: RenameFlags,
    ) {
        self.renamed((parent, name, entry), (new_parent, new_name, target), flags);
        let from = At {
            parent,
            name,
            probe: entry,
        };
        // Something else had the name: it is as protected as that was.
        let held = if replaced { entry } else { target };
        let to = At {
            parent: new_parent,
            name: new_name,
            probe: held,
        };
        let process = self.process_to_rename(caller, from, to);
        self.note_renamed(process, from, to, flags.exchange);
    }

    /// Lets nodes and lines follow what was renamed.
    fn follow(&self, parent: &Seen, name: &Name, entry: &Probe, new_parent: &Seen, new_name: &Name) {
        let Some(Opened { object, .. }) = &entry.there else {
            return;
        };
        for node in self.nodes.of_inode(parent.node.folder, object) {
            if node.is_called(&parent.node, name) {
                let parent = Arc::clone(&new_parent.node);
                node.moved(Position::Under {
                    parent,
                    name: new_name.into(),
                });
            }
        }
        if object.kind != FileKind::Directory || new_parent.folder.policy.places.is_plain() {
            return;
        }
        let paths = (path_below(parent, name), path_below(new_parent, new_name));
        if let (Some(from), Some(to)) = paths {
            let _: Error = self.moved(&parent.folder, &from, &to);
        }
        // What lies below the directory was judged by its old place.
        self.shared.renew(parent.folder.policy.id);
    }

    /// Remembers which inode bears the name of a line, whoever the line is for: that of the probe, which has the
    /// name now.
    pub(super) fn note_bearer(&self, parent: &Seen, name: &Name, probe: &Probe) {
        let (Some(there), Some(place)) = (&probe.there, file_line(parent, name)) else {
            return;
        };
        if there.object.kind == FileKind::Directory {
            return;
        }
        match self.handle_at(parent, name, &there.object) {
            Ok(Some(handle)) => {
                let change = PlaceChange::Observed(handle.as_bytes().into());
                self.shared
                    .change_places(parent.folder.policy.id, &[(place.id, change)]);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, ?name, "who bears the name of a line is not known"),
        }
    }

    fn rename_folder(&self, view: &View, name: &Name, new_name: &Name, flags: RenameFlags) -> Result<()> {
        let Some((entry, folder, cursor)) = view.top_entry(name.as_bytes()) else {
            return self.refuse_in_top(view, name.as_bytes());
        };
        let owner = folder.tree.verdict(cursor).standing == Standing::Owner;
        let root = folder
            .policy
            .places
            .get(entry.place)
            .is_none_or(|place| place.path.is_root());
        if !owner || !root || flags.exchange || view.top_entry(new_name.as_bytes()).is_some() {
            return self.refuse_in_top(view, name.as_bytes());
        }
        self.authorize(&Operation::Look(folder.tree.verdict(cursor)))?;
        let new = std::str::from_utf8(new_name.as_bytes()).map_err(|_| Error::BadName)?;
        self.shared
            .steward
            .rename_folder(self.options.viewer.account, entry.folder, new)?;
        Ok(())
    }
}

/// The place of a line on a name, made for a file.
fn file_line<'a>(parent: &'a Seen, name: &Name) -> Option<&'a Place> {
    let places = &parent.folder.policy.places;
    if !places.may_be_called(name.as_bytes()) {
        return None;
    }
    places
        .find(&path_below(parent, name)?)
        .filter(|place| place.kind == PlaceKind::File)
}
