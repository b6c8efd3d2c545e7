//! The machine: kernel, device, limits, wakefulness, clock.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};

use crate::control::answers::{Finding, Grade};
use crate::daemon::service;
use crate::vfs::latency;

/// With fewer, large folders are slower and many users stand in each other's way.
const ENOUGH_FILES: u64 = 65_536;
/// Each mount is served by a thread or more.
const ENOUGH_TASKS: u64 = 4096;

/// What holds for any process.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![kernel(), device()];
    findings.extend(wakefulness());
    findings.extend(system_limits());
    findings
}

fn kernel() -> Finding {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    let grade = match version(&release) {
        version if version < (5, 12) => Grade::Error,
        version if version < (6, 16) => Grade::Note,
        _ => Grade::Ok,
    };
    let advice = match grade {
        Grade::Error => {
            "lendfs needs Linux 5.12 or later, for fsmount, openat2 and setuid bits that the disk clears"
        }
        _ => "Linux 6.16 or later keeps names and reads and writes past the daemon; before, lendfs is slower",
    };
    Finding::that(
        grade == Grade::Ok,
        grade,
        "kernel",
        format!("kernel {release}"),
        advice,
    )
}

/// The first two numbers of a release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    let mut number = || numbers.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    (number(), number())
}

fn device() -> Finding {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    Finding::that(
        opened.is_ok(),
        Grade::Error,
        "fuse",
        "/dev/fuse can be opened",
        "load the module: modprobe fuse",
    )
}

/// What keeps processors awake between requests.
fn wakefulness() -> Vec<Finding> {
    const ABOUT: &str = "latency";
    let mut findings = vec![Finding::that(
        std::fs::File::options().write(true).open(latency::DEVICE).is_ok(),
        Grade::Note,
        ABOUT,
        format!("{} can be held", latency::DEVICE),
        "let the daemon have the device (in a container: --device): small requests take twice as long without it",
    )];
    // Only guests that poll before they halt have it.
    if let Some(polling) = number("/sys/module/haltpoll/parameters/guest_halt_poll_ns") {
        findings.push(Finding::that(
            polling != 0,
            Grade::Note,
            ABOUT,
            format!("this virtual machine polls {polling} ns before it halts"),
            "single requests too are answered faster after: echo 200000 > /sys/module/haltpoll/parameters/guest_halt_poll_ns",
        ));
    }
    findings
}

/// What all processes share.
fn system_limits() -> Vec<Finding> {
    const ABOUT: &str = "limits";
    let mut findings = Vec::new();
    if let Some(most) = number("/proc/sys/fs/nr_open") {
        findings.push(Finding::that(
            most >= 1 << 20,
            Grade::Note,
            ABOUT,
            format!("a process may have up to {most} files open (fs.nr_open)"),
            "sysctl fs.nr_open=1048576",
        ));
    }
    let open = numbers("/proc/sys/fs/file-nr");
    if let [open, _, most] = open[..] {
        findings.push(used(
            ABOUT,
            "files of the whole machine are open (fs.file-max)",
            open,
            most,
            "sysctl fs.file-max",
        ));
    }
    let mounted = std::fs::read("/proc/self/mountinfo")
        .map(|table| table.iter().filter(|&&byte| byte == b'\n').count() as u64);
    if let (Some(most), Ok(mounted)) = (number("/proc/sys/fs/mount-max"), mounted) {
        findings.push(used(
            ABOUT,
            "mounts are up (fs.mount-max)",
            mounted,
            most,
            "sysctl fs.mount-max",
        ));
    }
    findings
}

/// What limits this process, which is the daemon.
pub(super) fn of_the_daemon() -> Vec<Finding> {
    const ABOUT: &str = "limits";
    let mut findings = Vec::new();
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
        let what = format!("at most {limit} open files, of which {open} are");
        findings.push(Finding::that(
            limit >= ENOUGH_FILES && open < limit / 10 * 9,
            Grade::Warning,
            ABOUT,
            what,
            "raise the limit: LimitNOFILE= in the unit, or ulimit -n",
        ));
    }
    if let Some((tasks, most)) = tasks() {
        findings.push(Finding::that(
            most >= ENOUGH_TASKS && tasks < most / 10 * 9,
            Grade::Warning,
            ABOUT,
            format!("{tasks} of at most {most} threads run in the daemon's control group"),
            "raise the limit: TasksMax= in the unit (each mount takes a thread at rest and up to eight under load)",
        ));
    }
    findings.push(if service::is_there() {
        Finding::ok(
            "service",
            "the daemon was started by a service manager, which it tells how it is",
        )
    } else {
        Finding::new(
            Grade::Note,
            "service",
            "the daemon was started by hand: nobody starts it again when it ends",
            "run it as lendfs.service",
        )
    });
    findings
}

/// How many threads run in the control group of this process, and how many may.
fn tasks() -> Option<(u64, u64)> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = Path::new("/sys/fs/cgroup").join(own);
    let of = |file: &str| number(group.join(file));
    Some((of("pids.current")?, of("pids.max")?))
}

fn used(about: &str, what: &str, used: u64, most: u64, advice: &str) -> Finding {
    Finding::that(
        used < most / 10 * 9,
        Grade::Warning,
        about,
        format!("{used} of at most {most} {what}"),
        &format!("raise it: {advice}"),
    )
}

/// `newest`: when the last change was written down, in milliseconds since 1970.
pub(super) fn clock(newest: i64) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let newest = Duration::from_millis(u64::try_from(newest).unwrap_or(0));
    judge_clock(now, newest)
}

/// A second or two are what time servers correct.
const SLACK: Duration = Duration::from_secs(5);

fn judge_clock(now: Duration, newest: Duration) -> Finding {
    let behind = newest.saturating_sub(now);
    let what = if behind > SLACK {
        format!(
            "the clock is {} s behind what was last written in the audit",
            behind.as_secs()
        )
    } else {
        "the clock goes forward".into()
    };
    Finding::that(
        behind <= SLACK,
        Grade::Warning,
        "clock",
        what,
        "set the clock (timedatectl): the audit is in the order in which things were done, its times are not; nothing that \
         decides depends on the time of day",
    )
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    numbers(path).first().copied()
}

fn numbers(path: impl AsRef<Path>) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(version("5.9-rc1"), (5, 9));
        assert_eq!(version("6"), (6, 0));
        assert_eq!(version(""), (0, 0));
    }

    #[test]
    fn a_clock_that_went_back_is_noticed() {
        let at = Duration::from_secs;
        assert!(judge_clock(at(100), at(90)).ok);
        assert!(judge_clock(at(100), at(103)).ok);
        let back = judge_clock(at(100), at(4000));
        assert_eq!(back.grade, Grade::Warning);
        assert!(back.what.contains("3900 s behind"), "{}", back.what);
    }
}
