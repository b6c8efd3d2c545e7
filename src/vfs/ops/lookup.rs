//! lookup, forget.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::backing::{self, Name, Stat};
use crate::policy::{Operation, PlacePath, Refusal, TopEntry};
use crate::vfs::attr::Entry;
use crate::vfs::edits::At;
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::gone::Presence;
use crate::vfs::ids::Ino;
use crate::vfs::locate::{Probe, verdict_of};
use crate::vfs::node::Position;
use crate::vfs::object::Opened;
use crate::vfs::view::{FolderView, View};

impl FileSystem {
    /// Finds a name in a directory and makes its node known to the kernel.
    ///
    /// # Errors
    /// ENOENT for what is not there or not seen; EACCES below what is locked.
    pub fn lookup(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<Entry> {
        let name = parse_name(name)?;
        self.with_view(|view| match self.target(view, parent)? {
            Target::Top => self.lookup_in_top(view, &name),
            Target::Entry(parent) => self.lookup_below(view, caller, parent, &name),
        })
    }

    /// Takes back what lookups told the kernel.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        if self.nodes.takes_back(ino, lookups) {
            self.shared.descriptors.forgotten();
            self.forget_nameless(ino);
        } else if self.nodes.find(ino).is_some_and(|node| node.is_uncertain()) {
            self.suspect(vec![ino]);
        }
    }

    fn lookup_in_top(&self, view: &View, name: &Name) -> Result<Entry> {
        let found = view.top_entry(name.as_bytes());
        let verdict = found
            .as_ref()
            .map(|(_, folder, cursor)| folder.tree.verdict(*cursor))
            .unwrap_or_default();
        let lasts = self.top_lasts();
        self.authorize(&Operation::Look(verdict))
            .map_err(|error| error.lasting(lasts))?;
        let (entry, folder, _) = found.ok_or(Refusal::NotFound)?;
        let (seen, stat) = self.keep_top_entry(view, entry, folder)?;
        if !seen.verdict.sees() {
            return Err(Refusal::NotFound.into());
        }
        let lasts = self.top_entry_lasts(&seen);
        Ok(self.entry(&seen, &stat, lasts))
    }

    /// Makes the node of what the top directory shows.
    pub(super) fn keep_top_entry(
        &self, view: &View, entry: &TopEntry, folder: &Arc<FolderView>,
    ) -> Result<(Seen, Stat)> {
        let place = folder.policy.places.get(entry.place);
        let granted = place.filter(|place| !place.path.is_root());
        let opened = Opened::of(open_granted(folder, granted.map(|place| &place.path))?)?;
        let stat = opened.stat;
        if granted.is_none() && stat.nlink == 0 {
            return Err(self.lost(folder));
        }
        let (position, cursor) = match granted {
            None => (Position::Root, folder.tree.root()),
            Some(place) => (
                Position::Granted(place.id),
                self.granted(folder, place.id, &opened.object)?,
            ),
        };
        let verdict = verdict_of(folder, cursor, opened.fd.as_deref());
        let node = self.keep_at(view, folder, opened, position, cursor);
        Ok((
            Seen {
                node,
                folder: Arc::clone(folder),
                cursor,
                verdict,
            },
            stat,
        ))
    }

    fn lookup_below(&self, view: &View, caller: Caller, parent: Seen, name: &Name) -> Result<Entry> {
        let parent = if parent.folder.tree.uniform() {
            parent
        } else {
            self.verify(view, parent)?
        };
        let probe = self.probe(&parent, name)?;
        let leads = parent.folder.tree.leads(probe.cursor);
        let lasts = self.name_lasts(&parent, &probe.verdict);
        self.authorize(&Operation::LookUp {
            parent: parent.verdict,
            entry: probe.verdict,
            leads,
        })
        .map_err(|error| error.lasting(lasts))?;
        let at = At {
            parent: &parent,
            name,
            probe: &probe,
        };
        let lasts = match self.presence(caller, at) {
            Presence::There => lasts,
            Presence::GoneForOthers => Duration::ZERO,
            Presence::Gone => return Err(Error::Missing(Duration::ZERO)),
        };
        let (seen, stat) = self
            .keep_probed(view, &parent, name, probe)?
            .ok_or(Error::Missing(lasts))?;
        Ok(self.entry(&seen, &stat, lasts))
    }

    /// Makes the node of a probe that was judged; `None` if nothing is there.
    pub(super) fn keep_probed(
        &self, view: &View, parent: &Seen, name: &Name, probe: Probe,
    ) -> Result<Option<(Seen, Stat)>> {
        let Probe {
            there,
            cursor,
            verdict,
        } = probe;
        let Some(opened) = there else {
            return Ok(None);
        };
        let stat = opened.stat;
        let folder = &parent.folder;
        let node = self.keep(view, parent, name, opened, cursor);
        Ok(Some((
            Seen {
                node,
                folder: Arc::clone(folder),
                cursor,
                verdict,
            },
            stat,
        )))
    }
}

/// Parses a component as the kernel sends it.
///
/// # Errors
/// EINVAL for what is no name, ENAMETOOLONG over 255 bytes.
pub(in crate::vfs) fn parse_name(name: &[u8]) -> Result<Name> {
    Name::new(name).map_err(|_| {
        if name.len() > 255 {
            Error::LongName
        } else {
            Error::BadName
        }
    })
}

/// Opens the root of a folder, or a granted path in it.
fn open_granted(folder: &FolderView, path: Option<&PlacePath>) -> Result<OwnedFd> {
    let root = folder.backing.root()?;
    let _as = folder.backing.credentials().assume()?;
    Ok(match path {
        None => backing::open_beneath(root, std::iter::empty())?,
        Some(path) => backing::open_beneath(root, path.components())?,
    })
}
