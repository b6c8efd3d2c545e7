//! The table, and the same as data.

use serde_json::{Value, json};

use crate::Outcome;
use crate::columns::Column;
use crate::figures::Figure;
use crate::measure::{Cell, Cells, Results};
use crate::options::Options;
use crate::results::{RESULTS, results_page};
use crate::row::{Row, Scale};
use crate::statistics::{median, spread};
use crate::works::works;

pub(crate) fn print(options: &Options, scale: Scale, results: &Results) -> Outcome<()> {
    let page = page(options, scale, results);
    if options.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&data(options, scale, results))?
        );
    } else {
        print!("{page}");
    }
    let whole = options.rows.is_empty() && options.columns.is_empty() && !options.quick;
    if options.write || (whole && !options.no_write) {
        std::fs::write(RESULTS, results_page(options, &page)?)?;
        eprintln!("written: {RESULTS}");
    }
    Ok(())
}

/// All tables.
fn page(options: &Options, scale: Scale, results: &Results) -> String {
    let mut parts = Vec::new();
    if !results.cells.is_empty() {
        parts.push(table(options, &results.cells));
    }
    if !results.figures.is_empty() {
        parts.push(figures(&results.figures));
    }
    if options.requests && !results.cells.is_empty() {
        parts.push(requests(options, &results.cells));
    }
    parts.push(inputs(options, scale, results));
    parts.join("\n")
}

fn inputs(options: &Options, scale: Scale, results: &Results) -> String {
    format!(
        "Medians of {} rounds; ± is half of the distance between their quartiles. Bare: the time of one operation; the \
         others: how many times\nas long. Inputs: {} files found, unpacked and removed, {} in the repository, {} \
         compiled, {} MiB read and written. On {}.\nLoad when it \
         began: {:.1} on {} processors.\n",
        options.rounds(),
        scale.tree,
        scale.repository,
        scale.sources,
        scale.large,
        options.filesystem,
        results.load,
        results.processors,
    )
}

fn figures(figures: &[Figure]) -> String {
    let mut lines = vec![["", "", "", "aim"].map(String::from).to_vec()];
    for figure in figures {
        let spread = spread(&figure.values) * 100.0;
        let noise = if figure.values.len() > 1 && spread.is_finite() {
            format!(" ±{spread:.0}%")
        } else {
            String::new()
        };
        let value = median(&figure.values);
        lines.push(vec![
            figure.row.to_owned(),
            figure.what.clone(),
            format!("{} {}{noise}", short(value), figure.unit),
            figure.aim.map(short).unwrap_or_default(),
        ]);
    }
    align(&lines)
}

/// With no more digits than tell something.
fn short(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 || value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
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

fn data(options: &Options, scale: Scale, results: &Results) -> Value {
    let cells = &results.cells;
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
    let figures: Vec<Value> = results
        .figures
        .iter()
        .map(|figure| {
            json!({ "name": figure.row, "what": figure.what, "unit": figure.unit, "aim": figure.aim,
                "values": figure.values, "median": median(&figure.values) })
        })
        .collect();
    json!({ "quick": scale.quick, "rounds": options.rounds(), "filesystem": options.filesystem, "load": results.load,
        "processors": results.processors, "rows": rows,
        "figures": figures })
}
