//! why

use std::fmt::Write as _;
use std::io::Write as _;

use super::time;
use crate::cli::{CliError, output};
use crate::control::answers::{DecidedBy, Refusal};
use crate::control::client::{Client, ClientError};
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Why {
    /// Go on, and print what is refused from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

impl Why {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let now = client.call(&requests::Why {
            after: None,
            wait: false,
        })?;
        if self.follow {
            return follow(client, json, now.last);
        }
        output::show(&now.refusals, json, |refusals| {
            if refusals.is_empty() {
                "nothing was refused since the daemon started\n".into()
            } else {
                refusals.iter().map(in_words).collect()
            }
        })
    }
}

/// Prints what comes, each as a line of JSON or in words.
fn follow(client: &Client, json: bool, mut after: u64) -> Result<(), CliError> {
    loop {
        let answer = client.call(&requests::Why {
            after: Some(after),
            wait: true,
        });
        let answer = answer.map_err(|error| match error {
            ClientError::Unreachable { .. } | ClientError::HungUp | ClientError::Garbled(_) => CliError::Other(
                "the daemon has ended, and what it had noted is gone: run 'lendfs why --follow' again when it is back"
                    .into(),
            ),
            error @ (ClientError::Refused(_) | ClientError::Silent { .. }) => error.into(),
        })?;
        after = answer.last;
        for refusal in &answer.refusals {
            let text = if json {
                serde_json::to_string(refusal).map_err(|error| CliError::Other(error.to_string()))? + "\n"
            } else {
                in_words(refusal)
            };
            let mut out = std::io::stdout().lock();
            // A closed pipe is the reader's word that he has enough.
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
        }
    }
}

fn in_words(refusal: &Refusal) -> String {
    let mut text = format!("{} UTC  ", time(refusal.at));
    // Writing to a string does not fail.
    let _ = write_words(&mut text, refusal);
    text
}

fn write_words(text: &mut String, refusal: &Refusal) -> std::fmt::Result {
    match refusal.pid {
        Some(pid) => write!(text, "{} ({pid}): ", refusal.program)?,
        None => write!(text, "a process: ")?,
    }
    write!(text, "{} {}", refusal.call, refusal.path)?;
    if let Some(to) = &refusal.to {
        write!(text, " to {to}")?;
    }
    if let Some(errno) = &refusal.errno {
        write!(text, ": {errno}")?;
    }
    if refusal.times > 1 {
        write!(text, " ({} times)", refusal.times)?;
    }
    writeln!(text)?;
    writeln!(text, "    {}", refusal.reason)?;
    if let Some(line) = refusal.decided_by.as_ref().and_then(line) {
        writeln!(text, "    decided by: {line}")?;
    }
    if let Some(help) = &refusal.help {
        writeln!(text, "    what helps: {help}")?;
    }
    Ok(())
}

/// The line that decided, with the words of `explain`.
fn line(decided: &DecidedBy) -> Option<String> {
    let path = decided
        .path
        .as_deref()
        .map(|path| if path.is_empty() { "/" } else { path });
    let level = decided.level.as_deref().unwrap_or_default();
    match (&*decided.kind, path) {
        ("grant" | "rule", path) => Some(format!(
            "{} for {} at {}: {level}",
            decided.kind,
            decided.principal.as_deref().unwrap_or_default(),
            path.unwrap_or("/")
        )),
        ("ceiling", _) => Some(format!("nothing exceeds {level} here")),
        ("none", Some(path)) => Some(format!("what the line at '{path}' was made for is gone")),
        ("none", None) => Some("no share reaches it".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_few_lines() {
        let refusal = Refusal {
            at: 0,
            times: 3,
            program: "mv".into(),
            pid: Some(7),
            call: "rename".into(),
            path: "tests/a".into(),
            to: Some("tests/b/a".into()),
            errno: Some("EPERM".into()),
            level: Some("edit".into()),
            decided_by: Some(DecidedBy {
                kind: "grant".into(),
                principal: Some("group:staff".into()),
                path: Some(String::new()),
                level: Some("edit".into()),
            }),
            reason: "so it is".into(),
            help: None,
        };
        assert_eq!(
            in_words(&refusal),
            "1970-01-01 00:00:00 UTC  mv (7): rename tests/a to tests/b/a: EPERM (3 times)\n    \
             so it is\n    decided by: grant for group:staff at /: edit\n"
        );
    }
}
