//! What lies in a directory before work is done there: made once, natively, and copied to every column.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::columns::Place;
use crate::row::Scale;

/// How many files of the tree lie in a directory.
const FILES_IN_A_DIRECTORY: usize = 100;

/// How long a file of the tree is, in bytes.
const FILE: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// `tree`: directories of small files.
    Tree,
    /// The same packed, outside of what is measured.
    Archive,
    /// `repository`: of git, with all in one pack.
    Repository,
    /// `data`: one large file.
    Data,
    /// `sources`: C files and a Makefile.
    Sources,
}

impl Input {
    const ALL: [Self; 5] = [
        Self::Tree,
        Self::Archive,
        Self::Repository,
        Self::Data,
        Self::Sources,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Archive => "tree.tar",
            Self::Repository => "repository",
            Self::Data => "data",
            Self::Sources => "sources",
        }
    }

    fn make(self, at: &Path, scale: Scale) -> Outcome<()> {
        match self {
            Self::Tree => tree(at, scale.tree),
            Self::Archive => archive(at, scale),
            Self::Repository => repository(at, scale.repository),
            Self::Data => data(at, scale.large),
            Self::Sources => sources(at, scale.sources),
        }
    }
}

/// Makes inputs in every place.
pub(crate) fn make(wanted: &[Input], places: &[Place], scratch: &Path, scale: Scale) -> Outcome<()> {
    let originals = scratch.join("inputs");
    fs::create_dir_all(&originals)?;
    for input in Input::ALL.into_iter().filter(|input| wanted.contains(input)) {
        let original = originals.join(input.name());
        input.make(&original, scale)?;
        if input == Input::Archive {
            continue;
        }
        for place in places {
            let copy = place.backing.join(input.name());
            run(Command::new("cp")
                .args(["-a", "--reflink=never"])
                .args([&original, &copy]))?;
            let owner = format!("{}:{}", place.user.uid, place.user.gid);
            run(Command::new("chown").arg("-R").arg(owner).arg(copy))?;
        }
    }
    Ok(())
}

/// The path of a file of the tree.
pub(crate) fn file_of_tree(number: usize) -> PathBuf {
    format!("tree/{}", file_in(number)).into()
}

fn file_in(number: usize) -> String {
    format!(
        "d{:03}/f{:02}",
        number / FILES_IN_A_DIRECTORY,
        number % FILES_IN_A_DIRECTORY
    )
}

fn tree(at: &Path, files: usize) -> Outcome<()> {
    fill(at, files, |_| vec![b'x'; FILE])
}

/// Makes so many files below a directory.
pub(crate) fn fill(at: &Path, files: usize, content: impl Fn(usize) -> Vec<u8>) -> Outcome<()> {
    for number in 0..files {
        let path = at.join(file_in(number));
        if number % FILES_IN_A_DIRECTORY == 0
            && let Some(directory) = path.parent()
        {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, content(number))?;
    }
    Ok(())
}

fn archive(at: &Path, scale: Scale) -> Outcome<()> {
    let above = at.with_extension("made");
    tree(&above.join("tree"), scale.tree)?;
    run(Command::new("tar")
        .arg("-cf")
        .arg(at)
        .arg("-C")
        .arg(&above)
        .arg("tree"))?;
    Ok(fs::remove_dir_all(above)?)
}

fn repository(at: &Path, files: usize) -> Outcome<()> {
    fill(at, files, |number| {
        format!("line of file {number}\n").repeat(20).into_bytes()
    })?;
    // Older than the index, or git would have to look into each file whose time is the index's own.
    run(Command::new("find")
        .arg(at)
        .args(["-exec", "touch", "-d", "2 hours ago", "{}", "+"]))?;
    let git = |arguments: &[&str]| run(crate::works::git().arg("-C").arg(at).args(arguments));
    git(&["init", "--quiet"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "--message", "All files"])?;
    git(&["repack", "--quiet", "-a", "-d"])
}

fn data(at: &Path, mebibytes: usize) -> Outcome<()> {
    let mut state = 1_u64;
    let mut words = std::iter::from_fn(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(state.to_le_bytes())
    });
    let mut bytes = Vec::with_capacity(mebibytes << 20);
    while bytes.len() < mebibytes << 20 {
        bytes.extend(words.next().unwrap_or_default());
    }
    Ok(fs::write(at, bytes)?)
}

fn sources(at: &Path, files: usize) -> Outcome<()> {
    fs::create_dir_all(at)?;
    let objects: Vec<String> = (0..files).map(|number| format!("f{number}.o")).collect();
    fs::write(
        at.join("Makefile"),
        format!(
            "all: {}\n%.o: %.c part.h\n\tgcc -O1 -c -o $@ $<\nclean:\n\trm -f *.o\n",
            objects.join(" ")
        ),
    )?;
    fs::write(
        at.join("part.h"),
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n",
    )?;
    for number in 0..files {
        fs::write(
            at.join(format!("f{number}.c")),
            format!(
                "#include \"part.h\"\nint f{number}(int argc, char **argv)\n{{\n    int sum = {number};\n    \
                 for (int i = 0; i < argc; i++)\n        sum += printf(\"%s\\n\", argv[i]) + (int)strlen(argv[i]);\n    \
                 return sum;\n}}\n"
            ),
        )?;
    }
    Ok(())
}

/// Runs a program that has to succeed.
pub(crate) fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{:?}: {}", command.get_program(), said.trim()).into())
}
