//! What fuzzing tries: each target takes any bytes, and panics where lendfs does something wrong with them.
//!
//! `tests/fuzz` runs them under libFuzzer (`scripts/soak fuzz`), and the tests below run what is in their corpora. Another
//! target is a function here with its line in [`TARGETS`], a file in `tests/fuzz/targets` with its `[[bin]]` in
//! `tests/fuzz/Cargo.toml`, three seeds in `tests/fuzz/corpus`, and a test below. All else finds it by itself.

mod choices;
mod edits;
mod names;
mod policy;

pub(crate) use choices::Choices;

/// What is run with any bytes.
pub type Target = fn(&[u8]);

/// Each target by its name, which is also that of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("control", control),
    ("edits", edits),
    ("journal", journal),
    ("names", names),
    ("policy", policy),
];

/// The control API: commands of several users, one after the other.
pub fn control(bytes: &[u8]) {
    crate::daemon::fuzzing::run(bytes);
}

/// What `edit` protects.
pub fn edits(bytes: &[u8]) {
    edits::run(bytes);
}

/// What a daemon that has ended left.
pub fn journal(bytes: &[u8]) {
    crate::vfs::read_any_journal(bytes);
}

/// Names and paths, as they come from anywhere.
pub fn names(bytes: &[u8]) {
    names::run(bytes);
}

/// Lines and what they amount to.
pub fn policy(bytes: &[u8]) {
    policy::run(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    /// Runs the corpus of one target. A seed that fails says so by its name.
    fn run_corpus(name: &str) {
        let mut targets = TARGETS.into_iter();
        let (_, target) = targets.find(|(known, _)| *known == name).unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(&corpus)
            .unwrap()
            .map(|seed| seed.unwrap().path())
            .collect();
        seeds.sort();
        assert!(seeds.len() >= 3, "{} has no corpus", corpus.display());
        for seed in seeds {
            let bytes = std::fs::read(&seed).unwrap();
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("{} is one that fails", seed.display());
            }
        }
        target(b"");
    }

    #[test]
    fn the_corpus_of_commands_does_no_harm() {
        run_corpus("control");
    }

    #[test]
    fn the_corpus_of_edits_makes_no_file_disappear() {
        run_corpus("edits");
    }

    #[test]
    fn the_corpus_of_journals_is_read_or_refused() {
        run_corpus("journal");
    }

    #[test]
    fn the_corpus_of_names_is_read_as_it_is_written() {
        run_corpus("names");
    }

    #[test]
    fn the_corpus_of_lines_is_resolved_as_the_design_says() {
        run_corpus("policy");
    }

    #[test]
    fn each_target_is_fuzzed_and_each_that_is_fuzzed_is_one_of_them() {
        let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/targets");
        let mut fuzzed: Vec<_> = std::fs::read_dir(below)
            .unwrap()
            .map(|target| {
                target
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        fuzzed.sort();
        assert_eq!(fuzzed, TARGETS.map(|(name, _)| name));
    }
}
