//! user, group

use clap::Subcommand;

use crate::cli::{CliError, output};
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Give a user of this system an account before his first use of it
    Add {
        /// The login name
        name: String,
        /// An e-mail address that others can share with
        #[arg(long)]
        email: Option<String>,
        /// What the account may be at most
        #[arg(long = "type", value_name = "TYPE", value_parser = ["member", "viewer"])]
        kind: Option<String>,
    },
    /// Set a property of an account
    Set {
        /// The login name
        name: String,
        /// email=ADDRESS, type=member|viewer or frozen=no
        #[arg(value_name = "KEY=VALUE")]
        assignment: String,
    },
    /// List the accounts
    List,
    /// Remove an account with its shares
    Remove {
        /// The login name
        name: String,
    },
}

impl User {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        match self {
            Self::Add { name, email, kind } => {
                output::said(&client.call(&requests::UserAdd { name, email, kind })?, json)
            }
            Self::Set { name, assignment } => {
                output::said(&client.call(&requests::UserSet { name, assignment })?, json)
            }
            Self::Remove { name } => output::said(&client.call(&requests::UserRemove { name })?, json),
            Self::List => output::show(&client.call(&requests::UserList {})?, json, |users| {
                let rows: Vec<_> = users
                    .iter()
                    .map(|user| {
                        let frozen = if user.frozen { "frozen" } else { "" };
                        let email = user.email.clone().unwrap_or_default();
                        vec![
                            user.name.clone(),
                            user.uid.to_string(),
                            user.kind.clone(),
                            email,
                            frozen.into(),
                        ]
                    })
                    .collect();
                output::table(&["NAME", "UID", "TYPE", "E-MAIL", ""], &rows, "no accounts yet")
            }),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Make a group
    Create {
        /// Its name
        group: String,
    },
    /// Add an account to a group
    Add {
        /// The group
        group: String,
        /// The account
        name: String,
    },
    /// Remove an account from a group
    Remove {
        /// The group
        group: String,
        /// The account
        name: String,
    },
    /// Delete a group with all lines that name it
    Delete {
        /// The group
        group: String,
    },
    /// List the groups
    List,
}

impl Group {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        match self {
            Self::Create { group } => output::said(&client.call(&requests::GroupCreate { group })?, json),
            Self::Delete { group } => output::said(&client.call(&requests::GroupDelete { group })?, json),
            Self::Add { group, name } => output::said(
                &client.call(&requests::GroupMember {
                    group,
                    name,
                    member: true,
                })?,
                json,
            ),
            Self::Remove { group, name } => output::said(
                &client.call(&requests::GroupMember {
                    group,
                    name,
                    member: false,
                })?,
                json,
            ),
            Self::List => output::show(&client.call(&requests::GroupList {})?, json, |groups| {
                let rows: Vec<_> = groups
                    .iter()
                    .map(|group| vec![group.name.clone(), group.members.join(", ")])
                    .collect();
                output::table(
                    &["GROUP", "MEMBERS"],
                    &rows,
                    "no groups yet: 'lendfs group create NAME' makes one",
                )
            }),
        }
    }
}
