//! What each system call needs: the table of section 2 of the design.
//!
//! The file system describes a request by the verdicts of what it touches; [`judge`] answers. The errno behind a
//! refusal is the file system's affair.

mod remove;

use super::level::Right;
use super::tree::Verdict;

pub use remove::Exemption;

/// A request, by the verdicts of the entries that it touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Finding a name in a directory. `leads`: a line makes it, or something below it, seen.
    LookUp {
        /// The directory.
        parent: Verdict,
        /// What the name leads to, or what would hold there.
        entry: Verdict,
        /// Whether a line leads on to it.
        leads: bool,
    },
    /// stat, access(F_OK), statfs.
    Look(Verdict),
    /// Reading content, a link's content, attribute names.
    Read(Verdict),
    /// Changing content.
    Write(Verdict),
    /// Opening a file.
    Open {
        /// The file.
        entry: Verdict,
        /// For reading.
        read: bool,
        /// For writing, or with O_TRUNC.
        write: bool,
    },
    /// access(R_OK, W_OK, X_OK).
    Access {
        /// The entry.
        entry: Verdict,
        /// Whether it is a directory: then executing is entering.
        directory: bool,
        /// R_OK
        read: bool,
        /// W_OK
        write: bool,
        /// X_OK
        execute: bool,
    },
    /// Opening and reading a directory.
    List(Verdict),
    /// copy_file_range.
    Copy {
        /// The source.
        from: Verdict,
        /// The target.
        into: Verdict,
    },
    /// chmod, chown, utimens, truncate.
    SetAttr {
        /// The entry.
        entry: Verdict,
        /// Whether owner or group would become another.
        foreign_owner: bool,
    },
    /// setxattr, removexattr.
    SetXattr {
        /// The entry.
        entry: Verdict,
        /// Whether the attribute is in the `user.` namespace.
        user: bool,
    },
    /// getxattr.
    GetXattr {
        /// The entry.
        entry: Verdict,
        /// Whether the attribute is in the `user.` namespace.
        user: bool,
    },
    /// create, mkdir, symlink, mknod.
    Make {
        /// The directory.
        parent: Verdict,
        /// What holds at the new name.
        name: Verdict,
        /// Whether something is there already.
        occupied: bool,
        /// Whether it would be a device.
        device: bool,
    },
    /// unlink, rmdir.
    Remove {
        /// The directory.
        parent: Verdict,
        /// What would be removed.
        entry: Verdict,
        /// Whether everything below it that a line reaches may be deleted too.
        below: bool,
        /// Whether it may go although the level protects it: see [`protection`](super::protection).
        exempt: bool,
    },
    /// Making a file anew whose name the same process has unlinked a moment ago, and which is still there.
    Replace {
        /// The directory.
        parent: Verdict,
        /// What would be replaced.
        entry: Verdict,
    },
    /// rename.
    Rename {
        /// The directory it leaves.
        parent: Verdict,
        /// What is renamed.
        entry: Verdict,
        /// Whether that is a directory.
        directory: bool,
        /// The directory it comes to.
        new_parent: Verdict,
        /// What holds at the new name.
        target: Verdict,
        /// Whether something is there already.
        occupied: bool,
        /// Whether both directories are the same.
        same_directory: bool,
        /// Whether both are in the same folder.
        same_folder: bool,
        /// Whether everything below both that a line reaches may be deleted too.
        below: bool,
        /// RENAME_NOREPLACE
        no_replace: bool,
        /// RENAME_EXCHANGE
        exchange: bool,
        /// RENAME_WHITEOUT
        whiteout: bool,
        /// What may be done although the level protects it.
        exemption: Exemption,
    },
    /// link.
    Link {
        /// The file.
        source: Verdict,
        /// The directory.
        parent: Verdict,
        /// What holds at the new name.
        name: Verdict,
        /// Whether something is there already.
        occupied: bool,
        /// Whether no line of anyone tells the two names apart.
        same_zone: bool,
    },
    /// Looking at, entering and listing the top directory of a mount.
    Top,
    /// Changing the top directory of a mount.
    ChangeTop,
    /// Giving back a lock.
    Close,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is not there, for all that the subject may know. ENOENT
    NotFound,
    /// A right is missing. EACCES
    Access,
    /// Nobody may, or only who may delete. EPERM
    NotPermitted,
    /// The two names are not of one kind. EXDEV
    CrossDevice,
    /// There is no such thing here. EOPNOTSUPP
    NotSupported,
    /// The call makes no sense here. EINVAL
    Invalid,
}

type Judgement = Result<(), Refusal>;

/// Answers a request.
///
/// # Errors
/// The refusal.
pub fn judge(operation: &Operation) -> Judgement {
    match *operation {
        Operation::Top | Operation::Close => Ok(()),
        Operation::ChangeTop => Err(Refusal::NotPermitted),
        Operation::LookUp { parent, entry, leads } => look_up(parent, entry, leads),
        Operation::Look(entry) => seen(entry),
        Operation::Read(entry) => needs(entry, Right::Read),
        Operation::Write(entry) => needs(entry, Right::Write),
        Operation::Open { entry, read, write } => {
            seen(entry)?;
            needs_if(read, entry, Right::Read)?;
            needs_if(write, entry, Right::Write)
        }
        Operation::Access {
            entry,
            directory,
            read,
            write,
            execute,
        } => {
            seen(entry)?;
            let enterable = directory && entry.corridor;
            needs_if(read && !enterable, entry, Right::Read)?;
            needs_if(execute && !enterable, entry, Right::Read)?;
            needs_if(write, entry, if directory { Right::Create } else { Right::Write })
        }
        Operation::List(entry) => {
            if entry.corridor {
                return Ok(());
            }
            needs(entry, Right::Read)
        }
        Operation::Copy { from, into } => {
            needs(from, Right::Read)?;
            needs(into, Right::Write)
        }
        Operation::SetAttr { entry, foreign_owner } => {
            needs(entry, Right::Write)?;
            if foreign_owner {
                Err(Refusal::NotPermitted)
            } else {
                Ok(())
            }
        }
        Operation::SetXattr { entry, user } => {
            seen(entry)?;
            if !user {
                return Err(Refusal::NotSupported);
            }
            needs(entry, Right::Write)
        }
        Operation::GetXattr { entry, user } => {
            seen(entry)?;
            if !user {
                return Err(Refusal::NotSupported);
            }
            needs(entry, Right::Read)
        }
        Operation::Make {
            parent, name, device, ..
        } => {
            needs(parent, Right::Create)?;
            hidden_name(name)?;
            if device {
                Err(Refusal::NotPermitted)
            } else {
                Ok(())
            }
        }
        Operation::Remove {
            parent,
            entry,
            below,
            exempt,
        } => remove::remove(parent, entry, below, exempt),
        Operation::Replace { parent, entry } => remove::replace(parent, entry),
        Operation::Rename { .. } => remove::rename(operation),
        Operation::Link {
            source,
            parent,
            name,
            same_zone,
            ..
        } => {
            needs(source, Right::Write)?;
            needs(parent, Right::Create)?;
            hidden_name(name)?;
            if same_zone {
                Ok(())
            } else {
                Err(Refusal::CrossDevice)
            }
        }
    }
}

/// What is not seen is not there. What lies below a directory that may not be read is out of reach, unless a line
/// leads on to it; that comes first where the directory itself is seen: a hidden name in it must not stand out.
fn look_up(parent: Verdict, entry: Verdict, leads: bool) -> Judgement {
    seen(parent)?;
    let locked = parent.rights.contains(Right::See) && !parent.rights.contains(Right::Read);
    if locked && !leads {
        return Err(Refusal::Access);
    }
    seen(entry)?;
    if parent.rights.contains(Right::Read) || leads {
        Ok(())
    } else {
        Err(Refusal::Access)
    }
}

/// A name that is hidden may not be taken, whether or not anything is there: the one oracle.
fn hidden_name(name: Verdict) -> Judgement {
    if name.sees() { Ok(()) } else { Err(Refusal::Access) }
}

fn seen(entry: Verdict) -> Judgement {
    if entry.sees() {
        Ok(())
    } else {
        Err(Refusal::NotFound)
    }
}

fn needs(entry: Verdict, right: Right) -> Judgement {
    seen(entry)?;
    if entry.rights.contains(right) {
        Ok(())
    } else {
        Err(Refusal::Access)
    }
}

fn needs_if(asked: bool, entry: Verdict, right: Right) -> Judgement {
    if asked { needs(entry, right) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::level::{Level, Standing};

    fn at(level: Level) -> Verdict {
        Verdict {
            standing: Standing::Level(level),
            rights: level.rights(),
            corridor: false,
        }
    }

    fn corridor(level: Level) -> Verdict {
        Verdict {
            corridor: true,
            ..at(level)
        }
    }

    /// One row of the table: the call, and what each level from invisible to admin is answered.
    fn row(call: &str, operation: impl Fn(Verdict) -> Operation, answers: [&str; 6]) {
        for (level, expected) in Level::ALL.into_iter().zip(answers) {
            let answer = match judge(&operation(at(level))) {
                Ok(()) => "ok",
                Err(Refusal::NotFound) => "ENOENT",
                Err(Refusal::Access) => "EACCES",
                Err(Refusal::NotPermitted) => "EPERM",
                Err(Refusal::CrossDevice) => "EXDEV",
                Err(Refusal::NotSupported) => "EOPNOTSUPP",
                Err(Refusal::Invalid) => "EINVAL",
            };
            assert_eq!(answer, expected, "{call} at {level}");
        }
    }

    const ADMIN: fn() -> Verdict = || at(Level::Admin);

    #[test]
    fn the_table_of_levels_and_calls() {
        let reads = ["ENOENT", "EACCES", "ok", "ok", "ok", "ok"];
        let writes = ["ENOENT", "EACCES", "EACCES", "ok", "ok", "ok"];
        let removes = ["ENOENT", "EACCES", "EACCES", "EPERM", "ok", "ok"];
        row("stat", Operation::Look, ["ENOENT", "ok", "ok", "ok", "ok", "ok"]);
        row("read", Operation::Read, reads);
        row("readdir", Operation::List, reads);
        row("write", Operation::Write, writes);
        row(
            "open(O_RDONLY)",
            |entry| Operation::Open {
                entry,
                read: true,
                write: false,
            },
            reads,
        );
        row(
            "open(O_RDONLY|O_TRUNC)",
            |entry| Operation::Open {
                entry,
                read: true,
                write: true,
            },
            writes,
        );
        row(
            "open(O_WRONLY)",
            |entry| Operation::Open {
                entry,
                read: false,
                write: true,
            },
            writes,
        );
        row(
            "copy_file_range from",
            |from| Operation::Copy { from, into: ADMIN() },
            reads,
        );
        row(
            "copy_file_range into",
            |into| Operation::Copy { from: ADMIN(), into },
            writes,
        );
        row(
            "chmod",
            |entry| Operation::SetAttr {
                entry,
                foreign_owner: false,
            },
            writes,
        );
        row(
            "chown",
            |entry| Operation::SetAttr {
                entry,
                foreign_owner: true,
            },
            ["ENOENT", "EACCES", "EACCES", "EPERM", "EPERM", "EPERM"],
        );
        row(
            "setxattr user.",
            |entry| Operation::SetXattr { entry, user: true },
            writes,
        );
        let unsupported = [
            "ENOENT",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
        ];
        row(
            "setxattr security.",
            |entry| Operation::SetXattr { entry, user: false },
            unsupported,
        );
        row(
            "getxattr user.",
            |entry| Operation::GetXattr { entry, user: true },
            reads,
        );
        let make = |parent| Operation::Make {
            parent,
            name: parent,
            occupied: false,
            device: false,
        };
        row("mkdir", make, writes);
        row(
            "mknod of a device",
            |parent| Operation::Make {
                parent,
                name: parent,
                occupied: false,
                device: true,
            },
            ["ENOENT", "EACCES", "EACCES", "EPERM", "EPERM", "EPERM"],
        );
        row(
            "unlink",
            |entry| Operation::Remove {
                parent: ADMIN(),
                entry,
                below: true,
                exempt: false,
            },
            removes,
        );
        row(
            "unlink in",
            |parent| Operation::Remove {
                parent,
                entry: ADMIN(),
                below: true,
                exempt: false,
            },
            ["ENOENT", "EACCES", "EACCES", "ok", "ok", "ok"],
        );
        row(
            "rmdir over what may not be deleted",
            |entry| Operation::Remove {
                parent: ADMIN(),
                entry,
                below: false,
                exempt: false,
            },
            ["ENOENT", "EACCES", "EACCES", "EPERM", "EACCES", "EACCES"],
        );
        row("rename", |entry| free_rename(entry, ADMIN(), ADMIN()), removes);
        row(
            "rename out of",
            |parent| free_rename(ADMIN(), parent, ADMIN()),
            ["ENOENT", "EACCES", "EACCES", "ok", "ok", "ok"],
        );
        row(
            "rename into",
            |new_parent| free_rename(ADMIN(), ADMIN(), new_parent),
            ["ENOENT", "EACCES", "EACCES", "ok", "ok", "ok"],
        );
        // Onto a hidden name: the one oracle.
        row(
            "rename over",
            |target| over(free_rename(ADMIN(), ADMIN(), ADMIN()), target),
            ["EACCES", "EACCES", "EACCES", "EPERM", "ok", "ok"],
        );
        row("link", |source| linking(source, ADMIN(), true), writes);
        row("link in", |parent| linking(ADMIN(), parent, true), writes);
        row(
            "link across a rule",
            |source| linking(source, ADMIN(), false),
            ["ENOENT", "EACCES", "EACCES", "EXDEV", "EXDEV", "EXDEV"],
        );
    }

    #[test]
    fn a_name_that_is_hidden_cannot_be_taken_whether_or_not_it_is_there() {
        for occupied in [false, true] {
            let make = Operation::Make {
                parent: ADMIN(),
                name: at(Level::Invisible),
                occupied,
                device: false,
            };
            assert_eq!(judge(&make), Err(Refusal::Access));
        }
    }

    #[test]
    fn below_what_is_locked_nothing_is_reached_but_where_a_line_leads() {
        let entry = at(Level::Locked);
        let look_up = |parent, entry, leads| judge(&Operation::LookUp { parent, entry, leads });
        assert_eq!(look_up(at(Level::Locked), entry, false), Err(Refusal::Access));
        assert_eq!(
            look_up(corridor(Level::Locked), entry, false),
            Err(Refusal::Access)
        );
        assert_eq!(look_up(corridor(Level::Invisible), at(Level::Edit), true), Ok(()));
        assert_eq!(
            look_up(corridor(Level::Invisible), at(Level::Invisible), false),
            Err(Refusal::NotFound)
        );
        assert_eq!(look_up(at(Level::View), at(Level::Locked), false), Ok(()));
    }

    #[test]
    fn a_corridor_can_be_entered_and_listed_and_nothing_else() {
        let way = corridor(Level::Invisible);
        let access = |read, write, execute| {
            judge(&Operation::Access {
                entry: way,
                directory: true,
                read,
                write,
                execute,
            })
        };
        assert_eq!(judge(&Operation::Look(way)), Ok(()));
        assert_eq!(judge(&Operation::List(way)), Ok(()));
        assert_eq!(access(true, false, true), Ok(()));
        assert_eq!(access(false, true, false), Err(Refusal::Access));
        assert_eq!(judge(&Operation::Read(way)), Err(Refusal::Access));
        assert_eq!(
            judge(&Operation::SetAttr {
                entry: way,
                foreign_owner: false
            }),
            Err(Refusal::Access)
        );
    }

    #[test]
    fn in_a_locked_directory_a_hidden_name_answers_like_one_that_never_was() {
        let look_up = |parent, entry| {
            judge(&Operation::LookUp {
                parent,
                entry,
                leads: false,
            })
        };
        for parent in [at(Level::Locked), corridor(Level::Locked)] {
            let never_was = look_up(parent, at(Level::Locked));
            assert_eq!(never_was, Err(Refusal::Access));
            assert_eq!(look_up(parent, at(Level::Invisible)), never_was);
        }
    }

    #[test]
    fn whiteouts_other_folders_and_the_top_directory() {
        let Operation::Rename { .. } = free_rename(ADMIN(), ADMIN(), ADMIN()) else {
            unreachable!()
        };
        let with = |change: fn(&mut bool, &mut bool)| {
            let mut operation = free_rename(ADMIN(), ADMIN(), ADMIN());
            if let Operation::Rename {
                whiteout,
                same_folder,
                ..
            } = &mut operation
            {
                change(whiteout, same_folder);
            }
            judge(&operation)
        };
        assert_eq!(with(|whiteout, _| *whiteout = true), Err(Refusal::Invalid));
        assert_eq!(
            with(|_, same_folder| *same_folder = false),
            Err(Refusal::CrossDevice)
        );
        assert_eq!(judge(&Operation::ChangeTop), Err(Refusal::NotPermitted));
    }

    fn free_rename(entry: Verdict, parent: Verdict, new_parent: Verdict) -> Operation {
        Operation::Rename {
            parent,
            entry,
            directory: false,
            new_parent,
            target: ADMIN(),
            occupied: false,
            same_directory: false,
            same_folder: true,
            below: true,
            no_replace: false,
            exchange: false,
            whiteout: false,
            exemption: Exemption::default(),
        }
    }

    fn over(operation: Operation, by: Verdict) -> Operation {
        let mut operation = operation;
        if let Operation::Rename { target, occupied, .. } = &mut operation {
            (*target, *occupied) = (by, true);
        }
        operation
    }

    fn linking(source: Verdict, parent: Verdict, same_zone: bool) -> Operation {
        Operation::Link {
            source,
            parent,
            name: ADMIN(),
            occupied: false,
            same_zone,
        }
    }
}
