//! Mounts of lendfs that no daemon serves any more.
//!
//! A daemon does not let anybody but the subject of a mount in, so it is asked as him; and by a process that can be
//! ended, for nobody may answer.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::backing::unescape_mountinfo as unescape;
use crate::control::answers::{Finding, Grade, Mount};
use crate::control::wire::quoted;

const ABOUT: &str = "mounts";
/// So many mounts are asked.
const ASKED: usize = 32;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A mount of lendfs, whoever serves it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lent {
    at: PathBuf,
    uid: u32,
    gid: u32,
}

/// What became of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Answers,
    Dead,
    Silent,
}

/// `served`: those of the daemon, as far as the caller is told.
pub(super) fn findings(served: &[Mount]) -> Vec<Finding> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let me = nix::unistd::geteuid();
    let others: Vec<_> = parse(&table)
        .into_iter()
        .filter(|mount| me.is_root() || mount.uid == me.as_raw())
        .filter(|mount| {
            let at = quoted(mount.at.as_os_str().as_bytes());
            !served.iter().any(|served| served.at == at)
        })
        .collect();
    let mut findings = Vec::new();
    for mount in others.iter().take(ASKED) {
        let at = quoted(mount.at.as_os_str().as_bytes());
        findings.extend(match ask(mount) {
            Answer::Answers => None,
            Answer::Dead => Some(Finding::new(
                Grade::Warning,
                ABOUT,
                format!("{at} is a mount whose daemon is gone"),
                format!("take it down: umount -l {at}"),
            )),
            Answer::Silent => Some(Finding::new(
                Grade::Warning,
                ABOUT,
                format!("{at} is a mount that does not answer"),
                "its daemon is stopped or about to be started again: it goes on with the next one",
            )),
        });
    }
    if others.len() > ASKED {
        findings.push(Finding::new(
            Grade::Note,
            ABOUT,
            format!(
                "{} more mounts of other daemons were not asked",
                others.len() - ASKED
            ),
            "findmnt -t fuse.lendfs lists them",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, "no mount was left by a daemon that is gone"));
    }
    findings
}

fn parse(table: &[u8]) -> Vec<Lent> {
    let lines = table.split(|&byte| byte == b'\n');
    let lent = lines.filter_map(|line| {
        let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        (*fields.get(dash + 1)? == b"fuse.lendfs").then_some(())?;
        let options = std::str::from_utf8(fields.get(dash + 3)?).ok()?;
        let option = |key: &str| {
            let mut options = options.split(',');
            options.find_map(|option| option.strip_prefix(key)?.parse().ok())
        };
        Some(Lent {
            at: unescape(fields.get(4)?),
            uid: option("user_id=")?,
            gid: option("group_id=")?,
        })
    });
    lent.collect()
}

/// Asks a mount for its attributes, as its subject.
fn ask(mount: &Lent) -> Answer {
    let mut asking = Command::new("stat");
    asking
        .arg("--file-system")
        .arg("--")
        .arg(&mount.at)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if nix::unistd::geteuid().is_root() {
        asking.uid(mount.uid).gid(mount.gid);
    }
    let Ok(mut asking) = asking.spawn() else {
        return Answer::Silent;
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = asking.try_wait() {
            let mut said = String::new();
            if let Some(mut errors) = asking.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut errors, &mut said);
            }
            let dead = !status.success() && said.contains("not connected");
            return if dead { Answer::Dead } else { Answer::Answers };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = asking.kill();
    let _ = asking.wait();
    Answer::Silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_mount_it_is_stands_in_the_table() {
        let table =
            b"30 1 0:40 / /home/bob/my\\040folders rw,nosuid - fuse.lendfs lendfs rw,user_id=7,group_id=8\n\
            31 1 0:41 / /mnt rw - fuse.sshfs lendfs rw,user_id=7,group_id=8\n\
            32 1 0:42 / /x rw - fuse.lendfs lendfs rw";
        let expected = Lent {
            at: "/home/bob/my folders".into(),
            uid: 7,
            gid: 8,
        };
        assert_eq!(parse(table), [expected]);
    }
}
