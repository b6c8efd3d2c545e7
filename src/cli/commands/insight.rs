//! status, doctor, check

use crate::cli::{CliError, output};
use crate::control::answers::Finding;
use crate::control::client::Client;
use crate::control::requests;

pub(super) fn status(client: &Client, json: bool) -> Result<(), CliError> {
    output::show(&client.call(&requests::Status {})?, json, |status| {
        let mut text = format!(
            "lendfs {} runs as process {} for {} s: {} folders, {} accounts, {} mounts\n",
            status.version, status.pid, status.uptime, status.folders, status.accounts, status.mounts
        );
        if let (Some(requests), Some(refused)) = (&status.requests, &status.refused) {
            text += &format!(
                "{} requests, {} refused, {} files known to the kernel, {} take-overs\n",
                requests.values().sum::<u64>(),
                refused.values().sum::<u64>(),
                status.nodes.unwrap_or(0),
                status.takeovers.unwrap_or(0)
            );
        }
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
