//! mount, umount, mounts

use std::ffi::OsString;

use crate::cli::{CliError, local, output};
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Mount {
    /// An empty directory of mine
    #[arg(value_name = "DIR")]
    at: OsString,
    /// Refuse every change
    #[arg(long)]
    read_only: bool,
    /// Allow nothing beyond this level
    #[arg(long, value_name = "LEVEL")]
    ceiling: Option<String>,
    /// It is a managed session: online-view and online-edit count (root, launchers)
    #[arg(long)]
    online: bool,
    /// Whom to let in: nobody else, or everybody, for a container (root, launchers)
    #[arg(long, value_name = "WHO", value_parser = ["all"])]
    admit: Option<String>,
    /// Let the kernel apply the shown modes and owners as well
    #[arg(long)]
    default_permissions: bool,
    /// Show everything as belonging to these ids (root, launchers)
    #[arg(long, value_name = "UID:GID")]
    own: Option<String>,
    /// Cut what is open at once when permissions change
    #[arg(long)]
    strict: bool,
}

impl Mount {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Mount {
            at: local::directory(&self.at)?,
            read_only: self.read_only,
            ceiling: self.ceiling,
            online: self.online,
            admit_all: self.admit.is_some(),
            default_permissions: self.default_permissions,
            own: self.own,
            strict: self.strict,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Umount {
    /// Where
    #[arg(value_name = "DIR")]
    at: OsString,
    /// Let those who have something open there finish
    #[arg(long)]
    lazy: bool,
}

impl Umount {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        output::said(
            &client.call(&requests::Umount {
                at: local::directory(&self.at)?,
                lazy: self.lazy,
            })?,
            json,
        )
    }
}

pub(super) fn list(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Mounts {})?, json, |mounts| {
        let rows: Vec<_> = mounts
            .iter()
            .map(|mount| vec![mount.subject.clone(), mount.at.clone()])
            .collect();
        output::table(
            &["FOR", "AT"],
            &rows,
            "no mounts: 'lendfs mount DIR' mounts your folders",
        )
    })
}
