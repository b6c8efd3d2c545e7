//! Names and paths: what is accepted is what may be, comes out as it went in, and means one thing alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::backing::{KeptName, Name, unescape_mountinfo};
use crate::cli::local;
use crate::control::wire::{Bytes, PlaceRef, quoted};
use crate::policy::{PlacePath, ScratchMark};

pub(super) fn run(bytes: &[u8]) {
    name(bytes);
    let (one, other) = halves(bytes);
    path(one);
    path(other);
    relatives(one, other);
    shown(one, other);
    travels(bytes);
    mountinfo(bytes);
    local_paths(one, other);
    if let Ok(mark) = ScratchMark::parse(bytes) {
        assert_eq!(ScratchMark::parse(&mark.to_bytes()), Ok(mark));
    }
}

fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]))
}

fn is_name(bytes: &[u8]) -> bool {
    let dots = bytes == b"." || bytes == b"..";
    (1..=255).contains(&bytes.len()) && !dots && !bytes.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn name(bytes: &[u8]) {
    let name = Name::new(bytes);
    assert_eq!(name.is_ok(), is_name(bytes));
    if let Ok(name) = name {
        assert_eq!(name.as_bytes(), bytes);
        let kept = KeptName::from(&name);
        assert_eq!(kept.as_bytes(), bytes);
        assert_eq!(Name::from(&kept), name);
    }
}

fn path(bytes: &[u8]) {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
    let path = PlacePath::parse(bytes);
    assert_eq!(
        path.is_ok(),
        bytes.is_empty() || parts.iter().all(|part| is_name(part))
    );
    let Ok(path) = path else { return };
    assert_eq!(path.to_bytes(), bytes);
    let parts = if bytes.is_empty() { Vec::new() } else { parts };
    assert_eq!(path.components().collect::<Vec<_>>(), parts);
    assert_eq!(path.depth(), parts.len());
    assert_eq!(path.file_name(), parts.last().copied());
    assert_eq!(path.way().len(), parts.len() + 1);
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        assert_eq!(parent.join(name), Ok(path.clone()));
        assert!(path.starts_with(&parent) && !parent.starts_with(&path));
    }
}

fn relatives(one: &[u8], other: &[u8]) {
    let (Ok(one), Ok(other)) = (PlacePath::parse(one), PlacePath::parse(other)) else {
        return;
    };
    let joined = one.join_path(&other);
    assert_eq!(joined.strip_prefix(&one), Some(other.clone()));
    let parts = |path: &PlacePath| path.components().map(Vec::from).collect::<Vec<_>>();
    assert_eq!(parts(&joined), [parts(&one), parts(&other)].concat());
    assert_eq!(one.starts_with(&other), parts(&one).starts_with(&parts(&other)));
    assert_eq!(
        one.cmp(&other),
        parts(&one).cmp(&parts(&other)),
        "what is below a path follows it"
    );
}

/// What is shown has no control character, and no two names are shown alike.
fn shown(one: &[u8], other: &[u8]) {
    assert!(!quoted(one).chars().any(char::is_control));
    assert_eq!(quoted(one) == quoted(other), one == other, "{one:?} {other:?}");
}

fn travels(bytes: &[u8]) {
    let place = PlaceRef::Local {
        mount: Bytes(bytes.into()),
        path: Bytes(bytes.into()),
    };
    let sent = serde_json::to_vec(&place).expect("it is no JSON");
    assert_eq!(serde_json::from_slice::<PlaceRef>(&sent).ok(), Some(place));
    // What a client sends is understood in one way or not at all.
    if let Ok(place) = serde_json::from_slice::<PlaceRef>(bytes) {
        let sent = serde_json::to_vec(&place).expect("it is no JSON");
        assert_eq!(serde_json::from_slice::<PlaceRef>(&sent).ok(), Some(place));
    }
}

/// As the kernel writes a path (`seq_path(9)`).
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(byte),
        }
    }
    escaped
}

fn mountinfo(bytes: &[u8]) {
    let path = |path: &[u8]| unescape_mountinfo(path).as_os_str().as_bytes().to_vec();
    assert_eq!(path(&escape(bytes)), bytes);
    // Anything else than an escape is itself.
    let unescaped = path(bytes);
    let escapes = bytes.windows(4).filter(|part| {
        part[0] == b'\\'
            && matches!(part[1], b'0'..=b'3')
            && part[2..].iter().all(|digit| matches!(digit, b'0'..=b'7'))
    });
    assert!(unescaped.len() + 3 * escapes.count() >= bytes.len());
    let line = [
        &b"30 1 0:40 / "[..],
        &escape(bytes),
        b" rw shared:1 - fuse.lendfs lendfs rw",
    ]
    .concat();
    if !bytes.is_empty() {
        assert_eq!(
            local::mounts_of_lendfs(&line),
            [Path::new(OsStr::from_bytes(bytes))]
        );
    }
    for at in local::mounts_of_lendfs(bytes) {
        assert!(at.as_os_str().len() <= bytes.len());
    }
}

fn local_paths(one: &[u8], other: &[u8]) {
    let path = Path::new(OsStr::from_bytes(one));
    if let Ok(absolute) = local::absolute(path) {
        assert!(absolute.is_absolute());
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        assert!(absolute.components().all(plain));
        let mount = Path::new("/").join(OsStr::from_bytes(other));
        let mounts = [mount.clone(), "/elsewhere".into()];
        if let Some(PlaceRef::Local { mount, path }) = local::inside(&mounts, &absolute) {
            let again = Path::new(mount.as_os_str()).join(path.as_os_str());
            assert_eq!(again, absolute);
        } else {
            assert!(!absolute.starts_with(&mount));
        }
    }
}
