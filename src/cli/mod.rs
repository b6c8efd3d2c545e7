//! The command line: parses, asks the daemon, prints what it answers.

mod commands;
pub(crate) mod local;
mod output;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::control::DEFAULT_SOCKET;
use crate::control::client::{Client, ClientError, PATIENCE};

/// Refused, or failed.
const FAILED: u8 = 1;
/// Used wrongly.
const USAGE: u8 = 2;

/// Lends folders: share directory trees with people and groups, and mount what is shared with you.
///
/// Permissions hold at the system call, for every program: a folder can be shown read-only, edited without
/// deleting, or have sub-folders that are locked or invisible, for people and for groups.
#[derive(Debug, Parser)]
#[command(name = "lendfs", version, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: commands::Command,
}

#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Where the daemon listens
    #[arg(long, global = true, value_name = "PATH", env = "LENDFS_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Act for this account (root only)
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,
    /// Give up after so long without an answer
    #[arg(long, global = true, value_name = "SECONDS", env = "LENDFS_TIMEOUT", default_value_t = PATIENCE.as_secs())]
    timeout: u64,
    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Start(#[from] crate::daemon::StartError),
    #[error("{0}")]
    Other(String),
}

/// Runs the command line; tells the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let status = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let client = Client {
        socket: line.global.socket.clone(),
        user: line.global.user.clone(),
        patience: Duration::from_secs(line.global.timeout),
    };
    match line.command.run(&client, line.global.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lendfs: {}", output::line(&error.to_string()));
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["lendfs --user bob --json list", "lendfs list --user bob --json"] {
            let line = Line::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(
                (line.global.user.as_deref(), line.global.json),
                (Some("bob"), true)
            );
        }
    }
}
