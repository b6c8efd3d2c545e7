//! check

use std::io::{BufRead, IsTerminal, Write};

use super::doctor::{conclude, in_words};
use crate::cli::{CliError, output};
use crate::control::answers::{Finding, Grade};
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// Repair what is safe to be repaired, after asking; no file of a user's is ever deleted
    #[arg(long)]
    repair: bool,
    /// Only tell what --repair would do
    #[arg(long, requires = "repair")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, requires = "repair", conflicts_with = "dry_run")]
    yes: bool,
}

impl Check {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let found = check(client, false)?;
        if !self.repair {
            output::show(&found, json, |found| in_words(found))?;
            return conclude(&found, Grade::Warning);
        }
        let to_do: Vec<_> = found
            .iter()
            .filter(|finding| finding.repair.is_some())
            .cloned()
            .collect();
        if self.dry_run {
            return output::show(&to_do, json, |to_do| plan(to_do));
        }
        if !to_do.is_empty() && !self.yes {
            ask(&to_do)?;
        }
        let found = if to_do.is_empty() {
            found
        } else {
            check(client, true)?
        };
        output::show(&found, json, |found| in_words(found))?;
        conclude(&found, Grade::Warning)
    }
}

/// Runs a check to its end, and shows on a terminal how far it is.
fn check(client: &Client, repair: bool) -> Result<Vec<Finding>, CliError> {
    let shown = std::io::stderr().is_terminal();
    let mut job = None;
    let mut findings = Vec::new();
    loop {
        let checking = client.call(&requests::Check { repair, job })?;
        job = Some(checking.job);
        findings.extend(checking.findings);
        if checking.ended {
            break;
        }
        if shown {
            let folder = output::line(&checking.folder.unwrap_or_default());
            eprint!("\r\x1b[K{} files looked at, now in {folder}", checking.looked);
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    Ok(findings)
}

/// What would be done.
fn plan(to_do: &[Finding]) -> String {
    if to_do.is_empty() {
        return "there is nothing that could be repaired\n".into();
    }
    let lines = to_do.iter().map(|finding| {
        let repair = finding.repair.as_deref().unwrap_or_default();
        format!("{}: {repair}\n", output::line(&finding.what))
    });
    lines.collect()
}

fn ask(to_do: &[Finding]) -> Result<(), CliError> {
    let no = |why: &str| Err(CliError::Other(format!("nothing was repaired: {why}")));
    if !std::io::stdin().is_terminal() {
        return no("there is nobody to ask; --dry-run tells what would be done, and --yes does it");
    }
    eprint!("{}Shall this be done? [y/N] ", plan(to_do));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        no("as you wish")
    }
}
