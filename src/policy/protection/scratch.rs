//! The names under which programs keep what they remove again, and the mark of what was made under one.

use std::sync::Arc;

/// What editors and databases leave beside a document for a while.
const DEFAULT: &[&str] = &[
    // vim
    ".*.sw?",
    "4913", // emacs
    ".#*",
    "#*#", // jupyter, LibreOffice
    ".~*", // Microsoft Office
    "~$*", // sqlite
    "*-journal",
    "*-wal",
    "*-shm",
    // git, which keeps a pack so while it is fetched, and lets another process end that
    "pack-*.keep",
    // git as well, for what goes on from one command to the next
    "MERGE_*",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
];
/// A folder may name so many.
const MOST: usize = 64;

/// Patterns of names: `*` stands for any bytes, `?` for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScratchNames(Arc<[Box<str>]>);

/// Why something is no list of patterns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// It has more than a folder may name.
    #[error("a folder may name up to {MOST} patterns")]
    Many,
    /// One of them can match no name, or every one.
    #[error(
        "a pattern is a name of 1 to 255 bytes, with * for any characters and ? for one, but not only of *"
    )]
    Pattern,
}

impl Default for ScratchNames {
    fn default() -> Self {
        Self(DEFAULT.iter().map(|&pattern| pattern.into()).collect())
    }
}

impl ScratchNames {
    /// No name at all.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Parses a list with commas between the patterns; an empty one means that there are none.
    ///
    /// # Errors
    /// Of what could match no name, or all.
    pub fn parse(list: &str) -> Result<Self, PatternError> {
        let patterns: Vec<_> = list.split(',').map(str::trim).collect();
        if patterns == [""] {
            return Ok(Self::none());
        }
        if patterns.len() > MOST {
            return Err(PatternError::Many);
        }
        let wrong = |pattern: &&str| {
            let control = pattern.chars().any(char::is_control);
            pattern.len() > 255
                || pattern.contains('/')
                || control
                || pattern.bytes().all(|byte| byte == b'*')
        };
        if patterns.iter().any(wrong) {
            return Err(PatternError::Pattern);
        }
        Ok(Self(patterns.into_iter().map(Into::into).collect()))
    }

    /// The list, as it is parsed.
    pub fn list(&self) -> String {
        self.0.join(",")
    }

    /// Tells whether a name is one of them.
    pub fn match_name(&self, name: &[u8]) -> bool {
        self.0.iter().any(|pattern| matches(pattern.as_bytes(), name))
    }
}

/// Goes back to the last `*` where the rest does not fit.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((before, taken)) = star else {
                    return false;
                };
                star = Some((before, taken + 1));
                (at, next) = (before + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// What is kept with a file that was made under a scratch name: by whom and which. Under another name it means nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScratchMark {
    /// The uid of the subject.
    pub uid: u32,
    /// The name.
    pub name: Box<[u8]>,
}

/// Why something is no mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a mark of lendfs")]
pub struct MarkError;

impl ScratchMark {
    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.uid).into_bytes();
        bytes.extend_from_slice(&self.name);
        bytes
    }

    /// From what is kept.
    ///
    /// # Errors
    /// If it was written by another.
    pub fn parse(bytes: &[u8]) -> Result<Self, MarkError> {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or(MarkError)?;
        let uid = std::str::from_utf8(&bytes[..space]).map_err(|_| MarkError)?;
        Ok(Self {
            uid: uid.parse().map_err(|_| MarkError)?,
            name: bytes[space + 1..].into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_programs_keep_beside_a_document_is_scratch() {
        let names = ScratchNames::default();
        for scratch in [
            ".doc.swp",
            ".doc.swx",
            "4913",
            ".#doc",
            "#doc#",
            ".~lock.doc.odt#",
            ".~doc.ipynb",
            "~$doc.docx",
            "db-journal",
            "db-wal",
            "db-shm",
            "pack-994d417b.keep",
            "MERGE_HEAD",
        ] {
            assert!(names.match_name(scratch.as_bytes()), "{scratch}");
        }
        for other in [
            "doc",
            "doc~",
            ".doc",
            "doc.swp",
            ".doc.swpx",
            "49130",
            "db-journal.txt",
            ".git",
            "#doc",
        ] {
            assert!(!names.match_name(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_list_of_patterns_is_read_as_it_is_written() {
        let names = ScratchNames::parse("*.part, tmp.???").unwrap();
        assert_eq!(names.list(), "*.part,tmp.???");
        assert!(names.match_name(b"film.part"));
        assert!(names.match_name(b"tmp.abc"));
        assert!(!names.match_name(b"tmp.ab"));
        assert!(!names.match_name(b"4913"));
        assert_eq!(ScratchNames::parse(&names.list()), Ok(names));
        assert!(!ScratchNames::parse("").unwrap().match_name(b""));
        assert_eq!(ScratchNames::parse("").unwrap().list(), "");
    }

    #[test]
    fn a_pattern_for_everything_or_for_nothing_is_refused() {
        for wrong in ["*", "a,,b", "**", "a/b", "a\nb"] {
            assert_eq!(
                ScratchNames::parse(wrong),
                Err(PatternError::Pattern),
                "{wrong:?}"
            );
        }
        assert_eq!(ScratchNames::parse(&"a,".repeat(64)), Err(PatternError::Many));
    }

    #[test]
    fn a_mark_keeps_any_name() {
        for name in [&b"db-wal"[..], b"a b", b"\xff\xfe", b""] {
            let mark = ScratchMark {
                uid: 1000,
                name: name.into(),
            };
            assert_eq!(ScratchMark::parse(&mark.to_bytes()), Ok(mark));
        }
        for wrong in [&b""[..], b"1000", b"x y", b"-1 y", b"\xff x"] {
            assert_eq!(ScratchMark::parse(wrong), Err(MarkError));
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_is_filled_with(parts in prop::collection::vec("[ab.]{0,3}", 1..4), fills in prop::collection::vec("[ab.]{0,3}", 3)) {
            let pattern = parts.join("*");
            let filled: String = parts.iter().zip(fills.iter().map(Some).chain([None])).enumerate().map(|(at, (part, fill))| {
                let last = at + 1 == parts.len();
                format!("{part}{}", fill.filter(|_| !last).cloned().unwrap_or_default())
            }).collect();
            prop_assert!(matches(pattern.as_bytes(), filled.as_bytes()), "{} {}", pattern, filled);
        }

        #[test]
        fn a_pattern_without_wildcards_matches_itself_alone(pattern in "[abc]{1,4}", name in "[abc]{1,4}") {
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), pattern == name);
        }
    }
}
