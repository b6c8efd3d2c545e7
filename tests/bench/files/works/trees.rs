//! Programs that go through many small files: find, tar, rm.

use std::fs;
use std::io;
use std::process::Command;

use super::succeed;
use crate::inputs::Input;
use crate::row::{Row, Work};
use crate::worker::Steps;

pub(super) const FINDING: &[Work] = &[Work {
    rows: &[
        Row {
            name: "find-first",
            title: "find -size, first in a new mount",
            per: "file",
            aim: Some(2.5),
            aim_read_only: None,
        },
        Row {
            name: "find-warm",
            title: "find -size, warm",
            per: "file",
            aim: Some(1.1),
            aim_read_only: None,
        },
    ],
    inputs: &[Input::Tree],
    reads_only: true,
    edits: false,
    fresh: true,
    run: find,
}];

pub(super) const UNPACKING: &[Work] = &[Work {
    rows: &[
        Row {
            name: "untar",
            title: "untar",
            per: "file",
            aim: Some(7.0),
            aim_read_only: None,
        },
        Row {
            name: "rm",
            title: "rm -rf of what was unpacked",
            per: "file",
            aim: Some(3.1),
            aim_read_only: None,
        },
    ],
    inputs: &[Input::Archive],
    reads_only: false,
    edits: false,
    fresh: false,
    run: unpack,
}];

fn find(steps: &mut Steps) -> io::Result<()> {
    let files = steps.scale.tree;
    let find = || succeed(Command::new("find").args(["tree", "-size", "+1000k"]));
    steps.time("find-first", files, find)?;
    steps.time("find-warm", files, find)
}

fn unpack(steps: &mut Steps) -> io::Result<()> {
    let files = steps.scale.tree;
    let archive = steps.scratch.join("inputs/tree.tar");
    fs::create_dir("unpacked")?;
    steps.time("untar", files, || {
        succeed(
            Command::new("tar")
                .arg("-xf")
                .arg(archive)
                .args(["-C", "unpacked"]),
        )
    })?;
    steps.time("rm", files, || {
        succeed(Command::new("rm").args(["-rf", "unpacked"]))
    })
}
