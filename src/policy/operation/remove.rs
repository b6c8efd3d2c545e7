//! What takes a name from an entry: unlink, rmdir, rename. Under `edit` names are protected, but for what
//! [`protection`](crate::policy::protection) exempts.

use super::{Judgement, Operation, Refusal, hidden_name, look_up, seen};
use crate::policy::level::Right;
use crate::policy::tree::Verdict;

/// What a rename may do although the level protects names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exemption {
    /// The entry may go: it is transient, or the user's own where those may go.
    pub entry: bool,
    /// So may what has the new name.
    pub target: bool,
    /// The entry may take the place of what has the new name: the process that asks made it, or it is a scratch file; it
    /// has no other name, and is of the same kind.
    pub saves: bool,
    /// A line of anyone starts at the old name.
    pub line_at_old_name: bool,
    /// A line of anyone starts at the new name.
    pub line_at_new_name: bool,
}

pub(super) fn remove(parent: Verdict, entry: Verdict, below: bool, exempt: bool) -> Judgement {
    look_up(parent, entry, true)?;
    if !entry.rights.contains(Right::Write) || !parent.rights.contains(Right::Create) {
        return Err(Refusal::Access);
    }
    if !entry.rights.contains(Right::Delete) && !exempt {
        return Err(Refusal::NotPermitted);
    }
    if below { Ok(()) } else { Err(Refusal::Access) }
}

pub(super) fn replace(parent: Verdict, entry: Verdict) -> Judgement {
    look_up(parent, entry, true)?;
    if entry.rights.contains(Right::Write) && parent.rights.contains(Right::Create) {
        Ok(())
    } else {
        Err(Refusal::Access)
    }
}

pub(super) fn rename(operation: &Operation) -> Judgement {
    let Operation::Rename {
        parent,
        entry,
        directory,
        new_parent,
        target,
        occupied,
        same_directory,
        same_folder,
        below,
        exchange,
        whiteout,
        exemption,
        no_replace: _,
    } = *operation
    else {
        return Err(Refusal::Invalid);
    };
    look_up(parent, entry, true)?;
    if whiteout {
        return Err(Refusal::Invalid);
    }
    if !same_folder {
        return Err(Refusal::CrossDevice);
    }
    seen(new_parent)?;
    let created_at = |parent: Verdict| parent.rights.contains(Right::Create);
    if !entry.rights.contains(Right::Write) || !created_at(parent) || !created_at(new_parent) {
        return Err(Refusal::Access);
    }
    if exchange && !occupied {
        // What is not there cannot be exchanged; whether it is there, a hidden name does not tell.
        return Err(if target.sees() {
            Refusal::NotFound
        } else {
            Refusal::Access
        });
    }
    hidden_name(target)?;
    if occupied && !target.rights.contains(Right::Write) {
        return Err(Refusal::Access);
    }
    let deletes = |entry: Verdict| entry.rights.contains(Right::Delete);
    let target_may_go = !occupied || deletes(target) || exemption.target && !exchange;
    let leaves = deletes(entry)
        || !exchange
            && !exemption.line_at_old_name
            && (occupied || !exemption.line_at_new_name)
            && (exemption.entry
                || exemption.saves
                || entry.rights.contains(Right::Rename)
                    && same_directory
                    && !directory
                    && target_may_go
                    && !exemption.line_at_new_name);
    let replaces = target_may_go || exemption.saves && !exchange;
    if !leaves || !replaces {
        return Err(Refusal::NotPermitted);
    }
    if below { Ok(()) } else { Err(Refusal::Access) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::judge;
    use crate::policy::level::{Level, Standing};

    fn at(level: Level) -> Verdict {
        Verdict {
            standing: Standing::Level(level),
            rights: level.rights(),
            corridor: false,
        }
    }

    /// A rename of a file in a directory, all under one level.
    #[derive(Clone, Copy)]
    struct Case {
        level: Level,
        directory: bool,
        occupied: bool,
        elsewhere: bool,
        exchange: bool,
        exemption: Exemption,
    }

    const FREE: Case = Case {
        level: Level::Edit,
        directory: false,
        occupied: false,
        elsewhere: false,
        exchange: false,
        exemption: Exemption {
            entry: false,
            target: false,
            saves: false,
            line_at_old_name: false,
            line_at_new_name: false,
        },
    };
    const OVER: Case = Case {
        occupied: true,
        ..FREE
    };

    fn answer(case: Case) -> &'static str {
        let verdict = at(case.level);
        let judged = judge(&Operation::Rename {
            parent: verdict,
            entry: verdict,
            directory: case.directory,
            new_parent: verdict,
            target: verdict,
            occupied: case.occupied,
            same_directory: !case.elsewhere,
            same_folder: true,
            below: true,
            no_replace: false,
            exchange: case.exchange,
            whiteout: false,
            exemption: case.exemption,
        });
        match judged {
            Ok(()) => "ok",
            Err(Refusal::NotPermitted) => "EPERM",
            Err(Refusal::Access) => "EACCES",
            Err(_) => "other",
        }
    }

    fn exempt(change: impl Fn(&mut Exemption)) -> Exemption {
        let mut exemption = Exemption::default();
        change(&mut exemption);
        exemption
    }

    #[test]
    fn under_edit_a_file_goes_to_a_free_name_of_its_directory_and_nowhere_else() {
        assert_eq!(answer(FREE), "ok");
        let others = [
            (
                "a directory",
                Case {
                    directory: true,
                    ..FREE
                },
            ),
            (
                "elsewhere",
                Case {
                    elsewhere: true,
                    ..FREE
                },
            ),
            ("over another", OVER),
            (
                "in exchange",
                Case {
                    exchange: true,
                    ..OVER
                },
            ),
        ];
        for (what, case) in others {
            assert_eq!(answer(case), "EPERM", "{what}");
            let level = Level::Full;
            assert_eq!(answer(Case { level, ..case }), "ok", "{what}");
            let level = Level::View;
            assert_eq!(answer(Case { level, ..case }), "EACCES", "{what}");
        }
        let level = Level::View;
        assert_eq!(answer(Case { level, ..FREE }), "EACCES");
    }

    #[test]
    fn what_is_transient_goes_anywhere_but_into_the_place_of_what_is_protected() {
        let exemption = exempt(|exempt| exempt.entry = true);
        for case in [
            Case {
                directory: true,
                ..FREE
            },
            Case {
                elsewhere: true,
                ..FREE
            },
        ] {
            assert_eq!(answer(Case { exemption, ..case }), "ok");
        }
        assert_eq!(answer(Case { exemption, ..OVER }), "EPERM");
        let saves = exempt(|exempt| exempt.saves = true);
        assert_eq!(
            answer(Case {
                exemption: saves,
                ..OVER
            }),
            "ok"
        );
        let saves_elsewhere = Case {
            exemption: saves,
            elsewhere: true,
            ..OVER
        };
        assert_eq!(answer(saves_elsewhere), "ok");
        let both = exempt(|exempt| (exempt.entry, exempt.target) = (true, true));
        assert_eq!(
            answer(Case {
                exemption: both,
                ..OVER
            }),
            "ok"
        );
        for exemption in [exemption, saves, both] {
            let exchange = true;
            assert_eq!(
                answer(Case {
                    exchange,
                    exemption,
                    ..OVER
                }),
                "EPERM"
            );
        }
    }

    #[test]
    fn where_a_line_starts_no_name_is_left_and_none_is_taken_but_in_place_of_what_has_it() {
        let old = exempt(|exempt| exempt.line_at_old_name = true);
        let new = exempt(|exempt| exempt.line_at_new_name = true);
        for exemption in [old, new] {
            assert_eq!(answer(Case { exemption, ..FREE }), "EPERM");
            let level = Level::Full;
            assert_eq!(
                answer(Case {
                    level,
                    exemption,
                    ..FREE
                }),
                "ok"
            );
        }
        let saves = |line: fn(&mut Exemption)| {
            let exemption = exempt(|exempt| {
                (exempt.entry, exempt.saves) = (true, true);
                line(exempt);
            });
            answer(Case { exemption, ..OVER })
        };
        assert_eq!(saves(|exempt| exempt.line_at_new_name = true), "ok");
        // What is protected does not come to a line in place of what may go.
        let over_own = exempt(|exempt| (exempt.target, exempt.line_at_new_name) = (true, true));
        let case = Case {
            exemption: over_own,
            ..OVER
        };
        assert_eq!(answer(case), "EPERM");
        assert_eq!(saves(|exempt| exempt.line_at_old_name = true), "EPERM");
    }

    #[test]
    fn what_is_exempt_is_removed_where_it_may_be_written() {
        let remove = |level, exempt| {
            judge(&Operation::Remove {
                parent: at(level),
                entry: at(level),
                below: true,
                exempt,
            })
        };
        assert_eq!(remove(Level::Edit, false), Err(Refusal::NotPermitted));
        assert_eq!(remove(Level::Edit, true), Ok(()));
        assert_eq!(remove(Level::View, true), Err(Refusal::Access));
        assert_eq!(remove(Level::Invisible, true), Err(Refusal::NotFound));
    }

    #[test]
    fn what_is_made_anew_needs_what_a_save_needs() {
        let replace = |parent, entry| {
            judge(&Operation::Replace {
                parent: at(parent),
                entry: at(entry),
            })
        };
        assert_eq!(replace(Level::Edit, Level::Edit), Ok(()));
        assert_eq!(replace(Level::View, Level::Edit), Err(Refusal::Access));
        assert_eq!(replace(Level::Edit, Level::View), Err(Refusal::Access));
        assert_eq!(replace(Level::Edit, Level::Invisible), Err(Refusal::NotFound));
    }
}
