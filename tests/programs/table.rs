//! The table in README.md.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};

use crate::row::Row;

/// A row's cells.
type Cells = Vec<String>;

const HEAD: &str = "| program |";
const WRITE: &str = "LENDFS_WRITE_TABLE";

/// Whether the table is to be written anew.
pub fn is_written() -> bool {
    std::env::var_os(WRITE).is_some()
}

/// The cells of each row as README.md has them.
pub fn read() -> BTreeMap<String, Cells> {
    lines(&std::fs::read_to_string(path()).unwrap())
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next().unwrap_or_default().to_owned();
            (name, cells.map(str::to_owned).collect())
        })
        .collect()
}

/// Writes rows into README.md, all in the order of the rows of this test.
pub fn write(new: &[(&str, Cells)]) {
    // Tests of other rows write at the same time.
    let _alone = Flock::lock(File::open(path()).unwrap(), FlockArg::LockExclusive).unwrap();
    let text = std::fs::read_to_string(path()).unwrap();
    let mut cells = read();
    cells.extend(
        new.iter()
            .map(|(name, cells)| ((*name).to_owned(), cells.clone())),
    );
    let rows = crate::rows();
    let table = rows.iter().filter_map(|row| {
        let cells = cells.get(row.name)?;
        Some(format!("| {} | {} |", row.name, cells.join(" | ")))
    });
    let mut written: Vec<_> = before(&text).map(str::to_owned).collect();
    written.extend(table);
    let after = before(&text).count() + lines(&text).count();
    written.extend(text.lines().skip(after).map(str::to_owned));
    std::fs::write(path(), written.join("\n") + "\n").unwrap();
}

/// Compares the names of the rows.
pub fn has_exactly(rows: &[Row]) {
    let text = std::fs::read_to_string(path()).unwrap();
    let name = |line: &str| line.split('|').nth(1).unwrap_or_default().trim().to_owned();
    let names: Vec<_> = lines(&text).map(name).collect();
    let expected: Vec<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names, expected, "write it anew with {WRITE}=1");
}

/// All up to the first row.
fn before(text: &str) -> impl Iterator<Item = &str> {
    let head = text
        .lines()
        .position(|line| line.starts_with(HEAD))
        .expect("README.md has no table of programs");
    text.lines().take(head + 2)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .skip(before(text).count())
        .take_while(|line| line.starts_with('|'))
}

fn path() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/README.md").into()
}
