//! What is in files: reading, overwriting, mapping.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use crate::inputs::Input;
use crate::row::{Row, Work};
use crate::worker::Steps;

pub(super) const WORKS: &[Work] = &[
    Work {
        rows: &[Row {
            name: "read-seq",
            title: "sequential read",
            per: "MiB",
            aim: Some(1.05),
            aim_read_only: None,
        }],
        inputs: &[Input::Data],
        reads_only: true,
        edits: false,
        fresh: false,
        run: read_sequence,
    },
    Work {
        rows: &[Row {
            name: "write-seq",
            title: "sequential overwrite",
            per: "MiB",
            aim: Some(1.05),
            aim_read_only: None,
        }],
        inputs: &[Input::Data],
        reads_only: false,
        edits: false,
        fresh: false,
        run: write_sequence,
    },
    Work {
        rows: &[Row {
            name: "read-random",
            title: "random 4 KiB read",
            per: "read",
            aim: Some(1.15),
            aim_read_only: None,
        }],
        inputs: &[Input::Data],
        reads_only: true,
        edits: false,
        fresh: false,
        run: read_random,
    },
    Work {
        rows: &[Row {
            name: "write-random",
            title: "random 4 KiB write",
            per: "write",
            aim: Some(1.1),
            aim_read_only: None,
        }],
        inputs: &[Input::Data],
        reads_only: false,
        edits: false,
        fresh: false,
        run: write_random,
    },
    Work {
        rows: &[Row {
            name: "read-mmap",
            title: "random read by mmap",
            per: "page",
            aim: Some(1.05),
            aim_read_only: None,
        }],
        inputs: &[Input::Data],
        reads_only: true,
        edits: false,
        fresh: false,
        run: read_mmap,
    },
];

/// What is read or written at once in sequence, in bytes.
const CHUNK: usize = 128 << 10;

/// What is read or written at once at random, in bytes.
const BLOCK: usize = 4096;

/// How many blocks of the file are used at random: 64 MiB.
const BLOCKS: usize = 16_384;

/// How often all of it is mapped anew and touched.
const MAPPINGS: usize = 8;

/// Where each chunk of the file begins.
fn chunks(steps: &Steps) -> impl Iterator<Item = u64> {
    (0..(steps.scale.large << 20) / CHUNK).map(|number| (number * CHUNK) as u64)
}

/// So many places of blocks, in no order.
fn places(steps: &Steps) -> Vec<u64> {
    let mut state = 1_u64;
    (0..steps.scale.blocks)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % BLOCKS as u64 * BLOCK as u64
        })
        .collect()
}

fn read_sequence(steps: &mut Steps) -> io::Result<()> {
    let file = File::open("data")?;
    let chunks: Vec<u64> = chunks(steps).collect();
    let mut buffer = vec![0; CHUNK];
    let mut all = || {
        chunks
            .iter()
            .try_for_each(|&at| file.read_exact_at(&mut buffer, at))
    };
    all()?;
    steps.time("read-seq", steps.scale.large, all)
}

fn write_sequence(steps: &mut Steps) -> io::Result<()> {
    let file = File::options().write(true).open("data")?;
    let buffer = vec![b'y'; CHUNK];
    let chunks: Vec<u64> = chunks(steps).collect();
    steps.time("write-seq", steps.scale.large, || {
        chunks.iter().try_for_each(|&at| file.write_all_at(&buffer, at))
    })
}

fn read_random(steps: &mut Steps) -> io::Result<()> {
    let file = File::open("data")?;
    let places = places(steps);
    let mut block = [0; BLOCK];
    let mut all = || {
        places
            .iter()
            .try_for_each(|&at| file.read_exact_at(&mut block, at))
    };
    all()?;
    steps.time("read-random", places.len(), all)
}

fn write_random(steps: &mut Steps) -> io::Result<()> {
    let file = File::options().write(true).open("data")?;
    let places = places(steps);
    let block = [b'z'; BLOCK];
    let all = || places.iter().try_for_each(|&at| file.write_all_at(&block, at));
    // What is written first after a while has the file's times to bring to the journal.
    all()?;
    steps.time("write-random", places.len(), all)
}

fn read_mmap(steps: &mut Steps) -> io::Result<()> {
    let mut tool = Command::new(steps.scratch.join("bin/touch-pages"))
        .arg("data")
        .args([BLOCKS.to_string(), MAPPINGS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(mut go), Some(warm)) = (tool.stdin.take(), tool.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    BufReader::new(warm).read_line(&mut String::new())?;
    steps.time("read-mmap", BLOCKS * MAPPINGS, || {
        go.write_all(b"\n")?;
        let status = tool.wait()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other(format!("touch-pages: {status}")))
    })
}
