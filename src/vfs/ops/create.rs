//! create, mknod, mkdir, symlink: what makes a new name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::lookup::parse_name;
use super::open::{Opening, opening};
use crate::backing::{self, Credentials, FileKind, Name};
use crate::policy::{Operation, Refusal};
use crate::vfs::again::make_key;
use crate::vfs::attr::Entry;
use crate::vfs::backing::Custody;
use crate::vfs::edits::{At, Making};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::ids::Ino;
use crate::vfs::journal::requests;
use crate::vfs::kernel::Passthrough;
use crate::vfs::locate::Probe;
use crate::vfs::view::View;

impl FileSystem {
    /// Makes a regular file and opens it; opens what is there if the flags do not say O_EXCL.
    ///
    /// # Errors
    /// EACCES without `create` on the parent, or onto a name that a line hides.
    pub fn create(
        &self, caller: Caller, parent: Ino, name: &[u8], mode: u32, flags: i32, passthrough: &dyn Passthrough,
    ) -> Result<(Entry, Opening)> {
        let name = parse_name(name)?;
        let mut look = false;
        self.with_view(|view| {
            let parent = self.parent(view, parent)?;
            let how = libc::O_EXCL | libc::O_RDWR | flags & (libc::O_SYNC | libc::O_DSYNC);
            let exclusively = flags & libc::O_EXCL != 0;
            let mode = self.shown_bits(&parent, mode);
            if let Some(gone) = self.gone_for(caller, &parent, &name)? {
                let gone = At {
                    parent: &parent,
                    name: &name,
                    probe: &gone,
                };
                let fd = self.make_anew(caller, gone, FileKind::Regular, |directory, name| {
                    Ok(backing::create(directory, name, how, mode)?)
                })?;
                return self.open_made(view, &parent, &name, fd, flags, passthrough, None);
            }
            let probe = self.probe_to_make(&parent, &name, &mut look)?;
            // Another was quicker than the kernel's lookup: then this is an opening.
            if flags & libc::O_EXCL == 0 && probe.there.is_some() && probe.verdict.sees() {
                return self.open_found(view, &parent, &name, probe, flags, passthrough);
            }
            self.authorize(&making(&parent, &probe, false))?;
            // What is noted as made is what has the name then.
            let _held = self.hold_if_protected(&parent, &probe);
            let fd = self
                .make(&parent, &name, caller, |directory| {
                    Ok(backing::create(directory, &name, how, mode)?)
                })
                .map_err(|error| taken(error, &mut look, flags & libc::O_EXCL == 0))?;
            let made = Some((caller, Making::File { exclusively }));
            self.open_made(view, &parent, &name, fd, flags, passthrough, made)
        })
    }

    /// Opens what was made just now; a file that did not take another's place is noted as `made`.
    #[expect(
        clippy::too_many_arguments,
        reason = "what was made, by whom, and how it is opened"
    )]
    fn open_made(
        &self, view: &View, parent: &Seen, name: &Name, fd: OwnedFd, flags: i32,
        passthrough: &dyn Passthrough, made: Option<(Caller, Making)>,
    ) -> Result<(Entry, Opening)> {
        let probe = self.probe_made(parent, name, &fd)?;
        if let Some((caller, making)) = made {
            let probe = &probe;
            self.note_made(caller, At { parent, name, probe }, making);
        }
        let (seen, entry) = self.keep_made(view, parent, name, probe)?;
        let opening = self
            .open_checked(&seen, flags & !libc::O_TRUNC, fd, true, passthrough)
            .inspect_err(|_| self.nodes.forget(seen.node.ino, 1))?;
        Ok((entry, opening))
    }

    /// Makes a regular file, a FIFO, a socket or a device.
    ///
    /// # Errors
    /// Like [`FileSystem::create`]; EPERM for devices, but in a folder that is served bare.
    pub fn mknod(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32, rdev: u32) -> Result<Entry> {
        let name = parse_name(name)?;
        let kind = FileKind::from_mode(mode).unwrap_or(FileKind::Regular);
        let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        self.make_entry(
            caller,
            (parent, &name),
            kind,
            device,
            |parent, directory, name| {
                let mode = self.shown_bits(parent, mode);
                Ok(backing::mknod(directory, name, kind, mode, rdev)?)
            },
        )
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Like [`FileSystem::create`].
    pub fn mkdir(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32) -> Result<Entry> {
        let name = parse_name(name)?;
        self.make_entry(
            caller,
            (parent, &name),
            FileKind::Directory,
            false,
            |parent, directory, name| Ok(backing::mkdir(directory, name, self.shown_bits(parent, mode))?),
        )
    }

    /// Makes a symbolic link. Its content is the client's affair: the daemon never follows one.
    ///
    /// # Errors
    /// Like [`FileSystem::create`].
    pub fn symlink(&self, caller: Caller, parent: Ino, name: &[u8], content: &[u8]) -> Result<Entry> {
        let name = parse_name(name)?;
        self.make_entry(
            caller,
            (parent, &name),
            FileKind::Symlink,
            false,
            |_, directory, name| Ok(backing::symlink(content, directory, name)?),
        )
    }

    fn make_entry(
        &self, caller: Caller, (parent, name): (Ino, &Name), kind: FileKind, device: bool,
        make: impl Fn(&Seen, BorrowedFd<'_>, &Name) -> Result<()>,
    ) -> Result<Entry> {
        let mut look = false;
        self.with_view(|view| {
            let parent = self.parent(view, parent)?;
            if let Some(gone) = self.gone_for(caller, &parent, name)? {
                let gone = At {
                    parent: &parent,
                    name,
                    probe: &gone,
                };
                self.make_entry_anew(caller, gone, kind, |directory, name| {
                    make(&parent, directory, name)
                })?;
                return Ok(self.made(view, &parent, name)?.1);
            }
            let probe = self.probe_to_make(&parent, name, &mut look)?;
            self.authorize(&making(&parent, &probe, device && !self.is_bare(&parent)))?;
            let _held = self.hold_if_protected(&parent, &probe);
            self.make(&parent, name, caller, |directory| make(&parent, directory, name))
                .map_err(|error| taken(error, &mut look, false))?;
            let probe = self.probe(&parent, name)?;
            if probe.kind().is_some_and(|there| there != kind) {
                // Another has taken it elsewhere, and something else is there: the kernel would take that for an error.
                return Err(Error::Stale);
            }
            let at = At {
                parent: &parent,
                name,
                probe: &probe,
            };
            self.note_made(caller, at, Making::of(kind));
            Ok(self.keep_made(view, &parent, name, probe)?.1)
        })
    }

    fn make_entry_anew(
        &self, caller: Caller, gone: At<'_>, kind: FileKind,
        make: impl FnOnce(BorrowedFd<'_>, &Name) -> Result<()>,
    ) -> Result<()> {
        if kind != FileKind::Directory || gone.probe.kind() != Some(FileKind::Directory) {
            return self.make_anew(caller, gone, kind, make);
        }
        // What was in it stays gone for who unlinked it.
        self.authorize(&Operation::Replace {
            parent: gone.parent.verdict,
            entry: gone.probe.verdict,
        })?;
        self.no_longer_gone(gone);
        Ok(())
    }

    /// The directory that something is to be made in, still in its place.
    pub(in crate::vfs) fn parent(&self, view: &View, parent: Ino) -> Result<Seen> {
        match self.target(view, parent)? {
            Target::Top => {
                self.authorize(&Operation::ChangeTop)?;
                Err(Refusal::NotPermitted.into())
            }
            Target::Entry(parent) => self.verify(view, parent),
        }
    }

    /// What holds for a name that is to be made. Where no line has to do with it, nobody looks whether it is there:
    /// the backing will say. `look` tells that it did, and is set if this has looked.
    fn probe_to_make(&self, parent: &Seen, name: &Name, look: &mut bool) -> Result<Probe> {
        if !*look && let Some(probe) = Probe::without_lines(parent, name) {
            return Ok(probe);
        }
        *look = true;
        self.probe(parent, name)
    }

    /// Runs what makes a new entry with the credentials of the one it shall belong to.
    fn make<T>(
        &self, parent: &Seen, name: &Name, caller: Caller, make: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
    ) -> Result<T> {
        let fd = self.fd(parent)?;
        let _changing = self.changing(&parent.node);
        let _as = self.maker(parent, caller).assume()?;
        if self.journal.is_some() {
            requests::reach(Some((make_key(parent, name), None)), 0);
        }
        make(fd.as_fd())
    }

    /// Whose a new entry becomes.
    pub(in crate::vfs) fn maker(&self, parent: &Seen, caller: Caller) -> Credentials {
        if self.is_bare(parent) {
            return Credentials::Caller {
                uid: caller.uid,
                gid: caller.gid,
            };
        }
        match parent.folder.backing.custody() {
            Some(Custody::Managed) | None => {
                let (uid, gid) = self.options.subject_ids;
                Credentials::Maker { uid, gid }
            }
            Some(Custody::Adopted(_)) => parent.folder.backing.credentials(),
        }
    }

    /// Finds what was made just now.
    pub(super) fn made(&self, view: &View, parent: &Seen, name: &Name) -> Result<(Seen, Entry)> {
        let probe = self.probe(parent, name)?;
        self.keep_made(view, parent, name, probe)
    }

    /// Makes the node of what was made just now.
    pub(in crate::vfs) fn keep_made(
        &self, view: &View, parent: &Seen, name: &Name, probe: Probe,
    ) -> Result<(Seen, Entry)> {
        self.note_bearer(parent, name, &probe);
        // Gone again, or hidden: another was at work at the same time.
        let (seen, stat) = self
            .keep_probed(view, parent, name, probe)?
            .ok_or(Refusal::NotFound)?;
        if !seen.verdict.sees() {
            return Err(Refusal::NotFound.into());
        }
        let lasts = self.name_lasts(parent, &seen.verdict);
        let entry = self.entry(&seen, &stat, lasts);
        Ok((seen, entry))
    }

    /// The mode bits that a new or changed entry may have: setuid, setgid and sticky only where all is served bare.
    pub(super) fn shown_bits(&self, seen: &Seen, mode: u32) -> u32 {
        mode & if self.is_bare(seen) { 0o7777 } else { 0o777 }
    }

    fn open_found(
        &self, view: &View, parent: &Seen, name: &Name, probe: Probe, flags: i32,
        passthrough: &dyn Passthrough,
    ) -> Result<(Entry, Opening)> {
        // The kernel opens anything else by itself, and to open a FIFO is to wait for its other end.
        match probe.kind() {
            Some(FileKind::Regular) => {}
            Some(FileKind::Directory) => return Err(std::io::Error::from_raw_os_error(libc::EISDIR).into()),
            _ => return Err(Error::Stale),
        }
        let (seen, stat) = self
            .keep_probed(view, parent, name, probe)?
            .ok_or(Refusal::NotFound)?;
        self.authorize(&opening(&seen, flags))
            .and_then(|()| {
                let opening = self.open_judged(&seen, flags, passthrough)?;
                let lasts = self.name_lasts(parent, &seen.verdict);
                Ok((self.entry(&seen, &stat, lasts), opening))
            })
            .inspect_err(|_| self.nodes.forget(seen.node.ino, 1))
    }
}

fn making(parent: &Seen, probe: &Probe, device: bool) -> Operation {
    Operation::Make {
        parent: parent.verdict,
        name: probe.verdict,
        occupied: probe.there.is_some(),
        device,
    }
}

/// Where the name turns out to be taken, all is looked at anew: it may be one that the subject does not see, or, if
/// he would have what is there (`or_open`), another may have made it just now.
fn taken(error: Error, look: &mut bool, or_open: bool) -> Error {
    match error {
        Error::Backing(error) if error.raw_os_error() == Some(libc::EEXIST) && (or_open || !*look) => {
            *look = true;
            Error::PlacesMoved
        }
        error => error,
    }
}
