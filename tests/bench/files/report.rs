//! The table, and the same as data.

use serde_json::{Value, json};

use crate::Outcome;
use crate::columns::Column;
use crate::measure::{Cell, Cells};
use crate::options::Options;
use crate::row::{Row, Scale};
use crate::statistics::{median, spread};
use crate::works::works;

pub(crate) fn print(options: &Options, scale: Scale, cells: &Cells) -> Outcome<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(&data(options, scale, cells))?);
        return Ok(());
    }
    print!("{}", table(options, cells));
    if options.requests {
        print!("\n{}", requests(options, cells));
    }
    Ok(())
}

fn rows(options: &Options) -> impl Iterator<Item = &'static Row> {
    works()
        .flat_map(|work| work.rows)
        .filter(|row| options.wants(row.name))
}

/// How many times as long as the bare directory's each round took.
fn ratios(row: &Row, column: Column, cells: &Cells) -> Vec<f64> {
    let (Some(bare), Some(cell)) = (
        cells.get(&(row.name, Column::Bare)),
        cells.get(&(row.name, column)),
    ) else {
        return Vec::new();
    };
    // Round by round: what the machine did meanwhile met both.
    cell.seconds
        .iter()
        .zip(&bare.seconds)
        .map(|(cell, bare)| cell / bare)
        .collect()
}

fn table(options: &Options, cells: &Cells) -> String {
    let columns: Vec<Column> = Column::ALL
        .into_iter()
        .filter(|&column| options.wants_column(column))
        .collect();
    let mut lines = vec![vec![String::new(); 2]];
    lines[0].extend(columns.iter().map(|column| column.name().to_owned()));
    lines[0].push("aim".into());
    for row in rows(options) {
        let mut line = vec![row.name.to_owned(), row.title.to_owned()];
        line.extend(columns.iter().map(|&column| text(row, column, cells)));
        line.push(aim(row));
        lines.push(line);
    }
    align(&lines)
}

fn text(row: &Row, column: Column, cells: &Cells) -> String {
    let Some(cell) = cells.get(&(row.name, column)) else {
        return "-".into();
    };
    let ratios = ratios(row, column, cells);
    if column == Column::Bare || ratios.is_empty() {
        return format!("{}/{}", time(median(&cell.seconds)), row.per);
    }
    format!("{} ±{:.0}%", number(median(&ratios)), spread(&ratios) * 100.0)
}

fn aim(row: &Row) -> String {
    match (row.aim, row.aim_read_only) {
        (Some(aim), Some(read_only)) => format!("{}; {} readonly", number(aim), number(read_only)),
        (Some(aim), None) => number(aim),
        _ => String::new(),
    }
}

fn number(ratio: f64) -> String {
    if ratio < 9.95 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.1}")
    }
}

/// Seconds in the unit that suits them.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    if value < 10.0 {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

fn align(lines: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Requests for an operation, of each kind that there were.
fn requests(options: &Options, cells: &Cells) -> String {
    let mut lines = String::from("requests to the daemon for one operation\n");
    for row in rows(options) {
        for column in Column::ALL.into_iter().filter(|column| column.is_lendfs()) {
            let Some(cell) = cells.get(&(row.name, column)) else {
                continue;
            };
            let kinds: Vec<String> = each(cell)
                .map(|(opcode, count)| format!("{opcode} {count:.3}"))
                .collect();
            lines.push_str(&format!(
                "{:<16}{:<10}{}\n",
                row.name,
                column.name(),
                kinds.join(", ")
            ));
        }
    }
    lines
}

fn each(cell: &Cell) -> impl Iterator<Item = (&String, f64)> {
    let mut kinds: Vec<_> = cell
        .requests
        .iter()
        .map(|(opcode, &count)| (opcode, count as f64 / cell.operations as f64))
        .collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    kinds.into_iter()
}

fn data(options: &Options, scale: Scale, cells: &Cells) -> Value {
    let rows: Vec<Value> = rows(options)
        .map(|row| {
            let columns: serde_json::Map<String, Value> = Column::ALL
                .into_iter()
                .filter_map(|column| {
                    let cell = cells.get(&(row.name, column))?;
                    let ratios = ratios(row, column, cells);
                    let value = json!({
                        "seconds": cell.seconds,
                        "median": median(&cell.seconds),
                        "ratio": (!ratios.is_empty()).then(|| median(&ratios)),
                        "spread": spread(if ratios.is_empty() { &cell.seconds } else { &ratios }),
                        "requests": each(cell).collect::<std::collections::BTreeMap<_, _>>(),
                    });
                    Some((column.name().to_owned(), value))
                })
                .collect();
            json!({ "name": row.name, "title": row.title, "per": row.per, "aim": row.aim,
                "aim_readonly": row.aim_read_only, "columns": columns })
        })
        .collect();
    json!({ "quick": scale.quick, "rounds": options.rounds(), "filesystem": options.filesystem, "rows": rows })
}
