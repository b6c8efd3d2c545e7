//! What systemd says of the unit that the daemon runs in.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::control::answers::{Finding, Grade};

const UNIT: &str = "lendfs.service";
const ABOUT: &str = "unit";

pub(super) fn findings() -> Vec<Finding> {
    // See sd_booted(3).
    if !Path::new("/run/systemd/system").is_dir() {
        return vec![Finding::new(
            Grade::Note,
            ABOUT,
            "systemd does not run this machine",
            "'lendfs keeper' starts the daemon again where there is no systemd",
        )];
    }
    let shown = Command::new("systemctl")
        .args(["show", UNIT, "--property"])
        .arg("LoadState,ActiveState,SubState,Type,Restart,FileDescriptorStoreMax,NFileDescriptorStore,LimitNOFILE")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match shown {
        Ok(output) if output.status.success() => judge(&parse(&String::from_utf8_lossy(&output.stdout))),
        _ => vec![Finding::new(
            Grade::Warning,
            ABOUT,
            format!("systemctl does not tell of {UNIT}"),
            "ask it yourself: systemctl status lendfs",
        )],
    }
}

fn parse(shown: &str) -> HashMap<&str, &str> {
    shown.lines().filter_map(|line| line.split_once('=')).collect()
}

fn judge(unit: &HashMap<&str, &str>) -> Vec<Finding> {
    let of = |key| unit.get(key).copied().unwrap_or_default();
    if of("LoadState") != "loaded" {
        return vec![Finding::new(
            Grade::Note,
            ABOUT,
            format!("there is no {UNIT} ({})", of("LoadState")),
            "install systemd/lendfs.service, so that the daemon is started again and mounts outlive it",
        )];
    }
    let mut findings = vec![Finding::that(
        of("ActiveState") == "active",
        Grade::Error,
        ABOUT,
        format!("{UNIT} is {} ({})", of("ActiveState"), of("SubState")),
        "systemctl status lendfs and journalctl -u lendfs say why",
    )];
    let room: u64 = of("FileDescriptorStoreMax").parse().unwrap_or(0);
    let kept: u64 = of("NFileDescriptorStore").parse().unwrap_or(0);
    findings.push(Finding::that(
        room > 0 && kept < room / 10 * 9,
        Grade::Warning,
        ABOUT,
        format!("systemd keeps {kept} of at most {room} descriptors for the next daemon"),
        "set FileDescriptorStoreMax= in the unit higher: mounts that do not fit in end with the daemon",
    ));
    findings.push(Finding::that(
        matches!(of("Restart"), "always" | "on-failure" | "on-abnormal"),
        Grade::Warning,
        ABOUT,
        format!("{UNIT} has Restart={}", of("Restart")),
        "set Restart=on-failure in the unit: programs wait for the next daemon",
    ));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grades(shown: &str) -> Vec<Grade> {
        judge(&parse(shown)).iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn a_unit_is_judged_by_what_systemd_shows_of_it() {
        assert_eq!(grades("LoadState=not-found\nActiveState=inactive"), [Grade::Note]);
        let good = "LoadState=loaded\nActiveState=active\nSubState=running\nRestart=on-failure\n\
            FileDescriptorStoreMax=4096\nNFileDescriptorStore=3";
        assert_eq!(grades(good), [Grade::Ok; 3]);
        let bad =
            "LoadState=loaded\nActiveState=failed\nSubState=failed\nRestart=no\nFileDescriptorStoreMax=0";
        assert_eq!(grades(bad), [Grade::Error, Grade::Warning, Grade::Warning]);
        assert_eq!(grades(&good.replace("=3", "=4000"))[1], Grade::Warning);
    }
}
