//! How answers look.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::CliError;
use crate::control::answers::Said;

/// Prints an answer as JSON, or as people read it.
pub(super) fn show<A: Serialize>(
    answer: &A, json: bool, people: impl FnOnce(&A) -> String,
) -> Result<(), CliError> {
    let text = if json {
        serde_json::to_string_pretty(answer).map_err(|error| CliError::Other(error.to_string()))? + "\n"
    } else {
        people(answer)
    };
    // A closed pipe is the reader's word that he has enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// Prints what was done; warnings go to stderr.
pub(super) fn said(answer: &Said, json: bool) -> Result<(), CliError> {
    if !json {
        for warning in &answer.warnings {
            eprintln!("lendfs: note: {}", line(warning));
        }
    }
    show(answer, json, |answer| format!("{}\n", answer.done))
}

/// A text as one line that a terminal shows and does not obey.
pub(super) fn line(text: &str) -> String {
    let words = text.split('\n').map(|part| {
        let safe = part.chars().map(|char| match char {
            char if char.is_control() => char.escape_debug().to_string(),
            char => char.into(),
        });
        safe.collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether stdout is a terminal that shows colours to someone who wants them (<https://no-color.org>).
pub(super) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

/// Lines up columns; the first row is the heading. Nothing at all becomes `empty`.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>], empty: &str) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let heading: Vec<String> = heading.iter().map(|&word| word.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heading).chain(rows).collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            all.iter()
                .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
                .max()
                .unwrap_or(0)
        })
        .collect();
    all.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys() {
        assert_eq!(line("one\ntwo \u{fc}"), "one two \u{fc}");
        assert_eq!(line("\x1b[31m\u{9b}2J\x07"), r"\u{1b}[31m\u{9b}2J\u{7}");
    }

    #[test]
    fn columns_are_lined_up() {
        let rows = [vec!["a".into(), "long".into()], vec!["longer".into(), "b".into()]];
        assert_eq!(
            table(&["X", "Y"], &rows, "none"),
            "X       Y\na       long\nlonger  b\n"
        );
        assert_eq!(table(&["X"], &[], "none"), "none\n");
    }
}
