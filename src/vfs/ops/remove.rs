//! unlink, rmdir.

use super::lookup::parse_name;
use crate::backing::{self, FileKind};
use crate::policy::{Operation, PlaceChange, PlaceKind, Refusal, Right};
use crate::vfs::again::known;
use crate::vfs::edits::{At, Going};
use crate::vfs::error::Result;
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::ids::Ino;
use crate::vfs::journal::requests;
use crate::vfs::locate::Probe;
use crate::vfs::paths::path_below;

impl FileSystem {
    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// EACCES without `write`, EPERM without `delete`.
    pub fn unlink(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<()> {
        self.remove(caller, parent, name, false)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Like [`FileSystem::unlink`]; EACCES if a line reaches something in it that the subject may not delete,
    /// even if it looks empty to him.
    pub fn rmdir(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<()> {
        self.remove(caller, parent, name, true)
    }

    fn remove(&self, caller: Caller, parent: Ino, name: &[u8], directory: bool) -> Result<()> {
        let name = parse_name(name)?;
        self.with_view(|view| {
            let parent = match self.target(view, parent)? {
                Target::Top => return self.refuse_in_top(view, name.as_bytes()),
                Target::Entry(parent) => self.verify(view, parent)?,
            };
            // What may go is judged by what has the name, which must not be another's when it goes.
            let _held = self.shared.names.hold(&parent.node);
            let probe = self.probe(&parent, &name)?;
            let leads = parent.folder.tree.leads(probe.cursor);
            let Some(kind) = probe.kind() else {
                self.authorize(&Operation::LookUp {
                    parent: parent.verdict,
                    entry: probe.verdict,
                    leads,
                })?;
                return Err(Refusal::NotFound.into());
            };
            let at = At {
                parent: &parent,
                name: &name,
                probe: &probe,
            };
            let going = self.going(caller, at)?;
            let exempt = going != Going::AsJudged;
            let needed = if exempt { Right::Write } else { Right::Delete };
            self.authorize(&Operation::Remove {
                parent: parent.verdict,
                entry: probe.verdict,
                below: kind != FileKind::Directory || parent.folder.tree.all_below(probe.cursor, needed),
                exempt,
            })?;
            match going {
                Going::UntilMadeAnew(process) => {
                    check_kind(kind, directory)?;
                    self.say_gone(at, process);
                }
                Going::AsJudged | Going::Exempt | Going::CameBack(_) => {
                    if let Going::CameBack(process) = going {
                        self.hand_over(at, process)?;
                    }
                    self.remove_judged(&parent, &name, &probe, directory)?;
                    self.note_removed(at);
                }
            }
            Ok(())
        })
    }

    fn remove_judged(
        &self, parent: &Seen, name: &backing::Name, probe: &Probe, directory: bool,
    ) -> Result<()> {
        self.keep_for_readers(parent, name, probe)?;
        let _changing = (self.changing(&parent.node), self.touching_found(parent, probe));
        {
            let fd = self.fd(parent)?;
            let _as = parent.folder.backing.credentials().assume()?;
            requests::reach(known(probe), 0);
            if directory {
                backing::rmdir(&fd, name)?;
            } else {
                backing::unlink(&fd, name)?;
            }
        }
        self.touched_inode(parent, probe);
        self.line_lost(parent, name, directory);
        Ok(())
    }

    /// Notes that the name of a line is gone.
    pub(in crate::vfs) fn line_lost(&self, parent: &Seen, name: &backing::Name, directory: bool) {
        // What is made there again is not what the line was made for: the line raises nothing from now on.
        let places = &parent.folder.policy.places;
        if places.may_be_called(name.as_bytes())
            && let Some(place) = path_below(parent, name).and_then(|path| places.find(&path))
            && (place.kind == PlaceKind::Directory) == directory
        {
            self.shared
                .change_places(parent.folder.policy.id, &[(place.id, PlaceChange::Gone)]);
        }
    }

    /// Changes in the top directory are nobody's; of names that are not there it says so.
    pub(super) fn refuse_in_top(&self, view: &crate::vfs::view::View, name: &[u8]) -> Result<()> {
        let verdict = view
            .top_entry(name)
            .map(|(_, folder, cursor)| folder.tree.verdict(cursor));
        match verdict {
            Some(_) => self.authorize(&Operation::ChangeTop)?,
            None => self.authorize(&Operation::Look(crate::policy::Verdict::default()))?,
        }
        Err(Refusal::NotPermitted.into())
    }
}

/// What the backing would say of something that it is not asked to remove.
fn check_kind(kind: FileKind, directory: bool) -> Result<()> {
    match (kind == FileKind::Directory, directory) {
        (true, false) => Err(std::io::Error::from_raw_os_error(libc::EISDIR).into()),
        (false, true) => Err(std::io::Error::from_raw_os_error(libc::ENOTDIR).into()),
        _ => Ok(()),
    }
}
