//! What is no ratio to a bare directory, for there a mount, a daemon or a rule is not: milliseconds and megabytes.

mod many;
mod mounting;
mod policy;
mod watcher;

use std::path::Path;

use crate::Outcome;
use crate::columns::Place;
use crate::daemon::Daemon;
use crate::options::Options;
use crate::row::Scale;

pub(crate) use watcher::{WORD, main};

/// What can be asked for on the command line.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

const MOUNT: &str = "mount";
const MEMORY: &str = "memory";
const POLICY: &str = "policy-names";
const MANY: &str = "policy-mounts";

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: MOUNT,
        title: "mount to first stat",
    },
    Kind {
        name: MEMORY,
        title: "memory and threads, idle",
    },
    Kind {
        name: POLICY,
        title: "a change of policy where many names are cached",
    },
    Kind {
        name: MANY,
        title: "a change of policy that meets many mounts",
    },
];

/// A number that was measured.
pub(crate) struct Figure {
    /// The [`Kind`]'s name.
    pub(crate) row: &'static str,
    pub(crate) what: String,
    /// A value for each round.
    pub(crate) values: Vec<f64>,
    pub(crate) unit: &'static str,
    /// What it may be at most.
    pub(crate) aim: Option<f64>,
}

impl Figure {
    fn one(row: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            row,
            what: what.into(),
            values: vec![value],
            unit,
            aim: None,
        }
    }

    fn aim(self, aim: f64) -> Self {
        Self {
            aim: Some(aim),
            ..self
        }
    }
}

/// What can be measured with the daemon and the places of the table.
pub(crate) fn of_places(options: &Options, places: &mut [Place], daemon: &Daemon) -> Outcome<Vec<Figure>> {
    if !options.wants(MOUNT) {
        return Ok(Vec::new());
    }
    eprintln!("{MOUNT} ...");
    mounting::measure(options, places, daemon)
}

/// What needs a daemon that has done nothing yet.
pub(crate) fn of_new_daemons(options: &Options, scale: Scale) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    if options.wants(POLICY) || options.wants(MEMORY) {
        eprintln!("{POLICY} ...");
        figures.extend(policy::measure(options, scale)?);
    }
    if options.wants(MEMORY) || options.wants(MANY) {
        eprintln!("{MEMORY}, {MANY} ...");
        figures.extend(many::measure(options, scale)?);
    }
    figures.retain(|figure| options.wants(figure.row));
    Ok(figures)
}

/// What a process has for itself of memory, in MB (`proc_pid_smaps(5)`).
fn memory(pid: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup"))?;
    Ok(number_after(&text, "Pss:")? / 1000.0)
}

fn threads(pid: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    number_after(&text, "Threads:")
}

fn number_after(text: &str, key: &str) -> Outcome<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.ok_or_else(|| format!("no {key}"))?.parse()?)
}
