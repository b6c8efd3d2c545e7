//! The commands, by what they are about.

mod audit;
mod check;
mod daemon;
mod doctor;
mod folders;
mod insight;
mod ls;
mod mounts;
mod people;
mod rules;
mod shares;
mod why;

use std::time::{Duration, UNIX_EPOCH};

use clap::Subcommand;

use super::CliError;
use crate::control::client::Client;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Daemon(daemon::Daemon),
    /// Run the daemon, and start it again with its mounts when it ends
    Keeper(daemon::Daemon),
    /// For the daemon alone: tell the kernel what may have to wait
    #[command(name = crate::backing::TELLER_COMMAND, hide = true)]
    Teller,
    /// Mount for a daemon that is shut off from the machine
    #[command(hide = true)]
    Mounter,
    /// Make a folder, or adopt a directory as one
    Create(folders::Create),
    /// List my folders and those shared with me
    List,
    /// Rename a folder of mine
    Rename(folders::Rename),
    /// Delete a folder of mine; its files go to the trash, an adopted directory stays
    Delete(folders::Delete),
    /// Give a folder of mine to someone else
    Transfer(folders::Transfer),
    /// Set a property of a folder of mine
    Set(folders::Set),
    /// Share a folder, or a path in it: invites a person, a group has it at once
    Share(shares::Share),
    /// Take a share or an invitation back
    Unshare(shares::Unshare),
    /// List what I am invited to
    Invitations,
    /// Accept an invitation
    Accept(shares::Accept),
    /// Decline an invitation
    Decline(shares::Decline),
    /// Leave a folder that is shared with me
    Leave(shares::Leave),
    /// Set a rule: the level someone has at a path inside a folder
    Permit(rules::Permit),
    /// Remove a rule
    Unpermit(rules::Unpermit),
    /// List every share, waiting invitation and rule of a folder
    Permissions(rules::Permissions),
    /// Show which level holds at a path, and why
    Explain(rules::Explain),
    /// List a directory with the level of each entry
    Ls(ls::Ls),
    /// Mount my folders on an empty directory of mine
    Mount(mounts::Mount),
    /// Unmount
    Umount(mounts::Umount),
    /// List mounts
    Mounts,
    /// Accounts (root)
    #[command(subcommand)]
    User(people::User),
    /// Groups
    #[command(subcommand)]
    Group(people::Group),
    /// Show what was refused to my programs of late, why, and what would help
    Why(why::Why),
    /// Show what was changed and what was refused
    Audit(audit::Audit),
    /// Show how the daemon runs
    Status,
    /// Look at what this machine offers and lacks
    Doctor(doctor::Doctor),
    /// Compare the store with the disk (root)
    Check(check::Check),
}

impl Command {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        match self {
            Self::Daemon(command) => command.run(client),
            Self::Keeper(command) => command.keep(client),
            Self::Teller => {
                crate::backing::serve_teller().map_err(|error| CliError::Other(error.to_string()))
            }
            Self::Mounter => Ok(crate::daemon::run_mounter()?),
            Self::Create(command) => command.run(client, json),
            Self::List => folders::list(client, json),
            Self::Rename(command) => command.run(client, json),
            Self::Delete(command) => command.run(client, json),
            Self::Transfer(command) => command.run(client, json),
            Self::Set(command) => command.run(client, json),
            Self::Share(command) => command.run(client, json),
            Self::Unshare(command) => command.run(client, json),
            Self::Invitations => shares::invitations(client, json),
            Self::Accept(command) => command.run(client, json),
            Self::Decline(command) => command.run(client, json),
            Self::Leave(command) => command.run(client, json),
            Self::Permit(command) => command.run(client, json),
            Self::Unpermit(command) => command.run(client, json),
            Self::Permissions(command) => command.run(client, json),
            Self::Explain(command) => command.run(client, json),
            Self::Ls(command) => command.run(client, json),
            Self::Mount(command) => command.run(client, json),
            Self::Umount(command) => command.run(client, json),
            Self::Mounts => mounts::list(client, json),
            Self::User(command) => command.run(client, json),
            Self::Group(command) => command.run(client, json),
            Self::Why(command) => command.run(client, json),
            Self::Audit(command) => command.run(client, json),
            Self::Status => insight::status(client, json),
            Self::Doctor(command) => command.run(client, json),
            Self::Check(command) => command.run(client, json),
        }
    }
}

/// A time, in milliseconds since 1970, as `2027-01-31 12:00:00`.
fn time(milliseconds: i64) -> String {
    let since = Duration::from_millis(milliseconds.try_into().unwrap_or(0));
    let moment = UNIX_EPOCH + since.min(LATEST);
    humantime::format_rfc3339_seconds(moment)
        .to_string()
        .replace('T', " ")
        .replace('Z', "")
}

/// What comes after the year 9999 has no such form.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_civil() {
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(-1), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time(1_801_396_800_000 + 3_661_000), "2027-01-31 13:01:01");
        assert_eq!(time(i64::MAX), "9999-12-31 23:59:59");
    }
}
