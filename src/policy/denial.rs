//! Why a request was refused: which right is missing of which of the entries that it touches.
//!
//! Read off the same verdicts by which [`judge`](super::operation::judge) refused it, in the same order. Says nothing of
//! what the subject does not see: of a name that is hidden, only that it is not to be had.

use super::level::{Level, Right};
use super::operation::{Operation, Refusal};
use super::tree::Verdict;

/// Which of the entries of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// What it is about: what is opened, changed, removed, renamed, or linked to.
    Entry,
    /// The directory that this lies in, or is made in.
    Parent,
    /// The directory that it is renamed or linked into.
    NewParent,
    /// What is there already under the new name.
    Target,
}

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A right is missing.
    Missing {
        /// Where.
        which: Which,
        /// Which.
        right: Right,
        /// The least level there with which the whole request would not be refused.
        wants: Level,
    },
    /// The entry would disappear, and its level lets nothing disappear.
    Stays(Which),
    /// Likewise, with all that is in it.
    DirectoryStays,
    /// A line hides what is there under the new name, or would be.
    HiddenName,
    /// Something in the directory is not wholly the subject's.
    Below,
    /// The two names are not in one folder.
    OtherFolder,
    /// Lines tell the two names apart.
    Apart,
    /// It would be a device.
    Device,
    /// It would change the list of folders.
    TopDirectory,
    /// The attribute is one of those that lendfs answers by itself.
    Reserved,
    /// The right was taken back while the file was open.
    TakenBack,
}

/// Why an operation was refused; `None` where there is nothing to be said.
pub fn cause(operation: &Operation, refusal: Refusal) -> Option<Cause> {
    match refusal {
        // Of what may not be seen there is nothing to say, and the others speak for themselves.
        Refusal::NotFound | Refusal::NotSupported | Refusal::Invalid => None,
        Refusal::Access => access(operation),
        Refusal::NotPermitted => Some(match *operation {
            Operation::ChangeTop => Cause::TopDirectory,
            // That files are not given away is so everywhere, and programs try it of which nobody knows.
            Operation::SetAttr { .. } => return None,
            Operation::SetXattr { .. } => Cause::Reserved,
            Operation::Make { .. } => Cause::Device,
            Operation::Rename { directory: true, .. } => Cause::DirectoryStays,
            Operation::Rename { target, occupied, .. }
                if occupied && !target.rights.contains(Right::Delete) =>
            {
                Cause::Stays(Which::Target)
            }
            _ => Cause::Stays(Which::Entry),
        }),
        Refusal::CrossDevice => Some(match operation {
            Operation::Link { .. } => Cause::Apart,
            _ => Cause::OtherFolder,
        }),
    }
}

fn access(operation: &Operation) -> Option<Cause> {
    let entry_lacks = |right, wants| Cause::Missing {
        which: Which::Entry,
        right,
        wants,
    };
    Some(match *operation {
        Operation::LookUp { .. } => Cause::Missing {
            which: Which::Parent,
            right: Right::Read,
            wants: Level::View,
        },
        Operation::Read(_) | Operation::List(_) => entry_lacks(Right::Read, Level::View),
        Operation::Write(_) | Operation::SetAttr { .. } | Operation::SetXattr { .. } => {
            entry_lacks(Right::Write, Level::Edit)
        }
        Operation::Open { entry, read, write } => {
            let wants = if write { Level::Edit } else { Level::View };
            if read && !entry.rights.contains(Right::Read) {
                entry_lacks(Right::Read, wants)
            } else {
                entry_lacks(Right::Write, wants)
            }
        }
        Operation::Make { parent, .. } => creates(parent, Which::Parent).unwrap_or(Cause::HiddenName),
        Operation::Link { source, parent, .. } => {
            if !source.rights.contains(Right::Write) {
                entry_lacks(Right::Write, Level::Edit)
            } else {
                creates(parent, Which::NewParent).unwrap_or(Cause::HiddenName)
            }
        }
        Operation::Replace { parent, entry } => {
            if !entry.rights.contains(Right::Write) {
                entry_lacks(Right::Write, Level::Edit)
            } else {
                creates(parent, Which::Parent)?
            }
        }
        Operation::Remove { parent, entry, .. } => {
            if !entry.rights.contains(Right::Write) {
                entry_lacks(Right::Write, Level::Full)
            } else {
                creates(parent, Which::Parent).unwrap_or(Cause::Below)
            }
        }
        Operation::Rename { .. } => rename(operation)?,
        // Questions, and what is never refused so.
        Operation::Look(_)
        | Operation::Access { .. }
        | Operation::GetXattr { .. }
        | Operation::Copy { .. }
        | Operation::Top
        | Operation::ChangeTop
        | Operation::Close => return None,
    })
}

fn rename(operation: &Operation) -> Option<Cause> {
    let Operation::Rename {
        parent,
        entry,
        directory,
        new_parent,
        target,
        occupied,
        same_directory,
        exchange,
        ..
    } = *operation
    else {
        return None;
    };
    let mere = same_directory && !occupied && !directory && !exchange;
    let lacks = |which| Cause::Missing {
        which,
        right: Right::Write,
        wants: if mere { Level::Edit } else { Level::Full },
    };
    Some(if !entry.rights.contains(Right::Write) {
        lacks(Which::Entry)
    } else if let Some(cause) = creates(parent, Which::Parent) {
        cause
    } else if let Some(cause) = creates(new_parent, Which::NewParent) {
        cause
    } else if !target.sees() {
        Cause::HiddenName
    } else if occupied && !target.rights.contains(Right::Write) {
        lacks(Which::Target)
    } else {
        Cause::Below
    })
}

/// That nothing may be made in a directory, if so.
fn creates(parent: Verdict, which: Which) -> Option<Cause> {
    (!parent.rights.contains(Right::Create)).then_some(Cause::Missing {
        which,
        right: Right::Create,
        wants: Level::Edit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::level::Standing;
    use crate::policy::operation::{Exemption, judge};

    fn at(level: Level) -> Verdict {
        Verdict {
            standing: Standing::Level(level),
            rights: level.rights(),
            corridor: false,
        }
    }

    fn lacks(which: Which, right: Right, wants: Level) -> Option<Cause> {
        Some(Cause::Missing { which, right, wants })
    }

    #[track_caller]
    fn check(operation: &Operation, expected: Option<Cause>) {
        let refusal = judge(operation).expect_err("it is not refused");
        assert_eq!(cause(operation, refusal), expected, "{operation:?}: {refusal:?}");
    }

    fn removal(parent: Level, entry: Level, below: bool) -> Operation {
        Operation::Remove {
            parent: at(parent),
            entry: at(entry),
            below,
            exempt: false,
        }
    }

    fn renaming(parent: Level, entry: Level, new_parent: Level, target: Level, occupied: bool) -> Operation {
        Operation::Rename {
            parent: at(parent),
            entry: at(entry),
            directory: false,
            new_parent: at(new_parent),
            target: at(target),
            occupied,
            same_directory: false,
            same_folder: true,
            below: true,
            no_replace: false,
            exchange: false,
            whiteout: false,
            exemption: Exemption::default(),
        }
    }

    #[test]
    fn the_right_that_is_missing_is_named_where_it_is_missing() {
        use Level::{Edit, Full, Locked, View};
        let open = |level, read, write| Operation::Open {
            entry: at(level),
            read,
            write,
        };
        check(&open(Locked, true, false), lacks(Which::Entry, Right::Read, View));
        check(&open(View, false, true), lacks(Which::Entry, Right::Write, Edit));
        check(&open(Locked, true, true), lacks(Which::Entry, Right::Read, Edit));
        check(
            &removal(Full, View, true),
            lacks(Which::Entry, Right::Write, Full),
        );
        check(
            &removal(View, Full, true),
            lacks(Which::Parent, Right::Create, Edit),
        );
        check(&removal(Edit, Edit, true), Some(Cause::Stays(Which::Entry)));
        check(&removal(Full, Full, false), Some(Cause::Below));
        check(
            &renaming(Full, View, Full, Full, false),
            lacks(Which::Entry, Right::Write, Full),
        );
        check(
            &renaming(Full, Full, View, Full, false),
            lacks(Which::NewParent, Right::Create, Edit),
        );
        check(
            &renaming(Full, Full, Full, View, true),
            lacks(Which::Target, Right::Write, Full),
        );
        check(
            &renaming(Full, Full, Full, Edit, true),
            Some(Cause::Stays(Which::Target)),
        );
    }

    #[test]
    fn of_a_hidden_name_nothing_is_said_and_of_what_is_not_seen_not_a_word() {
        use Level::{Full, Invisible, Locked};
        for occupied in [true, false] {
            let make = Operation::Make {
                parent: at(Full),
                name: at(Invisible),
                occupied,
                device: false,
            };
            check(&make, Some(Cause::HiddenName));
            check(
                &renaming(Full, Full, Full, Invisible, occupied),
                Some(Cause::HiddenName),
            );
        }
        check(&removal(Full, Invisible, true), None);
        check(&Operation::Look(at(Invisible)), None);
        let below_locked = Operation::LookUp {
            parent: at(Locked),
            entry: at(Invisible),
            leads: false,
        };
        check(&below_locked, lacks(Which::Parent, Right::Read, Level::View));
    }

    #[test]
    fn a_level_that_is_wanted_would_be_enough() {
        for level in Level::ALL {
            let operations = |entry| {
                [
                    Operation::Read(entry),
                    Operation::Write(entry),
                    Operation::List(entry),
                    Operation::Remove {
                        parent: at(Level::Full),
                        entry,
                        below: true,
                        exempt: false,
                    },
                    Operation::Open {
                        entry,
                        read: true,
                        write: true,
                    },
                ]
            };
            for (index, operation) in operations(at(level)).iter().enumerate() {
                let Err(refusal) = judge(operation) else { continue };
                if let Some(Cause::Missing { wants, right, .. }) = cause(operation, refusal) {
                    assert!(!level.rights().contains(right), "{operation:?}");
                    assert_eq!(judge(&operations(at(wants))[index]), Ok(()), "{operation:?}");
                }
            }
        }
    }
}
