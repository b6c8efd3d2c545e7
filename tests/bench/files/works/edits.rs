//! What removes nothing, and so may be done under `edit`: what that costs more than under `full` is the price of the
//! protection of names.

use std::fs::{self, File};
use std::io::{self, Write};

use crate::row::{Row, Work};
use crate::worker::Steps;

pub(super) const WORKS: &[Work] = &[Work {
    rows: &[
        Row {
            name: "create",
            title: "create (not exclusively)",
            per: "file",
            aim: None,
            aim_read_only: None,
        },
        Row {
            name: "write-new",
            title: "open, write 4 KiB, close",
            per: "file",
            aim: None,
            aim_read_only: None,
        },
        Row {
            name: "rename",
            title: "rename to a free name",
            per: "file",
            aim: None,
            aim_read_only: None,
        },
        Row {
            name: "create-new",
            title: "create (exclusively)",
            per: "file",
            aim: None,
            aim_read_only: None,
        },
        Row {
            name: "replace",
            title: "rename over another",
            per: "file",
            aim: None,
            aim_read_only: None,
        },
    ],
    inputs: &[],
    reads_only: false,
    edits: true,
    fresh: false,
    run: edit,
}];

fn edit(steps: &mut Steps) -> io::Result<()> {
    // What an earlier round made stays: nobody may remove it.
    let directory = format!("edits-{}", std::process::id());
    fs::create_dir(&directory)?;
    let files = steps.scale.files;
    let path = |kind: &str, number: usize| format!("{directory}/{kind}-{number}");
    let all = |call: &dyn Fn(usize) -> io::Result<()>| (0..files).try_for_each(call);
    steps.time("create", files, || {
        all(&|number| File::create(path("plain", number)).map(drop))
    })?;
    let content = [b'x'; 4096];
    steps.time("write-new", files, || {
        all(&|number| {
            let path = path("plain", number);
            File::options().write(true).open(path)?.write_all(&content)
        })
    })?;
    steps.time("rename", files, || {
        all(&|number| fs::rename(path("plain", number), path("renamed", number)))
    })?;
    steps.time("create-new", files, || {
        all(&|number| File::create_new(path("new", number)).map(drop))
    })?;
    steps.time("replace", files, || {
        all(&|number| fs::rename(path("new", number), path("renamed", number)))
    })
}
