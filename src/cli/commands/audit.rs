//! audit

use std::ffi::OsString;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::{CliError, local, output};
use crate::control::answers::AuditLine;
use crate::control::client::{Client, ClientError};
use crate::control::requests;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Audit {
    /// Of one folder, or of a place in it (needs the level admin there)
    #[arg(long, value_name = "FOLDER[/PATH]")]
    folder: Option<OsString>,
    /// By or for one account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// By one account
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Changes of policy, or what was refused
    #[arg(long, value_parser = ["change", "refusal"])]
    kind: Option<String>,
    /// With one word: a command's, as 'share', or 'refused'
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// Not before: '2027-01-31', '2027-01-31 12:00:00' (UTC), or '2h 30m' ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Before, likewise
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "follow")]
    until: Option<i64>,
    /// At most so many lines, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Go on, and print what happens from now on (or --since), until Ctrl-C
    #[arg(long)]
    follow: bool,
}

impl Audit {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let folder = self.folder.as_deref().map(local::place).transpose()?;
        let mut request = requests::Audit {
            folder,
            account: self.account,
            actor: self.actor,
            kind: self.kind,
            action: self.action,
            since: self.since,
            until: self.until,
            limit: self.limit,
            after: None,
            wait: false,
        };
        let now = client.call(&request)?;
        if !self.follow {
            return output::show(&now.lines, json, |lines| {
                let rows: Vec<_> = lines.iter().map(|line| cells(line).into()).collect();
                output::table(&["TIME (UTC)", "WHO", "WHAT", "WHERE", ""], &rows, "nothing yet")
            });
        }
        if self.since.is_some() && !print(&now.lines, json)? {
            return Ok(());
        }
        (request.wait, request.after) = (true, Some(now.last));
        loop {
            let news = client.call(&request).map_err(|error| match error {
                ClientError::Unreachable { .. } | ClientError::HungUp | ClientError::Garbled(_) => CliError::Other(
                    "the daemon has ended: run 'lendfs audit --follow' again when it is back, with --since for what came \
                     meanwhile"
                        .into(),
                ),
                error @ (ClientError::Refused(_) | ClientError::Silent { .. }) => error.into(),
            })?;
            request.after = Some(news.last);
            if !print(&news.lines, json)? {
                return Ok(());
            }
        }
    }
}

/// Prints lines as they come; tells whether anyone reads them.
fn print(lines: &[AuditLine], json: bool) -> Result<bool, CliError> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        let text = if json {
            serde_json::to_string(line).map_err(|error| CliError::Other(error.to_string()))?
        } else {
            cells(line).join("  ").trim_end().to_owned()
        };
        // A closed pipe is the reader's word that he has enough.
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When, who, what, where, and the particulars.
fn cells(line: &AuditLine) -> [String; 5] {
    let who = if line.actor == line.account {
        line.actor.clone()
    } else {
        format!("{} for {}", line.actor, line.account)
    };
    let mut what = line.action.clone();
    let mut place = match (&line.name, line.folder) {
        (Some(name), _) => name.clone(),
        (None, Some(number)) => format!("folder {number}"),
        (None, None) => String::new(),
    };
    let mut particulars = Vec::new();
    for (key, value) in line.details.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match &**key {
            "call" | "command" => what = format!("{what} {text}"),
            "path" if text.is_empty() => {}
            "path" if place.is_empty() => place = text,
            "path" => place = format!("{place}/{text}"),
            "times" if text == "1" => {}
            key => particulars.push(format!("{key}={text}")),
        }
    }
    [
        super::time(line.at),
        output::line(&who),
        output::line(&what),
        output::line(&place),
        output::line(&particulars.join(" ")),
    ]
}

/// A moment in milliseconds since 1970: a date, a date and a time, or so long ago.
fn moment(text: &str) -> Result<i64, String> {
    let date = if text.len() == "2027-01-31".len() && text.contains('-') {
        humantime::parse_rfc3339_weak(&format!("{text} 00:00:00"))
    } else {
        humantime::parse_rfc3339_weak(text)
    };
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    let moment = match (date, humantime::parse_duration(text)) {
        (Ok(moment), _) => Some(moment),
        (Err(_), Ok(duration)) => ago(duration),
        (Err(_), Err(_)) => None,
    };
    let since = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    since
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .ok_or_else(|| "say '2027-01-31', '2027-01-31 12:00:00', or '2h 30m' for so long ago".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_tells_when_who_what_and_where() {
        let mut line = AuditLine {
            at: 951_782_400_000,
            kind: "refusal".into(),
            actor: "bob".into(),
            account: "bob".into(),
            action: "refused".into(),
            folder: Some(3),
            name: Some("olga:tests".into()),
            details: json!({"call": "unlink", "path": "a\u{9b}b", "errno": "EPERM", "times": 2, "to": null}),
        };
        assert_eq!(
            cells(&line).join("|"),
            "2000-02-29 00:00:00|bob|refused unlink|olga:tests/a\\u{9b}b|errno=EPERM times=2"
        );
        line = AuditLine {
            actor: "root".into(),
            action: "share".into(),
            name: None,
            details: json!({"path": "", "for": "group:staff", "level": "edit"}),
            ..line
        };
        assert_eq!(
            cells(&line).join("|"),
            "2000-02-29 00:00:00|root for bob|share|folder 3|for=group:staff level=edit"
        );
    }

    #[test]
    fn moments_are_dates_or_ago() {
        assert_eq!(moment("2000-02-29"), Ok(951_782_400_000));
        assert_eq!(moment("2000-02-29 00:00:01"), Ok(951_782_401_000));
        assert_eq!(moment("2000-02-29T00:00:01Z"), Ok(951_782_401_000));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let ago = now - moment("2h 30m").unwrap();
        assert!((9_000_000 - 60_000..=9_000_000 + 1000).contains(&ago), "{ago}");
        for nonsense in ["", "yesterday", "-1", "2027-13-01", "1969-01-01", "99999999999y"] {
            moment(nonsense).unwrap_err();
        }
    }
}
