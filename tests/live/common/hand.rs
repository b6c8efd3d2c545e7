//! A process of a user's that makes system calls as it is told: memory maps and what one may die of.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::users::User;

const PROGRAM: &str = include_str!("hand.py");

/// The process. Ends when dropped.
pub struct Hand {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Hand {
    pub fn new(user: User) -> Self {
        let mut child = user
            .command("python3")
            .args(["-I", "-S", "-c", PROGRAM])
            // A user may not reach what root has on its path.
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            orders,
            answers,
        }
    }

    /// Runs a line of Python: `ok` or its value, the name of an errno, or that of the signal that it died of.
    pub fn does(&mut self, line: &str) -> String {
        self.begin(line);
        self.end()
    }

    /// Likewise; it has to be `ok`.
    #[track_caller]
    pub fn must(&mut self, line: &str) {
        assert_eq!(self.does(line), "ok", "{line}");
    }

    /// Tells what to do, without waiting for the [`Hand::end`].
    pub fn begin(&mut self, line: &str) {
        // Who has died answers at the end.
        let _ = writeln!(self.orders.as_mut().unwrap(), "{line}");
    }

    /// Waits for the answer.
    pub fn end(&mut self) -> String {
        let mut answer = String::new();
        if self.answers.read_line(&mut answer).unwrap() > 0 {
            return answer.trim_end().to_owned();
        }
        let status = self.child.wait().unwrap();
        match status.signal().map(nix::sys::signal::Signal::try_from) {
            Some(Ok(signal)) => signal.as_str().to_owned(),
            _ => format!("{status}"),
        }
    }

    /// Whether it can be told more.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
