//! The listing of a mount's top directory: the folders that the subject has.

use std::time::Duration;

use super::directory::Sink;
use crate::backing::FileKind;
use crate::vfs::attr::{Attr, Entry, constant};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::FileSystem;
use crate::vfs::handles::{Listed, Listing, OpenDirectory};
use crate::vfs::ids::Ino;
use crate::vfs::view::View;

impl FileSystem {
    /// Tells the names from `offset` on.
    pub(super) fn tell_top(
        &self, view: &View, directory: &OpenDirectory, offset: u64, plus: bool, sink: &mut dyn Sink,
    ) -> Result<()> {
        let mut listing = directory.listing.lock();
        if offset == 0 || !listing.filled {
            *listing = self.list_top(view);
        }
        for (next, listed) in (1..)
            .zip(&listing.entries)
            .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        {
            let dots = &*listed.name == b"." || &*listed.name == b"..";
            let full = if dots {
                let entry = Entry {
                    attr: self.top_attr(),
                    generation: 0,
                    name_lasts: Duration::ZERO,
                };
                if plus {
                    sink.entry(listed, &entry, next)
                } else {
                    sink.name(listed, next)
                }
            } else {
                let Some((entry, folder, _)) = view.top_entry(&listed.name) else {
                    continue;
                };
                // A folder whose backing is lost keeps its name: looking into it says what is wrong.
                match plus.then(|| self.keep_top_entry(view, entry, folder)) {
                    Some(Ok((seen, stat))) => {
                        let lasts = self.top_entry_lasts(&seen);
                        let full = sink.entry(listed, &self.entry(&seen, &stat, lasts), next);
                        if full {
                            self.nodes.forget(seen.node.ino, 1);
                        }
                        full
                    }
                    Some(Err(Error::Lost)) => sink.entry(listed, &lost(listed.ino), next),
                    Some(Err(_)) => continue,
                    None => sink.name(listed, next),
                }
            };
            if full {
                directory.keep(&mut listing);
                break;
            }
        }
        Ok(())
    }

    fn list_top(&self, view: &View) -> Listing {
        let mut entries = vec![
            Listed {
                name: (*b".").into(),
                ino: Ino::TOP,
                kind: FileKind::Directory,
            },
            Listed {
                name: (*b"..").into(),
                ino: Ino::TOP,
                kind: FileKind::Directory,
            },
        ];
        for (entry, folder, _) in view.top() {
            // A granted path that is not there has nothing to show.
            let (ino, kind) = match self.keep_top_entry(view, entry, folder) {
                Ok((seen, stat)) => {
                    self.nodes.forget(seen.node.ino, 1);
                    if !seen.verdict.sees() {
                        continue;
                    }
                    (seen.node.ino, stat.kind)
                }
                Err(Error::Lost) => (
                    Ino::of(entry.folder, NO_INODE).unwrap_or(Ino::TOP),
                    FileKind::Directory,
                ),
                Err(_) => continue,
            };
            entries.push(Listed {
                name: entry.name.clone(),
                ino,
                kind,
            });
        }
        Listing {
            entries,
            filled: true,
            kept: false,
            generation: view.generation,
        }
    }
}

/// The inode number that no file has: of a folder whose backing is lost.
const NO_INODE: u64 = 0;

/// What stands for a folder whose backing is lost: every look-up of it answers EIO.
fn lost(ino: Ino) -> Entry {
    Entry {
        attr: Attr {
            mode: 0,
            ..constant(ino)
        },
        generation: 0,
        name_lasts: Duration::ZERO,
    }
}
