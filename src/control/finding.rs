//! What `doctor` and `check` found: one thing each, how bad it is, and what to do.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It is as it should be.
    Ok,
    /// Good to know.
    Note,
    /// Something works less well, or protects less, than it could.
    Warning,
    /// Something does not work, or does not protect.
    Error,
}

impl Grade {
    /// The word that scripts and people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// Whether it is as it should be: the grade is `ok`.
    pub ok: bool,
    /// How bad it is.
    pub grade: Grade,
    /// What it is about, in one word.
    pub about: String,
    /// What was looked at, and how it is.
    pub what: String,
    /// What to do, if it is not as it should be.
    pub advice: Option<String>,
    /// What `check --repair` does about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
    /// Whether that was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repaired: bool,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(about: &str, what: impl Into<String>) -> Self {
        Self {
            ok: true,
            grade: Grade::Ok,
            about: about.into(),
            what: what.into(),
            advice: None,
            repair: None,
            repaired: false,
        }
    }

    /// Something else.
    pub fn new(grade: Grade, about: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            ok: grade == Grade::Ok,
            grade,
            advice: Some(advice.into()),
            ..Self::ok(about, what)
        }
    }

    /// `ok` where it is so, else of this grade and with advice.
    pub fn that(so: bool, grade: Grade, about: &str, what: impl Into<String>, advice: &str) -> Self {
        if so {
            Self::ok(about, what)
        } else {
            Self::new(grade, about, what, advice)
        }
    }

    /// Likewise, with what a repair does about it.
    #[must_use]
    pub fn mended_by(self, repair: impl Into<String>) -> Self {
        Self {
            repair: Some(repair.into()),
            ..self
        }
    }
}

/// How far a check is, and what it found since it was last asked.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Checking {
    /// Its number, to ask on.
    pub job: u64,
    /// Whether it has ended: these are the last findings.
    pub ended: bool,
    /// How many files and directories were looked at.
    pub looked: u64,
    /// The folder that is looked at.
    pub folder: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}
