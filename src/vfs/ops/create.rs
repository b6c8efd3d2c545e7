//! create, mknod, mkdir, symlink: what makes a new name.

use std::os::fd::{AsFd, BorrowedFd};

use super::lookup::parse_name;
use super::open::{Opening, opening};
use crate::backing::{self, Credentials, FileKind, Name};
use crate::policy::{Operation, Refusal};
use crate::vfs::attr::Entry;
use crate::vfs::backing::Custody;
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::ids::Ino;
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
        self.with_view(|view| {
            let (parent, probe) = self.creation(view, parent, &name)?;
            // Another was quicker than the kernel's lookup: then this is an opening.
            if flags & libc::O_EXCL == 0 && probe.there.is_some() && probe.verdict.sees() {
                return self.open_found(view, &parent, &name, probe, flags, passthrough);
            }
            self.authorize(&making(&parent, &probe, false))?;
            let mode = self.shown_bits(&parent, mode);
            self.make(&parent, caller, |directory| {
                backing::create(
                    directory,
                    &name,
                    libc::O_CREAT | libc::O_EXCL | libc::O_RDWR,
                    mode,
                )?;
                Ok(())
            })
            .map_err(|error| {
                if flags & libc::O_EXCL == 0 {
                    lost_race(error)
                } else {
                    error
                }
            })?;
            let (seen, entry) = self.made(view, &parent, &name)?;
            let opening = self.open_judged(&seen, flags & !libc::O_TRUNC, passthrough)?;
            Ok((entry, opening))
        })
    }

    /// Makes a regular file, a FIFO, a socket or a device.
    ///
    /// # Errors
    /// Like [`FileSystem::create`]; EPERM for devices, but in a folder that is served bare.
    pub fn mknod(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32, rdev: u32) -> Result<Entry> {
        let name = parse_name(name)?;
        let kind = FileKind::from_mode(mode).unwrap_or(FileKind::Regular);
        self.with_view(|view| {
            let (parent, probe) = self.creation(view, parent, &name)?;
            let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
            self.authorize(&making(&parent, &probe, device && !self.is_bare(&parent)))?;
            let mode = self.shown_bits(&parent, mode);
            self.make(&parent, caller, |directory| {
                Ok(backing::mknod(directory, &name, kind, mode, rdev)?)
            })?;
            Ok(self.made(view, &parent, &name)?.1)
        })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Like [`FileSystem::create`].
    pub fn mkdir(&self, caller: Caller, parent: Ino, name: &[u8], mode: u32) -> Result<Entry> {
        let name = parse_name(name)?;
        self.with_view(|view| {
            let (parent, probe) = self.creation(view, parent, &name)?;
            self.authorize(&making(&parent, &probe, false))?;
            let mode = self.shown_bits(&parent, mode);
            self.make(&parent, caller, |directory| {
                Ok(backing::mkdir(directory, &name, mode)?)
            })?;
            Ok(self.made(view, &parent, &name)?.1)
        })
    }

    /// Makes a symbolic link. Its content is the client's affair: the daemon never follows one.
    ///
    /// # Errors
    /// Like [`FileSystem::create`].
    pub fn symlink(&self, caller: Caller, parent: Ino, name: &[u8], content: &[u8]) -> Result<Entry> {
        let name = parse_name(name)?;
        self.with_view(|view| {
            let (parent, probe) = self.creation(view, parent, &name)?;
            self.authorize(&making(&parent, &probe, false))?;
            self.make(&parent, caller, |directory| {
                Ok(backing::symlink(content, directory, &name)?)
            })?;
            Ok(self.made(view, &parent, &name)?.1)
        })
    }

    /// The directory that something is to be made in, still in its place, and what has the name there.
    pub(super) fn creation(&self, view: &View, parent: Ino, name: &Name) -> Result<(Seen, Probe)> {
        match self.target(view, parent)? {
            Target::Top => {
                self.authorize(&Operation::ChangeTop)?;
                Err(Refusal::NotPermitted.into())
            }
            Target::Entry(parent) => {
                let parent = self.verify(view, parent)?;
                let probe = self.probe(&parent, name)?;
                Ok((parent, probe))
            }
        }
    }

    /// Runs what makes a new entry with the credentials of the one it shall belong to.
    fn make(
        &self, parent: &Seen, caller: Caller, make: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let fd = self.fd(parent)?;
        let _changing = self.changing(&parent.node);
        let _as = self.maker(parent, caller).assume()?;
        make(fd.as_fd())
    }

    /// Whose a new entry becomes.
    fn maker(&self, parent: &Seen, caller: Caller) -> Credentials {
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

/// Where another made the name between the probe and the creation, all is looked at anew.
fn lost_race(error: Error) -> Error {
    match error {
        Error::Backing(error) if error.raw_os_error() == Some(libc::EEXIST) => Error::PlacesMoved,
        error => error,
    }
}
