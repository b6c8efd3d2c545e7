//! The answers. Field names are relied on by scripts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::finding::{Checking, Finding, Grade};
use super::wire::Bytes;

/// A command was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// What was done.
    pub done: String,
    /// What to know about it.
    pub warnings: Vec<String>,
}

/// A folder in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Folder {
    /// Its name in the caller's top directory.
    pub name: String,
    /// The owner's login name.
    pub owner: String,
    /// The caller's level, or `owner`.
    pub level: String,
    /// Whether it is the caller's own.
    pub mine: bool,
    /// How it came to the caller: `owner`, `share`, or the group.
    pub via: String,
    /// How what is open is taken back: `default`, or `strict`, which lets no data bypass the daemon.
    pub revoke: String,
    /// Where it is mounted for the caller.
    pub mounted_at: Vec<String>,
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// The folder's name.
    pub folder: String,
    /// The owner's login name.
    pub owner: String,
    /// The path in it.
    pub path: String,
    /// The level offered.
    pub level: String,
    /// `pending`, `accepted`, `declined`, `cancelled`.
    pub state: String,
}

/// All lines of a folder that the caller may see.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// The shares.
    pub grants: Vec<Grant>,
    /// The invitations that wait.
    pub invitations: Vec<PendingInvitation>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// Where.
    pub path: String,
    /// Whom it names.
    pub principal: String,
    /// The level.
    pub level: String,
}

/// An invitation that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingInvitation {
    /// Where.
    pub path: String,
    /// Whom it names.
    pub principal: String,
    /// The level.
    pub level: String,
    /// `pending`
    pub state: String,
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Where.
    pub path: String,
    /// Whom it names.
    pub principal: String,
    /// The level.
    pub level: String,
    /// `there` or `gone`: what it was made for.
    pub target: String,
}

/// A verdict with its reasons.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The folder's name.
    pub folder: String,
    /// The path in it.
    pub path: String,
    /// For whom.
    pub subject: String,
    /// The level, or `owner`.
    pub level: String,
    /// What it allows.
    pub rights: Vec<String>,
    /// Whether it is only a way to something below.
    pub corridor: bool,
    /// What decided.
    pub decided_by: DecidedBy,
    /// Every line looked at.
    pub chain: Vec<ChainLine>,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DecidedBy {
    /// `owner`, `grant`, `rule`, `none` or `ceiling`.
    pub kind: String,
    /// Whom the line names.
    pub principal: Option<String>,
    /// Where it stands.
    pub path: Option<String>,
    /// Its level.
    pub level: Option<String>,
}

/// A line that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChainLine {
    /// `grant` or `rule`.
    pub kind: String,
    /// Whom it names.
    pub principal: String,
    /// Where it stands.
    pub path: String,
    /// Its level.
    pub level: String,
    /// Whether it decides, or why it does not.
    pub outcome: String,
}

/// What is known of a directory beside its files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Around {
    /// Where the caller has it mounted.
    pub at: Vec<Bytes>,
    /// The entries at which lines of others stand, as far as the caller may know.
    pub entries: Vec<Others>,
}

/// An entry of a directory at which lines of others stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Others {
    /// Its name.
    pub name: Bytes,
    /// The lines.
    pub lines: Vec<LineOfOther>,
}

/// A line that stands at an entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
pub struct LineOfOther {
    /// Whom it names.
    pub principal: String,
    /// The level.
    pub level: String,
}

/// A mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Mount {
    /// On whose behalf.
    pub subject: String,
    /// Where.
    pub at: String,
    /// Whether data bypasses the daemon.
    pub passthrough: bool,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The uid that belongs to it.
    pub uid: u32,
    /// The e-mail address.
    pub email: Option<String>,
    /// `member` or `viewer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether root has to confirm it.
    pub frozen: bool,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The login names of its members.
    pub members: Vec<String>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// To ask for what comes after.
    pub last: i64,
    /// The lines, the newest last.
    pub lines: Vec<AuditLine>,
}

/// A line of the audit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Milliseconds since 1970, UTC.
    pub at: i64,
    /// `change` or `refusal`.
    pub kind: String,
    /// Who did it, or was refused.
    pub actor: String,
    /// In whose name.
    pub account: String,
    /// The command's word, or `refused`.
    pub action: String,
    /// The folder's number.
    pub folder: Option<i64>,
    /// What the folder is called now, as `OWNER:NAME`, if it is there and the caller has it.
    pub name: Option<String>,
    /// The particulars.
    pub details: serde_json::Value,
}

/// How the daemon runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: u64,
    /// How many folders there are.
    pub folders: usize,
    /// How many accounts there are.
    pub accounts: usize,
    /// How many mounts are up.
    pub mounts: usize,
    /// The folders whose backing directory is not there, as `OWNER:NAME`.
    pub lost: Vec<String>,
    /// How many requests the kernel has made of all mounts since the start, by opcode. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, u64>>,
    /// How many of them a rule has refused, by what they were answered. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<BTreeMap<String, u64>>,
    /// How often mounts were taken over from an earlier daemon. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeovers: Option<u64>,
    /// How many threads serve these, all mounts together. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Whether the processors are kept awake for these just now. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_held: Option<bool>,
    /// How many files and directories the kernel knows of, all mounts together. Told to root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
}

/// What was refused of late.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// To ask for what comes after.
    pub last: u64,
    /// The refusals, the newest last.
    pub refusals: Vec<Refusal>,
}

/// A system call that was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Milliseconds since 1970, UTC.
    pub at: i64,
    /// How often, one right after the other.
    pub times: u32,
    /// The name of the program.
    pub program: String,
    /// The process; none if it is not visible to the daemon.
    pub pid: Option<u32>,
    /// What it asked for.
    pub call: String,
    /// Of what, as the caller names it: `FOLDER/PATH`.
    pub path: String,
    /// The new name, where there are two.
    pub to: Option<String>,
    /// What it was answered (`EPERM`).
    pub errno: Option<String>,
    /// The caller's level where a right is missing, or `owner`.
    pub level: Option<String>,
    /// What decided that.
    pub decided_by: Option<DecidedBy>,
    /// One line: why.
    pub reason: String,
    /// One line: what would help.
    pub help: Option<String>,
}
