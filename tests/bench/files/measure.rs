//! Does all work, round by round and column by column, and keeps what it took.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Parser;

use crate::Outcome;
use crate::columns::{Column, Place};
use crate::daemon::Daemon;
use crate::figures::{self, Figure};
use crate::inputs;
use crate::options::{Options, matches};
use crate::report;
use crate::row::{Scale, Work};
use crate::worker;
use crate::works::works;

/// What was measured of a row in a column.
#[derive(Default)]
pub(crate) struct Cell {
    /// Seconds for an operation, a value for each round.
    pub(crate) seconds: Vec<f64>,
    /// Operations of all rounds.
    pub(crate) operations: u64,
    /// Requests to the daemon of all rounds, by their kind.
    pub(crate) requests: BTreeMap<String, u64>,
}

/// All cells, by the name of the row and the column.
pub(crate) type Cells = BTreeMap<(&'static str, Column), Cell>;

/// All that was measured.
pub(crate) struct Results {
    /// How many processes wanted to run when it began (`proc_loadavg(5)`), for what other ones take is not lendfs'.
    pub(crate) load: f64,
    pub(crate) processors: usize,
    pub(crate) cells: Cells,
    pub(crate) figures: Vec<Figure>,
}

/// The names and titles of all that can be measured.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = works()
        .flat_map(|work| work.rows)
        .map(|row| (row.name, row.title));
    rows.chain(figures::KINDS.iter().map(|kind| (kind.name, kind.title)))
}

pub(crate) fn main() -> Outcome<()> {
    let options = Options::parse();
    if options.list {
        for (name, title) in names() {
            println!("{name:<16}{title}");
        }
        return Ok(());
    }
    let unknown = |pattern: &&String| !names().any(|(name, _)| matches(pattern, name));
    if let Some(unknown) = options.rows.iter().find(unknown) {
        return Err(format!("there is no row {unknown}; --list tells the rows").into());
    }
    let scale = Scale::new(options.quick);
    let mut results = measure(&options, scale)?;
    results.figures.extend(figures::of_new_daemons(&options, scale)?);
    report::print(&options, scale, &results)
}

/// Whether a work is done in a column.
fn is_for(work: &Work, column: Column) -> bool {
    match column {
        Column::Readonly => work.reads_only,
        Column::Edit => work.edits,
        _ => true,
    }
}

fn measure(options: &Options, scale: Scale) -> Outcome<Results> {
    let scratch = options.scratch.as_path();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().parse()?;
    let wanted: Vec<(usize, &Work)> = works()
        .enumerate()
        .filter(|(_, work)| work.rows.iter().any(|row| options.wants(row.name)))
        .collect();
    let columns = Column::ALL
        .into_iter()
        .filter(|&column| options.wants_column(column));
    let mut daemon = Daemon::start(options, "main")?;
    let mut places = columns
        .map(|column| Place::make(column, scratch, &options.users, &daemon))
        .collect::<Outcome<Vec<_>>>()?;
    for place in &places {
        if place.column == Column::Rules {
            daemon.add_rules(place.source(), place.column.name(), &place.user)?;
        }
    }
    let needed: Vec<_> = wanted.iter().flat_map(|(_, work)| work.inputs).copied().collect();
    inputs::make(&needed, &places, scratch, scale)?;
    for place in &mut places {
        place.mount(scratch, &daemon)?;
    }
    let mut results = Results {
        load,
        processors: std::thread::available_parallelism()?.get(),
        cells: Cells::new(),
        figures: Vec::new(),
    };
    for (number, work) in wanted {
        eprintln!(
            "{} ...",
            work.rows
                .iter()
                .map(|row| row.name)
                .collect::<Vec<_>>()
                .join(", ")
        );
        for round in 0..options.rounds() {
            let count = places.len();
            // Each round begins with another column, so that none always comes after the same.
            for turn in 0..count {
                let place = &mut places[(round + turn) % count];
                if !is_for(work, place.column) {
                    continue;
                }
                if work.fresh {
                    place.unmount(&daemon)?;
                    place.mount(scratch, &daemon)?;
                }
                run_once(number, work, place, &daemon, options, scale, &mut results.cells)?;
            }
        }
    }
    results.figures = figures::of_places(options, &mut places, &daemon)?;
    for place in &mut places {
        place.unmount(&daemon)?;
    }
    daemon.end()?;
    Ok(results)
}

fn run_once(
    number: usize, work: &'static Work, place: &Place, daemon: &Daemon, options: &Options, scale: Scale,
    cells: &mut Cells,
) -> Outcome<()> {
    let counted = options.requests && place.column.is_lendfs();
    let earlier = std::cell::RefCell::new(Vec::new());
    let before = || {
        settle(&options.scratch)?;
        if counted {
            *earlier.borrow_mut() = daemon.requests()?;
        }
        Ok(())
    };
    let after = |took: worker::Took| {
        let Some(row) = work.rows.iter().find(|row| row.name == took.row) else {
            return Ok(());
        };
        let cell = cells.entry((row.name, place.column)).or_default();
        cell.seconds
            .push(took.time.as_secs_f64() / took.operations as f64);
        cell.operations += took.operations;
        if counted {
            // What is closed or forgotten is told a little later.
            std::thread::sleep(Duration::from_millis(50));
            let earlier: BTreeMap<String, u64> = earlier.take().into_iter().collect();
            for (opcode, count) in daemon.requests()? {
                let more = count.saturating_sub(*earlier.get(&opcode).unwrap_or(&0));
                if more > 0 {
                    *cell.requests.entry(opcode).or_default() += more;
                }
            }
        }
        Ok(())
    };
    worker::run(number, place, &options.scratch, scale, before, after)
}

/// Brings to the disk what earlier work left, so that nobody pays for another's.
fn settle(scratch: &Path) -> Outcome<()> {
    rustix::fs::syncfs(std::fs::File::open(scratch.join("backing"))?)?;
    Ok(())
}
