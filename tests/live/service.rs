//! A daemon that a service manager starts: it is given its socket, and says when it is ready and that it lives.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{BOB, OLGA, World, word};
use crate::threads;

/// How often a daemon has to say that it lives, in microseconds.
const OFTEN: &str = "400000";

/// Listens at a path, hands that on as descriptor 3, and becomes the daemon: the rest of systemd is not needed.
const MANAGER: &str = r#"
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="control")
os.execvp(sys.argv[2], sys.argv[2:])
"#;

struct Managed {
    daemon: Child,
    notified: UnixDatagram,
}

impl Managed {
    /// What the daemon says next, without what `but` matches; nothing if it keeps silent for so long.
    fn hears(&self, but: &str, patience: Duration) -> Option<String> {
        self.notified.set_read_timeout(Some(patience)).unwrap();
        loop {
            let mut text = [0; 256];
            match self.notified.recv(&mut text) {
                Ok(length) => {
                    let text = String::from_utf8(text[..length].to_vec()).unwrap();
                    if text != but {
                        return Some(text);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemon.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn managed(world: &World, watchdog: &str) -> Managed {
    let notify = world.dir.join("notify");
    let notified = UnixDatagram::bind(&notify).unwrap();
    let daemon = world.daemon_command();
    let mut command = Command::new("python3");
    command
        .args(["-c", MANAGER])
        .arg(world.socket())
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .env("NOTIFY_SOCKET", &notify)
        // It keeps nothing, so nothing is heard of that.
        .env("FDSTORE", "0")
        .env("WATCHDOG_USEC", watchdog)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Managed {
        daemon: command.spawn().unwrap(),
        notified,
    }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_manager_gives_the_socket_and_is_told_when_the_daemon_is_ready_and_when_it_stops() {
    let Some(world) = World::quiet() else { return };
    let mut managed = managed(&world, "0");
    assert_eq!(managed.hears("", SOON).as_deref(), Some("READY=1"));
    world.mount(BOB);
    managed.signal(Signal::SIGTERM);
    assert_eq!(managed.hears("", SOON).as_deref(), Some("STOPPING=1"));
    assert!(managed.daemon.wait().unwrap().success());
    // It is not the daemon's to remove.
    assert!(world.socket().metadata().unwrap().file_type().is_socket());
}

#[test]
fn a_watchdog_is_told_that_the_daemon_lives_as_long_as_it_does() {
    let Some(world) = World::quiet() else { return };
    let managed = managed(&world, OFTEN);
    assert_eq!(managed.hears("WATCHDOG=1", SOON).as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(managed.hears("", SOON).as_deref(), Some("WATCHDOG=1"));
    }
    managed.signal(Signal::SIGSTOP);
    // What it said before it stopped is still to be read.
    while managed.hears("", Duration::from_millis(400)).is_some() {}
    managed.signal(Signal::SIGCONT);
    assert_eq!(managed.hears("", SOON).as_deref(), Some("WATCHDOG=1"));
}

#[test]
fn a_daemon_lives_while_a_disk_hangs() {
    let Some(world) = World::quiet() else { return };
    let managed = managed(&world, OFTEN);
    assert_eq!(managed.hears("WATCHDOG=1", SOON).as_deref(), Some("READY=1"));
    let disk = threads::disk(&world);
    let lent = disk.join("lent");
    OLGA.directory(&lent);
    // More than there are workers, so that requests wait for one; in one directory they would wait for each other.
    for number in 0..12 {
        OLGA.directory(&lent.join(number.to_string()));
    }
    world.ok(OLGA, &format!("create tests --path {}", lent.display()));
    let at = world.mount(OLGA).join("tests");
    let hung: Vec<_> = {
        let _frozen = threads::Frozen::new(&disk);
        let hung = (0..12).map(|number| {
            let new = at.join(number.to_string()).join("new");
            std::thread::spawn(move || OLGA.run(|| word(std::fs::create_dir(new))))
        });
        let hung = hung.collect();
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            assert_eq!(managed.hears("", SOON).as_deref(), Some("WATCHDOG=1"));
        }
        hung
    };
    for client in hung {
        assert_eq!(client.join().unwrap(), "ok");
    }
}
