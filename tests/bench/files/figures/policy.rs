//! A change of policy in a mount that has looked at many names.

use std::time::{Duration, Instant};

use super::watcher::Watcher;
use super::{Figure, MEMORY, POLICY, memory};
use crate::Outcome;
use crate::columns::{Column, Place, WORK};
use crate::daemon::Daemon;
use crate::inputs::fill;
use crate::options::Options;
use crate::row::Scale;

/// How many of the names are looked at after a change, each in another directory.
const LOOKED_AT: usize = 100;

/// The longest that is waited for an open file to be shown as it is now.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn measure(options: &Options, scale: Scale) -> Outcome<Vec<Figure>> {
    let scratch = options.scratch.as_path();
    let daemon = Daemon::start(options, "policy")?;
    let mut place = Place::make(Column::Lendfs, scratch, &options.users, &daemon)?;
    fill(&place.backing, scale.names, |_| Vec::new())?;
    place.mount(scratch, &daemon)?;
    let mut watcher = Watcher::start(scratch, &place.user)?;
    let work = place.work.display();
    let pid = daemon.pid().ok_or("the daemon has ended")?;
    let before = memory(pid)?;
    let known = watcher.ask(&format!("walk {work}"))?;
    let each = (memory(pid)? - before) * 1e6 / known as f64;
    watcher.ask(&format!("hold {work}/d000/f01"))?;
    let (mut calls, mut stale, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds() * 2 {
        let lowers = round % 2 == 0;
        let expected = if lowers { 0 } else { 1 };
        let start = Instant::now();
        if lowers {
            daemon.permit(&place.folder(), WORK, &place.user, "view")?;
        } else {
            daemon.unpermit(&place.folder(), WORK, &place.user)?;
        }
        calls.push(start.elapsed().as_secs_f64() * 1e3);
        let writable = watcher.ask(&format!("writable {LOOKED_AT} {work}/d{{}}/f00"))?;
        stale.push(writable.abs_diff(expected * LOOKED_AT as u64) as f64);
        let start = Instant::now();
        while watcher.ask("held")? != expected && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        held.push(start.elapsed().as_secs_f64() * 1e3);
        // All names are known again when the next change comes.
        watcher.ask(&format!("walk {work}"))?;
    }
    drop(watcher);
    place.unmount(&daemon)?;
    let figure = |what: String, values, unit, aim| Figure {
        row: POLICY,
        what,
        values,
        unit,
        aim: Some(aim),
    };
    Ok(vec![
        Figure::one(
            MEMORY,
            format!("a file known to a mount, of {known}"),
            each,
            "bytes",
        )
        .aim(300.0),
        figure(
            format!("permit, {} names cached: the call", scale.names),
            calls,
            "ms",
            50.0,
        ),
        figure(
            format!("names of {LOOKED_AT} whose next stat told what held before"),
            stale,
            "names",
            0.0,
        ),
        figure(
            "until fstat of a file held open follows".into(),
            held,
            "ms",
            1_000.0,
        ),
    ])
}
