//! Rights, and the levels that name sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that can be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Right {
    /// To know that it is there.
    See = 1,
    /// To read and list it.
    Read = 2,
    /// To change its content and attributes.
    Write = 4,
    /// To make something in it.
    Create = 8,
    /// To give it another name in its directory.
    Rename = 16,
    /// To remove it.
    Delete = 32,
    /// To change who may do what.
    Administer = 64,
}

impl Right {
    /// All rights, the least first.
    pub const ALL: [Self; 7] = [
        Self::See,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Rename,
        Self::Delete,
        Self::Administer,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Administer => "administer",
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// Every right.
    pub const ALL: Self = Self(127);

    /// Tells whether the right is in the set.
    pub fn contains(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// The rights of both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Tells whether each right is in the other set.
    pub fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The rights, the least first.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |&right| self.contains(right))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A named set of rights, ordered by what it allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is not there.
    Invisible,
    /// It is there, and that is all.
    Locked,
    /// It can be read.
    View,
    /// It can be changed, but nothing disappears.
    Edit,
    /// Everything can be done with it.
    Full,
    /// Likewise, and others can be let in.
    Admin,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Self; 6] = [
        Self::Invisible,
        Self::Locked,
        Self::View,
        Self::Edit,
        Self::Full,
        Self::Admin,
    ];

    /// What it allows.
    pub fn rights(self) -> Rights {
        Rights(match self {
            Self::Invisible => 0,
            Self::Locked => 1,
            Self::View => 3,
            Self::Edit => 31,
            Self::Full => 63,
            Self::Admin => 127,
        })
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invisible => "invisible",
            Self::Locked => "locked",
            Self::View => "view",
            Self::Edit => "edit",
            Self::Full => "full",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is not a level: say invisible, locked, view, edit, full, admin, online-view or online-edit")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == word)
            .ok_or_else(|| UnknownLevel(word.into()))
    }
}

/// The level that a line stores: what it is worth depends on the mount it is looked at from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LineLevel {
    /// The same in every mount.
    Fixed(Level),
    /// View in mounts that are declared online, invisible in others.
    OnlineView,
    /// Edit in mounts that are declared online, invisible in others.
    OnlineEdit,
}

impl LineLevel {
    /// What it is worth in a mount.
    pub fn in_mount(self, online: bool) -> Level {
        match self {
            Self::Fixed(level) => level,
            Self::OnlineView if online => Level::View,
            Self::OnlineEdit if online => Level::Edit,
            Self::OnlineView | Self::OnlineEdit => Level::Invisible,
        }
    }
}

impl fmt::Display for LineLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(level) => level.fmt(f),
            Self::OnlineView => f.pad("online-view"),
            Self::OnlineEdit => f.pad("online-edit"),
        }
    }
}

impl FromStr for LineLevel {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        match word {
            "online-view" => Ok(Self::OnlineView),
            "online-edit" => Ok(Self::OnlineEdit),
            word => word.parse().map(Self::Fixed),
        }
    }
}

impl From<Level> for LineLevel {
    fn from(level: Level) -> Self {
        Self::Fixed(level)
    }
}

/// How a subject stands to an entry: by a level, or above all levels as the folder's owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// A level holds.
    Level(Level),
    /// The folder is his.
    Owner,
}

impl Standing {
    /// What it allows.
    pub fn rights(self) -> Rights {
        match self {
            Self::Level(level) => level.rights(),
            Self::Owner => Rights::ALL,
        }
    }

    /// The nearest level: an owner may do at least what an admin may.
    pub fn level(self) -> Level {
        match self {
            Self::Level(level) => level,
            Self::Owner => Level::Admin,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => level.fmt(f),
            Self::Owner => f.pad("owner"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_allows_all_that_a_lower_one_does() {
        for pair in Level::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].rights().is_subset(pair[1].rights()));
        }
    }

    #[test]
    fn words_of_levels_are_read_back() {
        for word in [
            "invisible",
            "locked",
            "view",
            "edit",
            "full",
            "admin",
            "online-view",
            "online-edit",
        ] {
            assert_eq!(word.parse::<LineLevel>().unwrap().to_string(), word);
        }
        assert!("View".parse::<LineLevel>().is_err());
        assert!("owner".parse::<LineLevel>().is_err());
    }

    #[test]
    fn online_levels_are_nothing_in_a_personal_mount() {
        assert_eq!(LineLevel::OnlineEdit.in_mount(false), Level::Invisible);
        assert_eq!(LineLevel::OnlineEdit.in_mount(true), Level::Edit);
        assert_eq!(LineLevel::OnlineView.in_mount(true), Level::View);
    }
}
