//! The control socket under abuse: who sends nothing, too slowly, too much or too often keeps nobody else waiting.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{BOB, CARA, OLGA, ROOT, User, World};

/// What others notice of abuse, at most: nothing, on a machine that has much else to do.
const AT_ONCE: Duration = Duration::from_secs(5);

fn world(limits: &str) -> Option<World> {
    let mut world = World::quiet()?;
    world.configure(&format!("[limits]\n{limits}"));
    world.start();
    Some(world)
}

fn connect(world: &World, user: User) -> UnixStream {
    let socket = world.socket();
    let stream = user.run(move || UnixStream::connect(socket)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn request(body: &str) -> String {
    format!(
        "POST /v1/list HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The status and the body of the next answer on a connection.
fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), String::from_utf8(body).unwrap())
}

/// The one line of an error.
#[track_caller]
fn error(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

/// Sends byte after byte until the other end has had enough; tells its last words.
fn drip(stream: &mut UnixStream, bytes: &[u8]) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    stream.set_nonblocking(true).unwrap();
    let mut said = Vec::new();
    for byte in bytes.iter().cycle() {
        assert!(Instant::now() < deadline, "it was listened to all the time");
        let sent = stream.write_all(&[*byte]);
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                sent.unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn who_sends_nothing_or_a_byte_now_and_then_is_cut_off() {
    let Some(world) = world("seconds = 1") else { return };
    let mut silent = connect(&world, BOB);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "nobody has said anything");
    let mut head = connect(&world, BOB);
    drip(&mut head, b"x");
    let mut headers = connect(&world, BOB);
    headers.write_all(b"POST /v1/list HTTP/1.1\r\n").unwrap();
    drip(&mut headers, b"a: b\r\n");
    let mut body = connect(&world, BOB);
    body.write_all(b"POST /v1/list HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n")
        .unwrap();
    let said = drip(&mut body, b" ");
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("1 seconds"),
        "{said}"
    );
    let mut after_one = connect(&world, BOB);
    after_one.write_all(request("{}").as_bytes()).unwrap();
    assert_eq!(answer(&mut after_one), (200, "[]".into()));
    assert_eq!(after_one.read(&mut [0]).unwrap(), 0, "nothing comes after it");
}

#[test]
fn a_thousand_idle_connections_of_one_user_keep_nobody_else_out() {
    let Some(world) = World::new() else { return };
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 4096, 4096).unwrap();
    let socket = world.socket();
    let mut idle: Vec<_> = BOB.run(move || {
        let connections = (0..1000).map(|_| UnixStream::connect(&socket).unwrap());
        connections.collect()
    });
    let start = Instant::now();
    for user in [CARA, OLGA, ROOT] {
        world.ok(user, "list");
    }
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let told = world.refused(BOB, "list");
    assert!(told.contains("connections") || told.contains("hung up"), "{told}");
    // Those that were too many were told so, or nothing more.
    let last = idle.last_mut().unwrap();
    let (status, body) = answer(last);
    assert!(status == 503 && error(&body).contains("connections"), "{body}");
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0);
    drop(idle);
    let deadline = Instant::now() + AT_ONCE;
    while !world.lendfs(BOB, "list").status.success() {
        assert!(Instant::now() < deadline, "he is kept out for good");
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", world.pid())).unwrap();
    assert!(threads.count() < 100);
}

#[test]
fn a_flood_of_commands_is_held_up_and_nobody_else_s() {
    let Some(world) = world("commands-at-once = 20\ncommands-per-second = 1") else {
        return;
    };
    let ask = |user| {
        let mut stream = connect(&world, user);
        stream.write_all(request("{}").as_bytes()).unwrap();
        answer(&mut stream)
    };
    let flood: Vec<_> = (0..60).map(|_| ask(BOB)).collect();
    let count = |status| flood.iter().filter(|(said, _)| *said == status).count();
    assert!(count(200) >= 20 && count(429) >= 20, "{flood:?}");
    assert_eq!(count(200) + count(429), 60, "{flood:?}");
    let (_, refused) = flood.iter().find(|(status, _)| *status == 429).unwrap();
    assert!(error(refused).contains("commands-per-second"), "{refused}");
    assert_eq!(ask(CARA).0, 200);
    assert!((0..60).all(|_| ask(ROOT).0 == 200));
    // The command line waits for its turn.
    world.ok(BOB, "list");
}

#[test]
fn a_flood_at_full_speed_does_not_hold_up_others() {
    let Some(world) = World::new() else { return };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let mut stream = connect(&world, BOB);
                    for _ in 0..50 {
                        let sent = stream.write_all(request("{}").as_bytes());
                        if sent.is_err() || answer(&mut stream).0 != 200 {
                            break;
                        }
                    }
                }
            });
        }
        let start = Instant::now();
        for _ in 0..10 {
            world.ok(CARA, "list");
        }
        let took = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        assert!(took < 2 * AT_ONCE, "{took:?}");
    });
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let Some(world) = World::new() else { return };
    let mut large = connect(&world, BOB);
    large
        .write_all(b"POST /v1/list HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n")
        .unwrap();
    let (status, body) = answer(&mut large);
    assert_eq!(status, 413);
    assert!(error(&body).contains("larger"), "{body}");
    let mut chunks = connect(&world, BOB);
    chunks
        .write_all(b"POST /v1/list HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let sent = (0..1000)
        .take_while(|_| chunks.write_all(chunk.as_bytes()).is_ok())
        .count();
    assert!(sent < 1000, "all of it was taken");
    let (status, body) = answer(&mut chunks);
    assert!(status == 413 && error(&body).contains("larger"), "{body}");
    let many = "a: b\r\n".repeat(100);
    let long = format!("a: {}\r\n", "b".repeat(100_000));
    for headers in [many, long] {
        let mut stream = connect(&world, BOB);
        let _ = stream.write_all(format!("POST /v1/list HTTP/1.1\r\n{headers}\r\n").as_bytes());
        assert_eq!(answer(&mut stream).0, 431);
    }
    let mut nowhere = connect(&world, BOB);
    nowhere
        .write_all(b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    let (status, body) = answer(&mut nowhere);
    assert!(
        status == 404 && error(&body).contains("no such command"),
        "{body}"
    );
    world.ok(BOB, "list");
}

#[test]
fn one_account_has_so_many_mounts_and_root_any_number() {
    let Some(world) = world("mounts-of-one = 2") else {
        return;
    };
    let first = world.mount(BOB);
    world.mount(BOB);
    let third = world.fresh(BOB);
    let refused = world.refused(BOB, &format!("mount {}", third.display()));
    assert!(
        refused.contains("2 mounts") && refused.contains("mounts-of-one"),
        "{refused}"
    );
    world.mount(CARA);
    world.ok(ROOT, &format!("mount {} --user {}", third.display(), BOB.name));
    world.ok(BOB, &format!("umount {}", third.display()));
    world.ok(BOB, &format!("umount {}", first.display()));
    world.mount(BOB);
}
