//! daemon

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use crate::cli::CliError;
use crate::control::client::Client;
use crate::daemon::config::{Config, DEFAULT_CONFIG};
use crate::daemon::{Options, run};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Daemon {
    /// Where the daemon keeps its state and the managed folders
    #[arg(long, value_name = "DIR", default_value = "/var/lib/lendfs")]
    state_dir: PathBuf,
    /// The configuration file [default: /etc/lendfs/lendfs.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let the mounter that listens there mount ('lendfs mounter', which systemd starts)
    #[arg(long, value_name = "PATH")]
    mounter: Option<PathBuf>,
    /// Log lines of JSON (LENDFS_LOG=debug says more)
    #[arg(long)]
    log_json: bool,
}

impl Daemon {
    /// Runs the keeper of such a daemon.
    pub(super) fn keep(self, client: &Client) -> Result<(), CliError> {
        let mut arguments: Vec<OsString> = vec!["--socket".into(), client.socket.clone().into()];
        arguments.extend(["--state-dir".into(), self.state_dir.into()]);
        if let Some(config) = self.config {
            arguments.extend(["--config".into(), config.into()]);
        }
        if self.log_json {
            arguments.push("--log-json".into());
        }
        match crate::keeper::run(arguments) {
            Ok(0) => Ok(()),
            // The daemon has said why.
            Ok(status) => std::process::exit(status),
            Err(error) => Err(CliError::Other(format!("cannot start the daemon: {error}"))),
        }
    }

    pub(super) fn run(self, client: &Client) -> Result<(), CliError> {
        let filter = EnvFilter::try_from_env("LENDFS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        if self.log_json {
            log.json().init();
        } else {
            log.init();
        }
        let config = match &self.config {
            Some(file) => Config::read(file),
            None if Path::new(DEFAULT_CONFIG).exists() => Config::read(Path::new(DEFAULT_CONFIG)),
            None => Ok(Config::default()),
        };
        let config = config.map_err(CliError::Other)?;
        let absolute =
            |path: PathBuf| std::path::absolute(path).map_err(|error| CliError::Other(error.to_string()));
        let (state, socket) = (absolute(self.state_dir)?, absolute(client.socket.clone())?);
        Ok(run(Options {
            state,
            socket,
            mounter: self.mounter,
            config,
        })?)
    }
}
