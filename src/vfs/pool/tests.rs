//! The pool on a device that is a socket, with the test as the kernel, and on a real one.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair};
use nix::sys::time::TimeVal;

use super::{Pacing, Pool, Seat};
use crate::backing::{FuseMountOptions, Mounted, mount_fuse};
use crate::vfs::mount::serve;
use crate::vfs::tests::bench::Bench;

const FUSE_GETATTR: u32 = 3;
/// Unknown to fuser, which answers it without asking anyone.
const FUSE_STATX: u32 = 52;

struct Kernel {
    socket: OwnedFd,
    pool: Arc<Pool>,
    _pacing: Pacing,
    _bench: Bench,
}

impl Kernel {
    fn new() -> Self {
        let bench = Bench::new();
        let pacing = Pacing::start();
        let (socket, device) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(20, 0)).unwrap();
        Self {
            socket,
            pool: Pool::new(&bench.filesystem, device, pacing.pacer()),
            _pacing: pacing,
            _bench: bench,
        }
    }

    /// Asks for the attributes of the top directory, every third time in a way that fuser does not know.
    fn ask(&self, unique: u64) {
        let opcode = if unique % 3 == 2 { FUSE_STATX } else { FUSE_GETATTR };
        let mut message = [0_u8; 56];
        message[..4].copy_from_slice(&56_u32.to_ne_bytes());
        message[4..8].copy_from_slice(&opcode.to_ne_bytes());
        message[8..16].copy_from_slice(&unique.to_ne_bytes());
        message[16..24].copy_from_slice(&1_u64.to_ne_bytes());
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
    }

    /// The request that was answered, and rightly.
    fn answered(&self) -> u64 {
        let mut message = [0; 512];
        let length = recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty()).expect("an answer");
        let error = i32::from_ne_bytes(message[4..8].try_into().unwrap());
        let unique = u64::from_ne_bytes(message[8..16].try_into().unwrap());
        // struct fuse_out_header, and fuse_attr_out.
        let expected = if unique % 3 == 2 {
            (16, -libc::ENOSYS)
        } else {
            (16 + 104, 0)
        };
        assert_eq!((length, error), expected, "{unique}");
        unique
    }

    /// Waits until so many are there; one that serves something leaves only when it is done.
    fn wait_for(&self, workers: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.pool.workers() != workers || self.is_starting() {
            assert!(Instant::now() < deadline, "{} workers", self.pool.workers());
            self.shrink(self.pool.workers().saturating_sub(workers));
            sleep(Duration::from_millis(1));
        }
    }

    fn is_starting(&self) -> bool {
        let seats = self.pool.seats.lock();
        let mut present = seats.iter().filter_map(Weak::upgrade);
        present.any(|seat| seat.state() == Seat::NEW)
    }

    fn shrink(&self, by: usize) {
        self.pool.shrink(by);
    }
}

#[test]
fn workers_come_and_sleeping_ones_go() {
    let kernel = Kernel::new();
    for _ in 0..3 {
        kernel.pool.grow();
    }
    kernel.wait_for(3);
    kernel.ask(7);
    assert_eq!(kernel.answered(), 7);
    kernel.wait_for(1);
    kernel.ask(8);
    assert_eq!(kernel.answered(), 8);
    kernel.wait_for(0);
    // Nobody is there, and the request waits for whoever comes.
    kernel.ask(9);
    kernel.pool.grow();
    assert_eq!(kernel.answered(), 9);
}

/// fuser answers them without a word to the adapter, so nobody can put the device back before.
#[test]
fn unknown_requests_are_answered_while_workers_come_and_go() {
    let kernel = Kernel::new();
    kernel.pool.grow();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = AtEnd(&done);
        scope.spawn(|| churn(&kernel.pool, &done));
        for unique in (0..20_000).map(|number| number * 3 + 2) {
            kernel.ask(unique);
            assert_eq!(kernel.answered(), unique);
        }
    });
}

#[test]
fn one_that_owes_an_answer_stays() {
    let kernel = Kernel::new();
    kernel.pool.grow();
    kernel.wait_for(1);
    let seat = kernel.pool.seats.lock()[0].upgrade().unwrap();
    let owed = seat.owe();
    for _ in 0..20 {
        kernel.shrink(1);
        assert_eq!(kernel.pool.workers(), 1);
        sleep(Duration::from_millis(1));
    }
    kernel.ask(1);
    assert_eq!(kernel.answered(), 1);
    drop(owed);
    kernel.wait_for(0);
}

/// Lets workers come and go until `done`; there were many of them.
fn churn(pool: &Arc<Pool>, done: &AtomicBool) {
    let mut left = 0;
    for round in 0_u64.. {
        if done.load(Ordering::Relaxed) {
            assert!(left > 100, "only {left} workers left in {round} rounds");
            return;
        }
        let workers = pool.workers();
        if workers < 4 {
            pool.grow();
        }
        pool.shrink(usize::try_from(round % 4).unwrap());
        pool.linger(round % 3 == 0);
        left += workers.saturating_sub(pool.workers());
        sleep(Duration::from_micros(round * 37 % 1500));
    }
}

/// Ends [`churn`] when dropped.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_system_call_is_lost_while_workers_come_and_go() {
    const CLIENTS: u32 = 4;
    const ROUNDS: u32 = 2_000;
    const PATIENCE: Duration = Duration::from_secs(100);
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        let demanded = std::env::var_os("LENDFS_TEST_MOUNTS").is_some_and(|value| value == "require");
        assert!(
            !demanded,
            "LENDFS_TEST_MOUNTS=require, but this is not root with /dev/fuse"
        );
        println!("SKIP: needs root and /dev/fuse");
        return;
    }
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let options = FuseMountOptions {
        uid: 0,
        gid: 0,
        allow_other: true,
        default_permissions: false,
        read_only: false,
    };
    let at = File::open(directory.path()).unwrap();
    let (device, mounted) = mount_fuse(at.as_fd(), &options).unwrap();
    let mounted = Taken(mounted);
    let server = serve(&bench.filesystem, device, &bench.shared).unwrap();
    let pool = bench.shared.pacing.pacer().known.lock()[0].upgrade().unwrap();
    let done = AtomicBool::new(false);
    let inside = directory.path().join("tests");
    let (finished, unfinished) = channel::<()>();
    std::thread::scope(|scope| {
        let _end = AtEnd(&done);
        scope.spawn(|| churn(&pool, &done));
        let path = directory.path();
        scope.spawn(move || {
            // A process cannot be killed that waits for an answer of its own.
            if unfinished.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = umount2(path, MntFlags::MNT_FORCE);
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (one, other) = (
                    inside.join(format!("{client}")),
                    inside.join(format!("{client}-")),
                );
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        std::fs::create_dir(&one).unwrap();
                        std::fs::rename(&one, &other).unwrap();
                        assert!(std::fs::metadata(&other).unwrap().is_dir(), "round {round}");
                        std::fs::remove_dir(&other).unwrap();
                        let gone = std::fs::metadata(&one).unwrap_err();
                        assert_eq!(gone.kind(), std::io::ErrorKind::NotFound, "round {round}");
                    }
                })
            })
            .collect();
        let failed = clients
            .into_iter()
            .filter_map(|client| client.join().err())
            .count();
        drop(finished);
        assert_eq!(failed, 0);
    });
    drop((pool, mounted));
    server.join().unwrap().unwrap();
}

/// Unmounts when dropped.
struct Taken(Mounted);

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = self.0.unmount(true);
    }
}

#[test]
fn no_request_is_lost_while_workers_come_and_go() {
    const REQUESTS: u64 = 100_000;
    const AT_ONCE: u64 = 32;
    let kernel = Kernel::new();
    kernel.pool.grow();
    let done = AtomicBool::new(false);
    let mut answered = vec![false; usize::try_from(REQUESTS).unwrap()];
    std::thread::scope(|scope| {
        let (kernel, done) = (&kernel, &done);
        let _end = AtEnd(done);
        scope.spawn(move || churn(&kernel.pool, done));
        for unique in 0..AT_ONCE {
            kernel.ask(unique);
        }
        for next in AT_ONCE..REQUESTS + AT_ONCE {
            let unique = usize::try_from(kernel.answered()).unwrap();
            assert!(!answered[unique], "{unique} was answered twice");
            answered[unique] = true;
            if next < REQUESTS {
                kernel.ask(next);
            }
        }
    });
    assert!(answered.iter().all(|&answered| answered));
}
