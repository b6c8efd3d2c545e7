//! audit, status, doctor, check

use std::ffi::OsString;

use crate::cli::{CliError, local, output};
use crate::control::answers::Finding;
use crate::control::client::Client;
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Audit {
    /// Of one folder (needs the level admin)
    #[arg(long, value_name = "FOLDER")]
    folder: Option<OsString>,
    /// By or for one account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// At most so many lines, the newest
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl Audit {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let folder = self.folder.map(|folder| local::place(&folder)).transpose()?;
        let request = requests::Audit {
            folder,
            account: self.account,
            limit: self.limit,
        };
        output::show(&client.call(&request)?, json, |lines| {
            let rows: Vec<_> = lines
                .iter()
                .map(|line| {
                    let who = if line.actor == line.account {
                        line.actor.clone()
                    } else {
                        format!("{} for {}", line.actor, line.account)
                    };
                    vec![time(line.at), who, line.action.clone(), line.details.to_string()]
                })
                .collect();
            output::table(&["TIME (UTC)", "WHO", "WHAT", ""], &rows, "nothing yet")
        })
    }
}

pub(super) fn status(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Status {})?, json, |status| {
        let mut text = format!(
            "lendfs {} runs as process {} for {} s: {} folders, {} accounts, {} mounts\n",
            status.version, status.pid, status.uptime, status.folders, status.accounts, status.mounts
        );
        for folder in &status.lost {
            text += &format!(
                "lost: {folder}: its backing directory is not there, so it answers with I/O errors\n"
            );
        }
        text
    })
}

pub(super) fn doctor(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Doctor {})?, json, |findings| {
        in_words(findings)
    })
}

pub(super) fn check(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Check {})?, json, |findings| {
        in_words(findings)
    })
}

fn in_words(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| {
            let advice = finding
                .advice
                .as_ref()
                .map(|advice| format!(" ({advice})"))
                .unwrap_or_default();
            format!(
                "{}  {}{advice}\n",
                if finding.ok { "ok  " } else { "FAIL" },
                finding.what
            )
        })
        .collect()
}

/// A time as `2027-01-31 12:00:00`, by the civil calendar (Howard Hinnant's `civil_from_days`).
pub(super) fn time(milliseconds: i64) -> String {
    let seconds = milliseconds.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_civil() {
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time(1_801_396_800_000 + 3_661_000), "2027-01-31 13:01:01");
    }
}
