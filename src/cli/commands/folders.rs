//! create, list, rename, delete, transfer, set

use std::ffi::OsString;

use crate::cli::{CliError, local, output};
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    /// Its name
    name: String,
    /// Adopt this directory, which must be mine
    #[arg(long, value_name = "DIR")]
    path: Option<OsString>,
    /// How a deeper rule meets what it inherits: it replaces it, or only raises it
    #[arg(long, value_name = "MODE", value_parser = ["override", "widen"])]
    inherit: Option<String>,
}

impl Create {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let path = self.path.map(|path| local::directory(&path)).transpose()?;
        output::said(
            &client.call(&requests::Create {
                name: self.name,
                path,
                inherit: self.inherit,
            })?,
            json,
        )
    }
}

pub(super) fn list(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::List {})?, json, |folders| {
        let rows: Vec<_> = folders
            .iter()
            .map(|folder| {
                vec![
                    folder.name.clone(),
                    folder.owner.clone(),
                    folder.level.clone(),
                    folder.via.clone(),
                    folder.mounted_at.join(", "),
                ]
            })
            .collect();
        let empty = "no folders yet: 'lendfs create NAME' makes one, 'lendfs invitations' shows what you are invited to";
        output::table(&["NAME", "OWNER", "LEVEL", "VIA", "MOUNTED AT"], &rows, empty)
    })
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rename {
    /// Which
    folder: OsString,
    /// Its new name
    new: String,
}

impl Rename {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Rename {
            folder: local::place(&self.folder)?,
            new: self.new,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Delete {
    /// Which
    folder: OsString,
    /// Even if it is shared or mounted
    #[arg(long)]
    force: bool,
}

impl Delete {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Delete {
            folder: local::place(&self.folder)?,
            force: self.force,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Transfer {
    /// Which
    folder: OsString,
    /// To whom
    #[arg(long, value_name = "NAME")]
    to: String,
}

impl Transfer {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Transfer {
            folder: local::place(&self.folder)?,
            to: self.to,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Set {
    /// Which
    folder: OsString,
    /// What to set; without it, all is told
    ///
    /// inherit=override|widen: how deeper rules meet what they inherit.
    /// revoke=default|strict: strict ends even what a program has mapped when a right is taken back, and is slower.
    /// own-files=protected|removable: whether those who may edit may delete what they made themselves.
    /// replace-by-unlink=off|on: whether their programs may unlink a file that they make anew at once (git, tar, install).
    /// scratch=PATTERN,..|default: under which names programs keep what they remove again.
    #[arg(value_name = "KEY=VALUE", verbatim_doc_comment)]
    assignment: Option<String>,
}

impl Set {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Set {
            folder: local::place(&self.folder)?,
            assignment: self.assignment,
        };
        output::said(&client.call(&request)?, json)
    }
}
