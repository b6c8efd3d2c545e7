//! link, readlink.

use super::lookup::parse_name;
use std::os::fd::AsFd;

use crate::backing;
use crate::policy::{Operation, Refusal};
use crate::vfs::attr::Entry;
use crate::vfs::edits::{At, Making};
use crate::vfs::error::Result;
use crate::vfs::filesystem::{Caller, FileSystem, Target};
use crate::vfs::ids::Ino;
use crate::vfs::journal::requests;
use crate::vfs::paths::path_below;

impl FileSystem {
    /// Gives a file another name in the same folder.
    ///
    /// # Errors
    /// EXDEV where a line of anyone makes a difference between the two names, and across folders.
    pub fn link(&self, caller: Caller, source: Ino, new_parent: Ino, new_name: &[u8]) -> Result<Entry> {
        let name = parse_name(new_name)?;
        self.with_view(|view| {
            let Target::Entry(parent) = self.target(view, new_parent)? else {
                self.authorize(&Operation::ChangeTop)?;
                return Err(Refusal::NotPermitted.into());
            };
            let source = self.verify(view, self.seen(view, source)?)?;
            let parent = self.verify(view, parent)?;
            let probe = self.probe(&parent, &name)?;
            let places = &parent.folder.policy.places;
            let same_folder = source.node.folder == parent.node.folder;
            let same_zone = same_folder
                && (places.is_plain()
                    || match (source.path(), path_below(&parent, &name)) {
                        (Some(from), Some(to)) => places.zone(&from) == places.zone(&to),
                        _ => false,
                    });
            self.authorize(&Operation::Link {
                source: source.verdict,
                parent: parent.verdict,
                name: probe.verdict,
                occupied: probe.there.is_some(),
                same_zone,
            })?;
            // What is noted as made is what has the name then.
            let _held = self.hold_if_protected(&parent, &probe);
            let scratch = &parent.folder.policy.protection.scratch;
            if scratch.match_name(name.as_bytes()) {
                // It may have been made under this name.
                self.remove_scratch_mark_of(&source)?;
            }
            let _changing = (
                self.changing(&parent.node),
                self.touching(source.node.ino.family()),
            );
            {
                let (file, directory) = (self.fd(&source)?, self.fd(&parent)?);
                let _as = parent.folder.backing.credentials().assume()?;
                requests::reach(Some((source.node.object.number, source.node.object.birth)), 0);
                backing::link(file.as_fd(), directory.as_fd(), &name)?;
            }
            self.touched(&source.node);
            let probe = self.probe(&parent, &name)?;
            let at = At {
                parent: &parent,
                name: &name,
                probe: &probe,
            };
            let linked = probe.there.as_ref();
            if linked.is_some_and(|there| there.object.is(&source.node.object)) {
                self.note_made(caller, at, Making::Link);
            }
            Ok(self.keep_made(view, &parent, &name, probe)?.1)
        })
    }

    /// The content of a symbolic link, which only the client follows.
    ///
    /// # Errors
    /// EACCES without `read`.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        self.with_view(|view| {
            let seen = self.seen(view, ino)?;
            self.authorize(&Operation::Read(seen.verdict))?;
            let fd = self.fd(&seen)?;
            let _as = seen.folder.backing.credentials().assume()?;
            Ok(backing::readlink(&fd)?)
        })
    }
}
