//! One daemon with one mount and with many: memory, threads, and how soon a change of policy is everywhere.

use std::time::{Duration, Instant};

use super::watcher::Watcher;
use super::{Figure, MANY, MEMORY, memory, threads};
use crate::Outcome;
use crate::columns::{Column, Place, WORK, bindfs};
use crate::daemon::Daemon;
use crate::options::Options;
use crate::row::Scale;

/// How long nothing happens before memory and threads are looked at.
const REST: Duration = Duration::from_secs(3);

pub(super) fn measure(options: &Options, scale: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    let scratch = options.scratch.as_path();
    let daemon = Daemon::start(options, "many")?;
    let place = Place::make(Column::Lendfs, scratch, &options.users, &daemon)?;
    std::fs::write(place.backing.join("file"), "content\n")?;
    let at = |number: usize| scratch.join(format!("at/many/{number:03}"));
    for number in 0..scale.mounts {
        place.user.directory(&at(number))?;
    }
    if options.wants(MEMORY) {
        figures.push(of_bindfs(options, &place)?);
    }
    let pid = daemon.pid().ok_or("the daemon has ended")?;
    let mut watcher = Watcher::start(scratch, &place.user)?;
    // The pattern's three digits are enough, for the numbers begin at 0.
    let pattern = format!("{}/at/many/{{}}/lendfs/{WORK}/file", scratch.display());
    daemon.mount_by_socket(&place.user, &at(0), false)?;
    watcher.ask(&format!("writable 1 {pattern}"))?;
    std::thread::sleep(REST);
    let with_one = memory(pid)?;
    figures.push(Figure::one(MEMORY, "lendfs, one mount", with_one, "MB"));
    figures.push(Figure::one(MEMORY, "lendfs, one mount", threads(pid)?, "threads"));
    let start = Instant::now();
    for number in 1..scale.mounts {
        daemon.mount_by_socket(&place.user, &at(number), false)?;
    }
    let took = start.elapsed().as_secs_f64() * 1e3 / (scale.mounts - 1) as f64;
    let seen = format!("writable {} {pattern}", scale.mounts);
    watcher.ask(&seen)?;
    std::thread::sleep(REST);
    let with_all = memory(pid)?;
    let each = (with_all - with_one) / (scale.mounts - 1) as f64;
    let many = format!("lendfs, {} mounts", scale.mounts);
    figures.push(Figure::one(MEMORY, &many, with_all, "MB").aim(100.0));
    figures.push(Figure::one(MEMORY, &many, threads(pid)?, "threads").aim(2_100.0));
    figures.push(Figure::one(MEMORY, "lendfs, a mount beyond the first", each, "MB").aim(0.1));
    figures.push(Figure::one(
        MEMORY,
        format!("{many}: to mount one more"),
        took,
        "ms",
    ));
    if options.wants(MANY) {
        figures.extend(changes(options, scale, &daemon, &place, &mut watcher, &seen)?);
    }
    Ok(figures)
}

fn of_bindfs(options: &Options, place: &Place) -> Outcome<Figure> {
    let at = options.scratch.join("at/many-bindfs");
    std::fs::create_dir_all(&at)?;
    let mut bindfs = bindfs(&options.scratch, place.source(), &at)?;
    std::fs::metadata(at.join(WORK))?;
    std::thread::sleep(REST);
    let used = memory(bindfs.id());
    nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH)?;
    bindfs.wait()?;
    Ok(Figure::one(MEMORY, "bindfs", used?, "MB"))
}

/// Lowers what holds for the file that all mounts have looked at, and takes it back.
fn changes(
    options: &Options, scale: Scale, daemon: &Daemon, place: &Place, watcher: &mut Watcher, seen: &str,
) -> Outcome<Vec<Figure>> {
    let (mut calls, mut everywhere, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds() * 2 {
        let lowers = round % 2 == 0;
        let expected = if lowers { 0 } else { scale.mounts as u64 };
        let start = Instant::now();
        if lowers {
            daemon.permit(&place.folder(), WORK, &place.user, "view")?;
        } else {
            daemon.unpermit(&place.folder(), WORK, &place.user)?;
        }
        calls.push(start.elapsed().as_secs_f64() * 1e3);
        let mut writable = watcher.ask(seen)?;
        stale.push(writable.abs_diff(expected) as f64);
        while writable != expected && start.elapsed() < Duration::from_secs(10) {
            writable = watcher.ask(seen)?;
        }
        everywhere.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let many = scale.mounts;
    let figure = |what: String, values, unit, aim| Figure {
        row: MANY,
        what,
        values,
        unit,
        aim: Some(aim),
    };
    Ok(vec![
        figure(format!("permit, {many} mounts: the call"), calls, "ms", 200.0),
        figure(
            format!("permit, {many} mounts: until a stat in each of them has told it"),
            everywhere,
            "ms",
            200.0,
        ),
        figure(
            "mounts whose next stat told what held before".into(),
            stale,
            "mounts",
            0.0,
        ),
    ])
}
