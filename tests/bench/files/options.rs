//! The command line, as `scripts/bench` hands it on.

use std::path::PathBuf;

use clap::Parser;

use crate::columns::Column;

#[derive(Parser)]
#[command(disable_help_flag = true, name = "scripts/bench")]
pub(crate) struct Options {
    /// Names or patterns of rows.
    pub(crate) rows: Vec<String>,
    #[arg(long)]
    pub(crate) list: bool,
    #[arg(long)]
    pub(crate) quick: bool,
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    #[arg(long, value_delimiter = ',')]
    pub(crate) columns: Vec<Column>,
    #[arg(long)]
    pub(crate) requests: bool,
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long)]
    pub(crate) write: bool,
    #[arg(long)]
    pub(crate) no_write: bool,
    /// Where everything is made.
    #[arg(long, hide = true, default_value = ".")]
    pub(crate) scratch: PathBuf,
    /// What the names of the users begin with.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) users: String,
    /// What lies below.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) filesystem: String,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 7 }).max(1)
    }

    /// Whether a row was asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|pattern| matches(pattern, row))
    }

    pub(crate) fn wants_column(&self, column: Column) -> bool {
        self.columns.is_empty() || self.columns.contains(&column)
    }
}

/// Whether a pattern of a shell, of which `*` is known, fits.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).any(|skipped| left.get(skipped..).is_some_and(|left| matches(rest, left)))
        }),
    }
}
