//! doctor: what the daemon says of itself and the machine, and what is seen from outside of it.

mod stale;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{CliError, output};
use crate::control::answers::{Finding, Grade};
use crate::control::client::{Client, ClientError};
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Doctor {
    /// Where the daemon keeps its state, if it does not run
    #[arg(long, value_name = "DIR", default_value = "/var/lib/lendfs")]
    state_dir: PathBuf,
}

/// A daemon that does not answer is something to be told soon.
const PATIENCE: Duration = Duration::from_secs(15);

impl Doctor {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let mut findings = Vec::new();
        let mut served = Vec::new();
        let client = Client {
            patience: client.patience.min(PATIENCE),
            ..client.clone()
        };
        match client.call(&requests::Doctor {}) {
            Ok(found) => {
                findings.push(Finding::ok("daemon", "the daemon answers"));
                findings.extend(found);
                served = client.call(&requests::Mounts {})?;
            }
            Err(error @ ClientError::Refused(_)) => return Err(error.into()),
            Err(error) => {
                findings.push(Finding::new(
                    Grade::Error,
                    "daemon",
                    error.to_string(),
                    "start it: systemctl start lendfs, or 'lendfs daemon' as root",
                ));
                let state = std::path::absolute(&self.state_dir).unwrap_or(self.state_dir);
                findings.extend(crate::daemon::doctor_alone(&state));
            }
        }
        findings.extend(unit::findings());
        findings.extend(stale::findings(&served));
        output::show(&findings, json, |findings| in_words(findings))?;
        conclude(&findings, Grade::Error)
    }
}

/// One line for each finding, with what to do; the worst come last, where they are seen.
pub(super) fn in_words(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.grade);
    sorted.iter().map(|finding| line(finding)).collect()
}

pub(super) fn line(finding: &Finding) -> String {
    let advice = match (&finding.repair, &finding.advice) {
        (Some(repair), _) if finding.repaired => format!(" (repaired: {repair})"),
        (_, Some(advice)) => format!(" ({advice})"),
        (_, None) => String::new(),
    };
    format!(
        "{:7}  {}{advice}\n",
        finding.grade.word(),
        output::line(&finding.what)
    )
}

/// Fails if something is as bad as that, or worse, and was not repaired.
pub(super) fn conclude(findings: &[Finding], bad: Grade) -> Result<(), CliError> {
    let left = findings
        .iter()
        .filter(|finding| finding.grade >= bad && !finding.repaired);
    match left.count() {
        0 => Ok(()),
        1 => Err(CliError::Other("one thing is wrong: see above".into())),
        wrong => Err(CliError::Other(format!("{wrong} things are wrong: see above"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_last_and_fails() {
        let findings = [
            Finding::new(Grade::Error, "a", "bad", "mend it"),
            Finding::ok("a", "good"),
            Finding::new(Grade::Warning, "a", "so so", "look at it"),
        ];
        assert_eq!(
            in_words(&findings),
            "ok       good\nwarning  so so (look at it)\nerror    bad (mend it)\n"
        );
        assert!(conclude(&findings, Grade::Error).is_err());
        assert!(conclude(&findings[1..], Grade::Error).is_ok());
        assert!(conclude(&findings[1..], Grade::Warning).is_err());
        let mut mended = findings[0].clone().mended_by("it was thrown away");
        mended.repaired = true;
        assert!(conclude(&[mended.clone()], Grade::Error).is_ok());
        assert_eq!(line(&mended), "error    bad (repaired: it was thrown away)\n");
    }
}
