//! opendir, readdir, readdirplus, releasedir, fsyncdir.
//!
//! A listing is taken when a directory is read from its beginning, without the names that the subject does not
//! see. Offsets count in what is left: those of the backing would tell of names left out (on ext4 they are hashes
//! of the next name). Each name is judged again when it is told, for the policy may have changed in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::lookup::parse_name;
use crate::backing::{self, Credentials, DirStream, FileKind, Name};
use crate::policy::{Operation, Refusal, Right};
use crate::vfs::attr::{Attr, Entry, constant};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::handles::{Listed, Listing, OpenDirectory};
use crate::vfs::ids::{Fh, Ino};
use crate::vfs::inode::needs_handle;
use crate::vfs::node::Position;
use crate::vfs::object::Opened;
use crate::vfs::view::View;

/// Each listing begins with `.` and `..`.
const DOTS: usize = 2;

/// Takes the entries of a listing; tells whether it is full, in which case the entry given was not taken.
pub trait Sink {
    /// Takes a name without attributes. `next` is where to go on after it.
    fn name(&mut self, listed: &Listed, next: u64) -> bool;
    /// Takes a name with attributes; all but `.` and `..` count as a lookup.
    fn entry(&mut self, listed: &Listed, entry: &Entry, next: u64) -> bool;
}

/// An open directory, as the kernel is told of it.
#[derive(Clone, Copy, Debug)]
pub struct OpenedDirectory {
    /// Its number.
    pub fh: Fh,
    /// Whether the kernel may keep the listing.
    pub caches: bool,
    /// Whether it may use the one that it has kept.
    pub keeps: bool,
}

impl FileSystem {
    /// Opens a directory.
    ///
    /// # Errors
    /// EACCES without `read`, unless the way leads on through it.
    pub fn opendir(&self, ino: Ino) -> Result<OpenedDirectory> {
        self.with_view(|view| match self.target(view, ino)? {
            Target::Top => {
                self.authorize(&Operation::Top)?;
                Ok(OpenedDirectory {
                    fh: self.handles.open_directory(None, false),
                    caches: false,
                    keeps: false,
                })
            }
            Target::Entry(seen) => {
                let seen = self.verify(view, seen)?;
                self.authorize(&Operation::List(seen.verdict))?;
                let caches = seen.verdict.rights.contains(Right::Read)
                    && !self.names_last(&seen).is_zero()
                    && !self.has_gone(&seen);
                // A listing that was kept under another policy is not used.
                let keeps = caches && seen.node.listed(view.generation);
                Ok(OpenedDirectory {
                    fh: self.handles.open_directory(Some(seen.node), caches),
                    caches,
                    keeps,
                })
            }
        })
    }

    /// Tells the names from `offset` on.
    ///
    /// # Errors
    /// EACCES if the right was taken back.
    pub fn readdir(
        &self, caller: Caller, fh: Fh, offset: u64, plus: bool, sink: &mut dyn Sink,
    ) -> Result<()> {
        let directory = self.handles.directory(fh)?;
        self.with_view(|view| {
            let Some(node) = &directory.node else {
                self.authorize(&Operation::Top)?;
                return self.tell_top(view, &directory, offset, plus, sink);
            };
            let seen = self.seen_node(view, Arc::clone(node))?;
            // At the beginning, and wherever other rules may hold since, the place of the directory is checked.
            let seen = if seen.folder.tree.uniform() {
                seen
            } else {
                self.verify(view, seen)?
            };
            self.authorize(&Operation::List(seen.verdict))?;
            self.tell(view, caller, &seen, &directory, offset, plus, sink)
        })
    }

    /// Forgets a directory handle. Needs no right: it takes nothing and tells nothing.
    pub fn releasedir(&self, fh: Fh) {
        self.handles.release_directory(fh);
    }

    /// Brings a directory's names to the disk.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn fsyncdir(&self, fh: Fh, data_only: bool) -> Result<()> {
        let directory = self.handles.directory(fh)?;
        self.with_view(|view| {
            let Some(node) = &directory.node else {
                return self.authorize(&Operation::Top);
            };
            let seen = self.seen_node(view, Arc::clone(node))?;
            self.authorize(&Operation::List(seen.verdict))?;
            let path = self.fd(&seen)?;
            let _as = seen.folder.backing.credentials().assume()?;
            let fd = backing::reopen(&path, libc::O_RDONLY | libc::O_DIRECTORY)?;
            Ok(backing::sync(std::os::fd::AsFd::as_fd(&fd), data_only)?)
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "who asks, for what, and where the answer goes"
    )]
    fn tell(
        &self, view: &View, caller: Caller, seen: &Seen, directory: &OpenDirectory, offset: u64, plus: bool,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let mut listing = directory.listing.lock();
        if offset == 0 || !listing.filled {
            *listing = self.list(seen)?;
            listing.generation = view.generation;
            if !directory.caches && self.has_gone(seen) {
                self.leave_out_gone(caller, seen, &mut listing.entries)?;
            }
        }
        let changed = listing.generation != view.generation;
        let searchable = plus && self.is_searchable(seen)?;
        let lasts = if seen.verdict.rights.contains(Right::Read) {
            self.names_last(seen)
        } else {
            Duration::ZERO
        };
        for (next, listed) in (1..)
            .zip(&listing.entries)
            .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        {
            let dots = &*listed.name == b"." || &*listed.name == b"..";
            let full = if dots {
                let entry = Entry {
                    attr: Attr {
                        ino: listed.ino,
                        ..self.top_attr()
                    },
                    generation: 0,
                    name_lasts: Duration::ZERO,
                };
                if plus {
                    sink.entry(listed, &entry, next)
                } else {
                    sink.name(listed, next)
                }
            } else if plus {
                let mut tell = |entry: &Entry| sink.entry(listed, entry, next);
                if searchable {
                    match self.tell_entry(view, seen, listed, lasts, tell)? {
                        Some(full) => full,
                        None => continue,
                    }
                } else {
                    tell(&name_alone())
                }
            } else {
                if changed && !self.still_shown(seen, &parse_name(&listed.name)?)? {
                    continue;
                }
                sink.name(listed, next)
            };
            if full {
                directory.keep(&mut listing);
                break;
            }
        }
        Ok(())
    }

    /// Tells one entry with its attributes; `None` if it is not shown, else what `tell` says.
    fn tell_entry(
        &self, view: &View, seen: &Seen, listed: &Listed, lasts: Duration, tell: impl FnOnce(&Entry) -> bool,
    ) -> Result<Option<bool>> {
        let name = parse_name(&listed.name)?;
        let probe = match self.probe_searchable(seen, &name) {
            Ok(probe) => probe,
            // Something is mounted on it.
            Err(Error::Refused(Refusal::Access)) => return Ok(Some(tell(&name_alone()))),
            Err(error) => return Err(error),
        };
        if !shows(seen, &probe.verdict, probe.cursor) {
            return Ok(None);
        }
        // What is gone for somebody is asked for by each.
        let lasts = if probe.verdict.corridor || self.has_gone(seen) {
            Duration::ZERO
        } else {
            lasts
        };
        let Some((child, stat)) = self.keep_probed(view, seen, &name, probe)? else {
            return Ok(None);
        };
        let full = tell(&self.entry(&child, &stat, lasts));
        if full {
            self.nodes.forget(child.node.ino, 1);
        }
        Ok(Some(full))
    }

    /// Tells whether the files behind a directory may be asked for with the credentials of its backing. To know it once
    /// saves assuming them for each file.
    fn is_searchable(&self, seen: &Seen) -> Result<bool> {
        let credentials = seen.folder.backing.credentials();
        if matches!(credentials, Credentials::Daemon) {
            return Ok(true);
        }
        let path = self.fd(seen)?;
        let _as = credentials.assume()?;
        Ok(backing::may_search(&path)?)
    }

    /// The names that a directory shows to the subject now.
    fn list(&self, seen: &Seen) -> Result<Listing> {
        let above = match seen.node.position() {
            Position::Under { parent, .. } => parent.ino,
            Position::Root | Position::Granted(_) => Ino::TOP,
        };
        let mut entries = vec![
            Listed {
                name: (*b".").into(),
                ino: seen.node.ino,
                kind: FileKind::Directory,
            },
            Listed {
                name: (*b"..").into(),
                ino: above,
                kind: FileKind::Directory,
            },
        ];
        if seen.verdict.rights.contains(Right::Read) {
            self.list_all(seen, &mut entries)?;
        } else {
            self.list_corridor(seen, &mut entries)?;
        }
        Ok(Listing {
            entries,
            filled: true,
            kept: false,
            generation: 0,
        })
    }

    fn list_all(&self, seen: &Seen, entries: &mut Vec<Listed>) -> Result<()> {
        let folder = &*seen.folder;
        let mut stream = {
            let path = self.fd(seen)?;
            let _as = folder.backing.credentials().assume()?;
            DirStream::open(&path)?
        };
        while let Some(entry) = stream.next()? {
            let Ok(name) = Name::new(entry.name) else { continue };
            let by_name = folder.tree.step(seen.cursor, name.as_bytes());
            // What no line has to do with is shown as its directory is.
            let concerned = folder.tree.has_lines(by_name) || needs_handle(folder, by_name, entry.ino);
            if concerned && !folder.tree.uniform() && !self.still_shown(seen, &name)? {
                continue;
            }
            let ino = Ino::of(folder.policy.id, entry.ino).unwrap_or(Ino(entry.ino));
            entries.push(Listed {
                name: name.as_bytes().into(),
                ino,
                kind: entry.kind,
            });
        }
        Ok(())
    }

    fn list_corridor(&self, seen: &Seen, entries: &mut Vec<Listed>) -> Result<()> {
        for (name, _) in seen.folder.tree.leads_on(seen.cursor) {
            let Ok(name) = Name::new(name) else { continue };
            let probe = self.probe(seen, &name)?;
            let Some(Opened { object, .. }) = &probe.there else {
                continue;
            };
            if !shows(seen, &probe.verdict, probe.cursor) {
                continue;
            }
            let ino = Ino::of(seen.node.folder, object.number).unwrap_or(Ino(object.number));
            entries.push(Listed {
                name: name.as_bytes().into(),
                ino,
                kind: object.kind,
            });
        }
        Ok(())
    }

    /// Leaves out what is gone for who asks.
    fn leave_out_gone(&self, caller: Caller, seen: &Seen, entries: &mut Vec<Listed>) -> Result<()> {
        let mut gone = HashSet::new();
        for listed in entries.iter().skip(DOTS) {
            if self.gone_for(caller, seen, &parse_name(&listed.name)?)?.is_some() {
                gone.insert(listed.name.clone());
            }
        }
        entries.retain(|listed| !gone.contains(&listed.name));
        Ok(())
    }

    fn still_shown(&self, seen: &Seen, name: &Name) -> Result<bool> {
        let probe = self.probe(seen, name)?;
        Ok(probe.there.is_some() && shows(seen, &probe.verdict, probe.cursor))
    }
}

/// What stands for something that has a name and of which nothing is told: no node, and no lookup either
/// (`fuse_direntplus_link` of the kernel).
fn name_alone() -> Entry {
    Entry {
        attr: constant(Ino(0)),
        generation: 0,
        name_lasts: Duration::ZERO,
    }
}

/// Tells whether a directory shows an entry: what is seen, and of a directory that may not be read only what
/// leads on.
fn shows(parent: &Seen, verdict: &crate::policy::Verdict, cursor: crate::policy::Cursor) -> bool {
    verdict.sees() && (parent.verdict.rights.contains(Right::Read) || parent.folder.tree.leads(cursor))
}
