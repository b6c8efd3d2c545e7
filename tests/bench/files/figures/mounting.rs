//! How long it takes from the wish for a mount to its first answer.

use std::time::Instant;

use super::watcher::Watcher;
use super::{Figure, MOUNT};
use crate::Outcome;
use crate::columns::Place;
use crate::daemon::Daemon;
use crate::options::Options;

/// How much more often than other rows this one is done: it is quick.
const TIMES: usize = 3;

pub(super) fn measure(options: &Options, places: &mut [Place], daemon: &Daemon) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for place in places.iter_mut().filter(|place| place.is_mounted()) {
        let mut watcher = Watcher::start(&options.scratch, &place.user)?;
        let stat = format!("stat {}", place.work.display());
        // Without the start of the command line's program, which bindfs' column has and lendfs' has not.
        let mut first = |place: &mut Place, by_socket: bool| -> Outcome<f64> {
            place.unmount(daemon)?;
            let start = Instant::now();
            if by_socket {
                place.mount_by_socket(daemon)?;
            } else {
                place.mount(&options.scratch, daemon)?;
            }
            watcher.ask(&stat)?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        for by_socket in [true, false] {
            if by_socket && !place.column.is_lendfs() {
                continue;
            }
            let values = (0..options.rounds() * TIMES)
                .map(|_| first(place, by_socket))
                .collect::<Outcome<Vec<f64>>>()?;
            let how = if by_socket {
                "asked by socket"
            } else {
                "by command"
            };
            figures.push(Figure {
                row: MOUNT,
                what: format!("{}, {how}", place.column.name()),
                values,
                unit: "ms",
                aim: by_socket.then_some(5.0),
            });
        }
    }
    Ok(figures)
}
