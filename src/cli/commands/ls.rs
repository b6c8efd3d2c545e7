//! ls

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backing;
use crate::cli::{CliError, local, output};
use crate::control::answers::{Around, LineOfOther, Others};
use crate::control::client::Client;
use crate::control::requests;
use crate::control::wire::{PlaceRef, quoted};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Before a name: '-' it can be read and not changed, 'x' it is locked, '>' it is only a way to \
                        something below, '+' others have a share or a rule of their own there (told to who may know)"
)]
pub(in crate::cli) struct Ls {
    /// A path inside a mount of mine (./x, ../x, /x), or a place in a folder that is mounted
    #[arg(value_name = "PATH", default_value = ".")]
    place: OsString,
}

impl Ls {
    pub(super) fn run(self, client: &Client, json: bool) -> Result<(), CliError> {
        let place = local::place(&self.place)?;
        let (mut path, mut place) = match place {
            PlaceRef::Local { .. } => (PathBuf::from(&self.place), place),
            PlaceRef::Named(_) => mounted(client, place, &self.place)?,
        };
        // A link to a directory that is named stands for the directory.
        if path.is_symlink() && path.is_dir() {
            path = path.canonicalize().unwrap_or(path);
            place = local::place(path.as_os_str())?;
        }
        let failed = |error: io::Error| {
            let path = quoted(path.as_os_str().as_bytes());
            CliError::Other(format!("cannot list {path}: {}", words(&error)))
        };
        let directory = path.symlink_metadata().map_err(failed)?.is_dir();
        let names = if directory {
            names(&path).map_err(failed)?
        } else {
            vec![path.file_name().unwrap_or_default().to_owned()]
        };
        let above = if directory {
            &*path
        } else {
            path.parent().unwrap_or(&path)
        };
        let list_of_folders =
            directory && matches!(&place, PlaceRef::Local { path, .. } if path.0.is_empty());
        let mut others = others(client, if directory { place } else { parent(place) });
        let read_only = is_read_only(&path);
        let mut rows = Vec::new();
        for name in names {
            match Row::of(&above.join(&name), &name, read_only) {
                Ok(mut row) => {
                    row.others = others.remove(name.as_bytes()).unwrap_or_default();
                    rows.push(row);
                }
                // Removed or hidden meanwhile.
                Err(error) if directory && error.kind() == io::ErrorKind::NotFound => {}
                // Its disk is lost, say; the others are there.
                Err(_) if directory => rows.push(Row {
                    name: quoted(name.as_bytes()),
                    level: "?".into(),
                    ..Row::default()
                }),
                Err(error) => return Err(failed(error)),
            }
        }
        output::show(&rows, json, |rows| {
            table(rows, list_of_folders, output::colours())
        })
    }
}

/// Where a place is mounted for the caller, and its name from there.
fn mounted(client: &Client, place: PlaceRef, typed: &OsStr) -> Result<(PathBuf, PlaceRef), CliError> {
    let shown = quoted(typed.as_bytes());
    let around = client.call(&requests::Around {
        directory: place.clone(),
    });
    let around: Around = around.map_err(|error| {
        // What looks like a file here was meant as one.
        let hint = if Path::new(typed).symlink_metadata().is_ok() {
            format!("; for what is here: 'lendfs ls ./{shown}'")
        } else {
            String::new()
        };
        CliError::Other(format!("{error}{hint}"))
    })?;
    let mut paths = around.at.iter().map(|at| PathBuf::from(at.as_os_str()));
    let path = paths.next().ok_or_else(|| {
        CliError::Other(format!(
            "{shown} is not mounted: 'lendfs mount DIR' mounts all your folders on an empty directory of yours"
        ))
    })?;
    Ok((path, place))
}

/// The lines of others at each entry; none where the caller may not know.
fn others(client: &Client, directory: PlaceRef) -> HashMap<Vec<u8>, Vec<LineOfOther>> {
    let around = client.call(&requests::Around { directory });
    let entries = around.map(|around| around.entries).unwrap_or_default();
    entries
        .into_iter()
        .map(|Others { name, lines }| (name.0, lines))
        .collect()
}

fn parent(mut place: PlaceRef) -> PlaceRef {
    let (PlaceRef::Named(path) | PlaceRef::Local { path, .. }) = &mut place;
    let slash = path.0.iter().rposition(|&byte| byte == b'/');
    path.0.truncate(slash.unwrap_or(0));
    place
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn is_read_only(path: &Path) -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs(path).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES) => {
            "you may not look into it: 'lendfs explain' says why, and a mount is open to its user alone"
                .into()
        }
        _ => error.to_string(),
    }
}

/// An entry.
#[derive(Debug, Default, Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    level: String,
    rights: Vec<String>,
    owner: Option<String>,
    maker: Option<String>,
    /// It can be read, and not changed.
    read_only: bool,
    /// What is in it is out of reach.
    locked: bool,
    /// It is only a way to something below.
    corridor: bool,
    /// The lines of others that stand there.
    others: Vec<LineOfOther>,
}

impl Row {
    fn of(path: &Path, name: &OsStr, read_only: bool) -> io::Result<Self> {
        let entry = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(path)?;
        let stat = entry.metadata()?;
        let level = attribute(&entry, "level")?.unwrap_or_default();
        let rights: Vec<_> = attribute(&entry, "rights")?
            .iter()
            .flat_map(|rights| rights.split(','))
            .filter(|right| !right.is_empty())
            .map(str::to_owned)
            .collect();
        let has = |right: &str| rights.iter().any(|has| has == right);
        let changes = has(if stat.is_dir() { "create" } else { "write" }) && !read_only;
        let corridor = !has("read") && is_way(&stat);
        Ok(Self {
            name: quoted(name.as_bytes()),
            kind: kind(stat.file_type()),
            level,
            owner: attribute(&entry, "owner")?,
            maker: attribute(&entry, "maker")?,
            read_only: has("read") && !changes,
            locked: !has("read") && !corridor,
            corridor,
            others: Vec::new(),
            rights,
        })
    }

    fn marks(&self) -> String {
        let way = if self.corridor {
            '>'
        } else if self.locked {
            'x'
        } else if self.read_only {
            '-'
        } else {
            ' '
        };
        let shared = if self.others.is_empty() { ' ' } else { '+' };
        format!("{way}{shared}")
    }

    fn shown_name(&self, colours: bool) -> String {
        let mark = match self.kind {
            "directory" => "/",
            "symlink" => "@",
            _ => "",
        };
        let colour = if self.locked {
            "31"
        } else if self.corridor {
            "2"
        } else if self.read_only {
            "33"
        } else if self.kind == "directory" {
            "1;34"
        } else {
            ""
        };
        let name = if colours && !colour.is_empty() {
            format!("\x1b[{colour}m{}\x1b[0m{mark}", self.name)
        } else {
            format!("{}{mark}", self.name)
        };
        if self.others.is_empty() {
            return name;
        }
        let line = |line: &LineOfOther| format!("{} {}", line.principal, line.level);
        let note = format!(
            "({})",
            self.others.iter().map(line).collect::<Vec<_>>().join(", ")
        );
        if colours {
            format!("{name}  \x1b[32m{note}\x1b[0m")
        } else {
            format!("{name}  {note}")
        }
    }
}

/// An attribute of lendfs's own, of any kind of file.
fn attribute(entry: &File, which: &str) -> io::Result<Option<String>> {
    match backing::get_xattr(entry.as_fd(), format!("system.lendfs.{which}").as_bytes()) {
        Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What may only be passed shows that it can be entered; what is locked does not.
fn is_way(stat: &Metadata) -> bool {
    stat.is_dir() && stat.mode() & 0o555 != 0
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symlink"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "file"
    }
}

fn table(rows: &[Row], list_of_folders: bool, colours: bool) -> String {
    let person = if list_of_folders { "OWNER" } else { "MAKER" };
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let who = if list_of_folders { &row.owner } else { &row.maker };
            vec![
                row.marks(),
                row.level.clone(),
                who.clone().unwrap_or_default(),
                row.shown_name(colours),
            ]
        })
        .collect();
    output::table(&["", "LEVEL", person, "NAME"], &cells, "nothing is in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: &'static str) -> Row {
        Row {
            name: name.into(),
            kind,
            level: "view".into(),
            maker: Some("bob".into()),
            ..Row::default()
        }
    }

    #[test]
    fn what_holds_is_told_by_a_symbol_and_by_colour() {
        let line = |principal: &str, level: &str| LineOfOther {
            principal: principal.into(),
            level: level.into(),
        };
        let lines = vec![line("carol", "full"), line("group:staff", "invisible")];
        let rows = [
            Row {
                read_only: true,
                ..row("a", "file")
            },
            Row {
                locked: true,
                maker: None,
                ..row("b", "directory")
            },
            Row {
                corridor: true,
                ..row("c", "directory")
            },
            Row {
                others: lines,
                ..row("d", "directory")
            },
            row("e", "symlink"),
        ];
        let plain = "    LEVEL  MAKER  NAME\n\
            -   view   bob    a\n\
            x   view          b/\n\
            >   view   bob    c/\n \
            +  view   bob    d/  (carol full, group:staff invisible)\n    \
            view   bob    e@\n";
        assert_eq!(table(&rows, false, false), plain);
        let coloured = table(&rows, false, true);
        let colours = [
            "\x1b[33m",
            "\x1b[31m",
            "\x1b[2m",
            "\x1b[1;34m",
            "\x1b[32m",
            "\x1b[0m",
        ];
        for colour in colours {
            assert!(coloured.contains(colour), "{coloured:?}");
        }
        let bare = colours
            .iter()
            .fold(coloured, |text, colour| text.replace(colour, ""));
        assert_eq!(bare, plain);
    }

    #[test]
    fn the_list_above_a_folder_is_that_of_folders() {
        let above = |path: &str| {
            let place = PlaceRef::Local {
                mount: Default::default(),
                path: crate::control::wire::Bytes(path.into()),
            };
            match parent(place) {
                PlaceRef::Local { path, .. } => String::from_utf8(path.0).unwrap(),
                PlaceRef::Named(_) => unreachable!(),
            }
        };
        assert_eq!(
            (above("tests/a/b"), above("tests")),
            ("tests/a".into(), String::new())
        );
    }
}
