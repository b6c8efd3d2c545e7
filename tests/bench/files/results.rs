//! The page of the day: what was measured, where and with what.

use std::process::Command;

use crate::Outcome;
use crate::options::Options;

/// Where it is written, from the project's directory.
pub(crate) const RESULTS: &str = "tests/bench/RESULTS.md";

/// The whole page.
pub(crate) fn results_page(options: &Options, tables: &str) -> Outcome<String> {
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory: u64 = value(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let count = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let lendfs = options.scratch.join("bin/lendfs");
    let versions = [
        first_line(&lendfs.to_string_lossy(), &["--version"]),
        first_line("bindfs", &["--version"]),
        first_line("git", &["--version"]),
        first_line("tar", &["--version"]),
        first_line("gcc", &["--version"]),
        format!(
            "sqlite {}",
            first_line("sqlite3", &["--version"])
                .split(' ')
                .next()
                .unwrap_or_default()
        ),
    ];
    Ok(format!(
        "# What a mounted folder costs\n\nWritten by `scripts/bench` on {}, at commit {}.\n\n\
         - machine: {count} processors ({}), {} GB of memory, Linux {}\n\
         - file system: {} on a loop device in memory\n\
         - programs: {}\n\n```\n{tables}```\n",
        first_line("date", &["-u", "+%Y-%m-%d"]),
        first_line(
            "git",
            &["-c", "safe.directory=*", "describe", "--always", "--dirty"]
        ),
        value(&processors, "model name"),
        memory / 1_000_000,
        first_line("uname", &["-r"]),
        options.filesystem,
        versions.join(", "),
    ))
}

/// What stands behind a key and a colon.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_once(':'))
        .map_or("unknown", |(_, value)| value.trim())
}

/// The first line that a program prints.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .filter(|line| !line.is_empty())
        .unwrap_or_else(|| "unknown".into())
}
