//! Least privilege: what the daemon gives up before its first thread starts, so that who gets hold of one can do
//! little more with it than what the daemon itself does.

mod calls;
mod capabilities;

use std::io;

use nix::sys::prctl::set_no_new_privs;

pub use self::capabilities::KEPT as KEPT_CAPABILITIES;
use super::sys;

/// Gives up, for good and in all threads, the capabilities that are not kept, the right to gain any by running a
/// program, and the system calls that the daemon has no use for; those of mounting are kept by who `mounts` itself. To
/// be called while there is one thread: capabilities are a thread's own.
///
/// # Errors
/// Those of `capset(2)`, `prctl(2)` and `seccomp(2)`.
pub fn confine(mounts: bool) -> io::Result<()> {
    capabilities::give_up()?;
    set_no_new_privs()?;
    filter(mounts)
}

fn filter(mounts: bool) -> io::Result<()> {
    for calls::Filter { program, logs } in calls::filters(mounts)? {
        sys::confine::filter(&program, logs)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    use super::*;

    /// Names the deed to the process that does it.
    const DEED: &str = "LENDFS_TEST_DEED";

    /// Runs the test that calls it again, as a process of its own, in which it gets the deed to do.
    fn in_a_process_of_its_own(test: &str, deed: &str) -> ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(format!("backing::confine::tests::{test}"))
            .env(DEED, deed)
            .output()
            .unwrap()
            .status
    }

    fn deed() -> Option<String> {
        std::env::var(DEED).ok()
    }

    #[test]
    fn a_thread_that_runs_a_program_ends_the_daemon() {
        if deed().is_none() {
            let ended = in_a_process_of_its_own("a_thread_that_runs_a_program_ends_the_daemon", "run");
            assert_eq!(ended.signal(), Some(libc::SIGSYS), "{ended}");
            return;
        }
        let (tell, told) = std::sync::mpsc::channel::<()>();
        // It is there already when the process is confined.
        let thread = std::thread::spawn(move || {
            told.recv().unwrap();
            use std::os::unix::process::CommandExt;
            // Without a process in between that would be ended in its place.
            Command::new("/bin/true").exec()
        });
        set_no_new_privs().unwrap();
        filter(true).unwrap();
        tell.send(()).unwrap();
        panic!("it went on: {:?}", thread.join());
    }

    #[test]
    fn what_is_out_of_reach_is_refused_and_the_daemon_works_on() {
        if deed().is_none() {
            let test = "what_is_out_of_reach_is_refused_and_the_daemon_works_on";
            let ended = in_a_process_of_its_own(test, "work");
            assert!(ended.success(), "{ended}");
            return;
        }
        confine(false).unwrap();
        // What every program does ...
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("file"), "").unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        assert!(super::super::users::by_uid(0).unwrap().is_some());
        // ... and what none of ours does: the kernel seems not to have it.
        let refused = |done: io::Result<()>| done.unwrap_err().raw_os_error();
        let inet = std::net::UdpSocket::bind("127.0.0.1:0").map(drop);
        assert_eq!(refused(inet), Some(libc::ENOSYS));
        let priority =
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &nix::sched::CpuSet::new());
        assert_eq!(refused(priority.map_err(Into::into)), Some(libc::ENOSYS));
        assert_eq!(refused(std::env::set_current_dir("/")), Some(libc::ENOSYS));
        let unmounted = nix::mount::umount("/nowhere");
        assert_eq!(refused(unmounted.map_err(Into::into)), Some(libc::ENOSYS));
    }
}
