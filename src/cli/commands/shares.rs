//! share, unshare, invitations, accept, decline, leave

use std::ffi::OsString;

use crate::cli::{CliError, local, output};
use crate::control::client::Client;
use crate::control::requests;

/// What levels there are.
pub(super) const LEVELS: &str = "invisible, locked, view, edit, full, admin, online-view, online-edit";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Levels: {LEVELS}"))]
pub(in crate::cli) struct Share {
    /// The folder, or a path in it
    #[arg(value_name = "FOLDER[/PATH]")]
    place: OsString,
    /// bob, bob@example.com, group:staff or unix:staff
    #[arg(long, value_name = "PRINCIPAL")]
    with: String,
    /// The level
    #[arg(long = "as", value_name = "LEVEL")]
    level: String,
}

impl Share {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Share {
            place: local::place(&self.place)?,
            with: self.with,
            level: self.level,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unshare {
    /// The folder, or a path in it
    #[arg(value_name = "FOLDER[/PATH]")]
    place: OsString,
    /// From whom
    #[arg(long, value_name = "PRINCIPAL")]
    with: String,
    /// End processes that still have something mapped of what is taken back (root, and whom the configuration names)
    #[arg(long)]
    kill: bool,
}

impl Unshare {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Unshare {
            place: local::place(&self.place)?,
            with: self.with,
            kill: self.kill,
        };
        output::said(&client.call(&request)?, json)
    }
}

pub(super) fn invitations(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Invitations {})?, json, |invitations| {
        let rows: Vec<_> = invitations
            .iter()
            .map(|invitation| {
                vec![
                    format!("{}:{}", invitation.owner, invitation.folder),
                    invitation.path.clone(),
                    invitation.level.clone(),
                    invitation.state.clone(),
                ]
            })
            .collect();
        output::table(&["FOLDER", "PATH", "LEVEL", "STATE"], &rows, "no invitations")
    })
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Accept {
    /// The folder, or the path in it, that I am invited to
    #[arg(value_name = "FOLDER[/PATH]")]
    place: OsString,
    /// Show it under this name in my mounts
    #[arg(long, value_name = "ALIAS")]
    name: Option<String>,
}

impl Accept {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Accept {
            place: local::place(&self.place)?,
            name: self.name,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Decline {
    /// The folder, or the path in it, that I am invited to
    #[arg(value_name = "FOLDER[/PATH]")]
    place: OsString,
}

impl Decline {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        output::said(
            &client.call(&requests::Decline {
                place: local::place(&self.place)?,
            })?,
            json,
        )
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Leave {
    /// Which
    folder: OsString,
}

impl Leave {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        output::said(
            &client.call(&requests::Leave {
                folder: local::place(&self.folder)?,
            })?,
            json,
        )
    }
}
