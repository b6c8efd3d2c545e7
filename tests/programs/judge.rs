//! Decides a cell of the table: whether a program works, is refused cleanly, or is broken.

use std::collections::BTreeSet;
use std::fmt;

use crate::snapshot::{Entry, Snapshot};

/// What a run did.
#[derive(Clone)]
pub struct Run {
    pub succeeded: bool,
    /// All that it said.
    pub said: String,
    /// What a look at its work tells.
    pub look: String,
    /// Where a mount shows something else than there is on the disk.
    pub unlike: Option<String>,
    pub before: Snapshot,
    pub after: Snapshot,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All is as in a bare directory, and nothing else is left.
    Works,
    /// Likewise, but that it could not remove what was there before, and says so.
    Keeps,
    /// Likewise, but what it removed is back afterwards.
    ComeBack,
    /// It removes, and does nothing else; what it removed is back afterwards.
    Undone,
    /// It works, but it could not do something about the file that leaves no trace, and exits as if it had failed.
    Complains,
    /// It says why it fails, and everything that was there holds its old or its new content whole.
    Refused,
    /// Anything else, and why.
    Broken(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "works",
            Self::Keeps => "works, keeps old files",
            Self::ComeBack => "works, old files come back",
            Self::Undone => "the file comes back",
            Self::Complains => "works, exits with 1",
            Self::Refused => "refused",
            Self::Broken(_) => "broken",
        })
    }
}

/// The words by which programs tell that they were refused.
const REFUSALS: [&str; 7] = [
    "permission denied",
    "operation not permitted",
    "read-only",
    "readonly",
    "not permitted",
    "unwritable",
    // tar, which does not say why it could not remove a file before it made it anew.
    "cannot open: file exists",
];

/// Judges a run by the same one in a bare directory. Where nothing may be written, nothing may have changed.
pub fn judge(run: &Run, bare: &Run, writable: bool) -> Verdict {
    if let Some(unlike) = &run.unlike {
        return Verdict::Broken(unlike.clone());
    }
    let said = run.said.to_lowercase();
    let refused = REFUSALS.iter().any(|word| said.contains(word));
    if (&run.after, &run.look) == (&bare.after, &bare.look) {
        return match (run.succeeded, refused) {
            (true, _) => Verdict::Works,
            (false, true) => Verdict::Complains,
            (false, false) => Verdict::Broken("it fails without saying why".into()),
        };
    }
    let kept = only_old_is_left(run, bare);
    match (run.succeeded, refused) {
        (true, true) if kept.is_ok() && run.after != run.before => Verdict::Keeps,
        (true, false) => match kept {
            Ok(()) if run.after == run.before => Verdict::Undone,
            Ok(()) => Verdict::ComeBack,
            Err(why) => Verdict::Broken(why),
        },
        // Some exit as if nothing had happened (perl -i, git checkout), but say it.
        (_, true) => match all_is_whole(run, bare, writable) {
            Ok(()) => Verdict::Refused,
            Err(why) => Verdict::Broken(why),
        },
        (false, false) => Verdict::Broken("it fails without saying that it was refused".into()),
    }
}

/// All is as in the bare directory but for what was there before and should be gone.
fn only_old_is_left(run: &Run, bare: &Run) -> Result<(), String> {
    for (name, entry) in &run.after {
        let expected = bare.after.get(name);
        let old = run.before.get(name) == Some(entry) && expected.is_none();
        if expected != Some(entry) && !old {
            return Err(differs(name, Some(entry), expected));
        }
    }
    if let Some(name) = bare.after.keys().find(|name| !run.after.contains_key(*name)) {
        return Err(differs(name, None, bare.after.get(name)));
    }
    if run.after == bare.after {
        return Err(format!("a look tells {:?}, and not {:?}", run.look, bare.look));
    }
    Ok(())
}

/// Everything that was there holds its old or its new content, and nothing else has come.
fn all_is_whole(run: &Run, bare: &Run, writable: bool) -> Result<(), String> {
    let names: BTreeSet<_> = run.before.keys().chain(run.after.keys()).collect();
    for name in names {
        let (old, found, new) = (run.before.get(name), run.after.get(name), bare.after.get(name));
        if found != old && !(writable && found == new) {
            return Err(differs(name, found, old.or(new)));
        }
    }
    Ok(())
}

fn differs(name: &str, found: Option<&Entry>, expected: Option<&Entry>) -> String {
    match (found, expected) {
        (Some(found), Some(expected)) => format!("{name} is {found:?}, and should be {expected:?}"),
        (Some(_), None) => format!("{name} is left behind"),
        _ => format!("{name} is lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[(&str, u64)]) -> Snapshot {
        let file = |hash| Entry::File {
            mode: 0o644,
            size: 1,
            hash,
        };
        files
            .iter()
            .map(|(name, hash)| ((*name).to_owned(), file(*hash)))
            .collect()
    }

    fn run(succeeded: bool, said: &str, after: &[(&str, u64)]) -> Run {
        Run {
            succeeded,
            said: said.into(),
            look: String::new(),
            unlike: None,
            before: snapshot(&[("doc", 1), ("old", 1)]),
            after: snapshot(after),
        }
    }

    /// In the bare directory `doc` is written, `new` is made and `old` removed.
    fn verdict(run: &Run, writable: bool) -> String {
        let bare = self::run(true, "", &[("doc", 2), ("new", 1)]);
        judge(run, &bare, writable).to_string()
    }

    const DENIED: &str = "doc: Permission denied";

    #[test]
    fn what_ends_as_in_the_bare_directory_works() {
        assert_eq!(verdict(&run(true, "", &[("doc", 2), ("new", 1)]), true), "works");
    }

    #[test]
    fn success_without_the_work_is_broken() {
        for after in [
            &[("doc", 1), ("new", 1)][..],
            &[("doc", 2)],
            &[("new", 1)],
            &[("doc", 2), ("new", 1), ("litter", 1)],
        ] {
            assert_eq!(verdict(&run(true, "", after), true), "broken", "{after:?}");
        }
    }

    #[test]
    fn a_program_that_does_all_and_fails_nevertheless_complains() {
        let done = [("doc", 2), ("new", 1)];
        assert_eq!(verdict(&run(false, DENIED, &done), true), "works, exits with 1");
        assert_eq!(verdict(&run(false, "failed", &done), true), "broken");
    }

    #[test]
    fn a_program_that_only_warns_of_its_refusal_is_refused() {
        let unchanged = [("doc", 1), ("old", 1)];
        assert_eq!(verdict(&run(true, DENIED, &unchanged), false), "refused");
        assert_eq!(verdict(&run(true, "", &unchanged), false), "broken");
    }

    #[test]
    fn what_cannot_be_removed_may_stay_if_the_program_says_so() {
        let after = [("doc", 2), ("new", 1), ("old", 1)];
        assert_eq!(
            verdict(&run(true, "old: Operation not permitted", &after), true),
            "works, keeps old files"
        );
        assert_eq!(
            verdict(&run(true, "", &after), true),
            "works, old files come back"
        );
        let changed = [("doc", 2), ("new", 1), ("old", 3)];
        assert_eq!(verdict(&run(true, DENIED, &changed), true), "broken");
    }

    #[test]
    fn a_refusal_leaves_everything_whole_and_says_so() {
        let unchanged = [("doc", 1), ("old", 1)];
        assert_eq!(verdict(&run(false, DENIED, &unchanged), false), "refused");
        assert_eq!(verdict(&run(false, "failed", &unchanged), false), "broken");
        let kept = [("doc", 2), ("new", 1), ("old", 1)];
        assert_eq!(verdict(&run(false, DENIED, &kept), true), "refused");
        let partly = [("doc", 2), ("old", 1)];
        assert_eq!(verdict(&run(false, DENIED, &partly), true), "refused");
        assert_eq!(verdict(&run(false, DENIED, &partly), false), "broken");
        for after in [
            &[("doc", 3), ("old", 1)][..],
            &[("old", 1)],
            &[("doc", 1), ("old", 1), ("litter", 1)],
            &[("doc", 1), ("old", 1), ("new", 2)],
        ] {
            assert_eq!(verdict(&run(false, DENIED, after), true), "broken", "{after:?}");
        }
    }
}
