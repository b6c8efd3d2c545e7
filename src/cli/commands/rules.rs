//! permit, unpermit, permissions, explain

use std::ffi::OsString;
use std::fmt::Write;

use super::shares::LEVELS;
use crate::cli::{CliError, local, output};
use crate::control::answers;
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Levels: {LEVELS}"))]
pub(in crate::cli) struct Permit {
    /// The path in a folder
    #[arg(value_name = "FOLDER/PATH")]
    place: OsString,
    /// bob, bob@example.com, group:staff or unix:staff
    #[arg(long = "for", value_name = "PRINCIPAL")]
    principal: String,
    /// The level
    level: String,
    /// End processes that still have something mapped of what is taken back (root, and whom the configuration names)
    #[arg(long)]
    kill: bool,
}

impl Permit {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Permit {
            place: local::place(&self.place)?,
            principal: self.principal,
            level: self.level,
            kill: self.kill,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unpermit {
    /// The path in a folder
    #[arg(value_name = "FOLDER/PATH")]
    place: OsString,
    /// For whom the rule is
    #[arg(long = "for", value_name = "PRINCIPAL")]
    principal: String,
}

impl Unpermit {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Unpermit {
            place: local::place(&self.place)?,
            principal: self.principal,
        };
        output::said(&client.call(&request)?, json)
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Permissions {
    /// Which
    folder: OsString,
}

impl Permissions {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let answer = client.call(&requests::Permissions {
            folder: local::place(&self.folder)?,
        })?;
        output::show(&answer, json, |answer| {
            let row = |kind: &str, path: &str, principal: &str, level: &str, note: &str| {
                let path = if path.is_empty() { "/" } else { path };
                vec![
                    path.to_owned(),
                    kind.to_owned(),
                    principal.to_owned(),
                    level.to_owned(),
                    note.to_owned(),
                ]
            };
            let grants = answer
                .grants
                .iter()
                .map(|line| row("share", &line.path, &line.principal, &line.level, ""));
            let invitations = answer.invitations.iter().map(|line| {
                row(
                    "invitation",
                    &line.path,
                    &line.principal,
                    &line.level,
                    &line.state,
                )
            });
            let rules = answer.rules.iter().map(|line| {
                let note = if line.target == "gone" {
                    "gone: only lowers what is made there again"
                } else {
                    ""
                };
                row("rule", &line.path, &line.principal, &line.level, note)
            });
            let mut rows: Vec<_> = grants.chain(invitations).chain(rules).collect();
            rows.sort_by(|one, other| one[0].cmp(&other[0]));
            output::table(&["PATH", "KIND", "FOR", "LEVEL", ""], &rows, "shared with nobody")
        })
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Explain {
    /// The folder, or a path in it
    #[arg(value_name = "FOLDER[/PATH]")]
    place: OsString,
    /// For whom, if not for me (needs the level admin there)
    #[arg(long = "for", value_name = "NAME")]
    principal: Option<String>,
    /// As in a mount that is declared online
    #[arg(long)]
    online: bool,
}

impl Explain {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let request = requests::Explain {
            place: local::place(&self.place)?,
            principal: self.principal,
            online: self.online,
        };
        output::show(&client.call(&request)?, json, |answer| {
            in_words(answer).unwrap_or_default()
        })
    }
}

fn in_words(answer: &answers::Explanation) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let at = if answer.path.is_empty() {
        answer.folder.clone()
    } else {
        format!("{}/{}", answer.folder, answer.path)
    };
    let rights = if answer.rights.is_empty() {
        "nothing".into()
    } else {
        answer.rights.join(", ")
    };
    writeln!(
        text,
        "{} has {at} as {} (may: {rights})",
        answer.subject, answer.level
    )?;
    if answer.corridor {
        writeln!(text, "it is only a way to something below")?;
    }
    match answer.decided_by.kind.as_str() {
        "owner" => writeln!(text, "because the folder is theirs")?,
        "ceiling" => writeln!(
            text,
            "because nothing exceeds {} here",
            answer.decided_by.level.as_deref().unwrap_or("?")
        )?,
        "none" => match &answer.decided_by.path {
            Some(path) => writeln!(text, "because what the line at '{path}' was made for is gone")?,
            None => writeln!(text, "because no share reaches it")?,
        },
        _ => {}
    }
    let rows: Vec<_> = answer
        .chain
        .iter()
        .map(|line| {
            let path = if line.path.is_empty() { "/" } else { &line.path };
            vec![
                path.to_owned(),
                line.kind.clone(),
                line.principal.clone(),
                line.level.clone(),
                line.outcome.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text += &output::table(&["PATH", "KIND", "FOR", "LEVEL", ""], &rows, "");
    }
    Ok(text)
}
