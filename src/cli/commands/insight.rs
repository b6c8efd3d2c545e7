//! status

use crate::cli::{CliError, output};
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
