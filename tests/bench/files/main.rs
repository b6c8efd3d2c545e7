//! What work in a mounted folder costs, next to the bare directory and bindfs. Run by `scripts/bench`, which makes the
//! file system, the users and the tools; figures only, no judgement.
//!
//! - [`row`]: what a row is; [`works`]: the rows, and the work that is timed for them
//! - [`worker`]: the process that does the work as a normal user, and the one that waits for it
//! - [`figures`]: what has no bare directory to compare with
//! - [`columns`]: where the work is done; [`daemon`], [`inputs`]: what must be there before
//! - [`statistics`], [`report`], [`results`]: medians, the table, the page of the day

#![allow(missing_docs, reason = "a bench has no callers")]

mod columns;
mod daemon;
mod figures;
mod inputs;
mod measure;
mod options;
mod report;
mod results;
mod row;
mod statistics;
mod worker;
mod works;

use std::process::ExitCode;

/// What went wrong, for people.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == worker::WORD => worker::main(rest),
        Some((first, _)) if first == figures::WORD => figures::main(),
        _ => measure::main(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
