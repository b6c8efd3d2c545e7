//! Lines and what they amount to: the compiled tree and the explanation, held against section 3 of the design as a list
//! of sentences; and levels, patterns and places against the simplest that could be right.

use std::collections::HashMap;

use super::Choices;
use crate::policy::{
    AccountId, AccountKind, FolderId, FolderPolicy, GroupId, Inheritance, Level, Line, LineId, LineKind,
    LineLevel, Place, PlaceChange, PlaceId, PlaceKind, PlacePath, Places, Principal, Right, ScratchNames,
    Standing, Subject, SubjectTree, Target, TargetId, explain,
};

const OWNER: AccountId = AccountId(1);
const SUBJECT: AccountId = AccountId(2);
/// More do not tell more, and take long.
const CHANGES: usize = 8;
const LEVELS: [&str; 8] = [
    "invisible",
    "locked",
    "view",
    "edit",
    "full",
    "admin",
    "online-view",
    "online-edit",
];

pub(super) fn run(bytes: &[u8]) {
    words(bytes);
    let choices = &mut Choices::new(bytes);
    let mut folder = folder(choices);
    let subject = subject(choices);
    check(&folder, &subject);
    let whole = |folder: &FolderPolicy| folder.places.iter().all(|place| place.target == Target::There);
    for _ in 0..CHANGES {
        if choices.is_done() {
            break;
        }
        let before = folder.clone();
        let change = change(choices);
        let id = PlaceId(choices.below(12) as i64);
        folder = folder.with_changes(&[(id, change.clone())]);
        same_places(&folder);
        agree(&folder, &subject);
        if change == PlaceChange::Gone && whole(&before) {
            raises_nothing(&before, &folder, &subject);
        }
    }
}

fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (list, name) = text.split_once('\n').unwrap_or((text, ""));
    assert_eq!(list.parse::<LineLevel>().is_ok(), LEVELS.contains(&list));
    if let Ok(level) = list.parse::<LineLevel>() {
        assert_eq!(level.to_string(), list);
    }
    let Ok(names) = ScratchNames::parse(list) else {
        return;
    };
    assert_eq!(ScratchNames::parse(&names.list()).as_ref(), Ok(&names));
    // The plain way takes time that grows fast.
    if list.len() < 24 && name.len() < 24 {
        let listed = names.list();
        let mut patterns = listed.split(',').filter(|pattern| !pattern.is_empty());
        let expected = patterns.any(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
        assert_eq!(names.match_name(name.as_bytes()), expected, "{list:?} {name:?}");
    }
    assert!(!names.match_name(b"any/thing") || list.contains('*') || list.contains('?'));
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, name),
        (Some((b'*', rest)), Some((_, shorter))) => matches(rest, name) || matches(pattern, shorter),
        (Some((b'?', rest)), Some((_, shorter))) => matches(rest, shorter),
        (Some((one, rest)), Some((other, shorter))) => one == other && matches(rest, shorter),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn folder(choices: &mut Choices<'_>) -> FolderPolicy {
    let inheritance = choices.of(&[Inheritance::Override, Inheritance::Widen]);
    let mut folder = FolderPolicy {
        id: FolderId(1),
        owner: OWNER,
        name: "folder".into(),
        inheritance,
        strict: false,
        protection: Default::default(),
        places: Places::default(),
        lines: HashMap::new(),
    };
    for id in 0..choices.below(13) as i64 {
        let kind = choices.of(&[LineKind::Grant, LineKind::Rule]);
        let principal = match choices.below(8) {
            0..=2 => Principal::Account(SUBJECT),
            3 => Principal::Account(AccountId(9)),
            group => Principal::Group(GroupId(group as i64 - 3)),
        };
        let Ok(level) = choices.of(&LEVELS).parse() else {
            continue;
        };
        let place = place(choices, &mut folder, id);
        let mut lines = folder
            .lines
            .get(&principal)
            .map_or_else(Vec::new, |lines| lines.to_vec());
        if lines
            .iter()
            .any(|line: &Line| line.kind == kind && line.place == place)
        {
            continue;
        }
        lines.push(Line {
            id: LineId(id),
            kind,
            principal,
            level,
            place,
        });
        folder.set_lines(principal, lines);
    }
    folder
}

fn place(choices: &mut Choices<'_>, folder: &mut FolderPolicy, id: i64) -> PlaceId {
    let path = a_path(choices);
    if let Some(place) = folder.places.find(&path) {
        return place.id;
    }
    let kind = choices.of(&[PlaceKind::Directory, PlaceKind::File]);
    folder.places.insert(Place {
        id: PlaceId(id),
        path,
        kind,
        target: Target::There,
        inodes: vec![handle(choices)],
    });
    PlaceId(id)
}

/// As ext4 has them: eight bytes, number and generation; or of a kind that nobody knows.
fn handle(choices: &mut Choices<'_>) -> TargetId {
    let number = choices.below(6) as u8;
    let known = [1, 0, 0, 0, number, 0, 0, 0, 7, 0, 0, 0];
    TargetId::from(&known[..if number == 5 { 5 } else { known.len() }])
}

fn a_path(choices: &mut Choices<'_>) -> PlacePath {
    let byte = choices.byte();
    let names = (0..byte % 4).map(|at| if byte >> (2 + at) & 1 == 0 { "a" } else { "b" });
    let path = names.collect::<Vec<_>>().join("/");
    PlacePath::parse(path.as_bytes()).unwrap_or_default()
}

fn subject(choices: &mut Choices<'_>) -> Subject {
    let byte = choices.byte();
    let groups: Vec<_> = (1..5)
        .filter(|group| byte >> group & 1 == 1)
        .map(GroupId)
        .collect();
    Subject {
        account: if byte == 0xff { OWNER } else { SUBJECT },
        groups: groups.into(),
        kind: if byte & 0x60 == 0x60 {
            AccountKind::Viewer
        } else {
            AccountKind::Member
        },
        frozen: byte & 0xe0 == 0xa0,
        ceiling: (byte & 0xe0 == 0x20).then(|| choices.of(&Level::ALL)),
        online: byte & 1 == 1,
    }
}

fn change(choices: &mut Choices<'_>) -> PlaceChange {
    match choices.below(3) {
        0 => PlaceChange::Gone,
        1 => PlaceChange::Moved(a_path(choices)),
        _ => PlaceChange::Observed(handle(choices)),
    }
}

/// Every path that a line may reach, and one deeper.
fn paths() -> Vec<PlacePath> {
    let mut paths = vec![PlacePath::root()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned().filter(|path| path.depth() < 4) {
        paths.extend([b"a", b"b"].iter().filter_map(|name| path.join(*name).ok()));
        next += 1;
    }
    paths
}

fn standing(tree: &SubjectTree, path: &PlacePath) -> Standing {
    let at = path
        .components()
        .fold(tree.root(), |at, name| tree.step(at, name));
    tree.verdict(at).standing
}

/// The tree and the explanation say the same, and so do the ways to ask the tree.
fn agree(folder: &FolderPolicy, subject: &Subject) {
    let tree = SubjectTree::compile(folder, subject);
    for path in paths() {
        let at = path
            .components()
            .fold(tree.root(), |at, name| tree.step(at, name));
        let verdict = tree.verdict(at);
        let told = explain(folder, subject, &path);
        assert_eq!(verdict, told.verdict, "{path:?} {folder:?} {subject:?}");
        assert!(verdict.standing <= subject.limit());
        assert_eq!(
            verdict.corridor,
            tree.seen_below(at).next().is_some() && !verdict.rights.contains(Right::Read)
        );
    }
}

fn check(folder: &FolderPolicy, subject: &Subject) {
    agree(folder, subject);
    same_places(folder);
    let tree = SubjectTree::compile(folder, subject);
    for path in paths() {
        let expected = resolve(folder, subject, &path);
        assert_eq!(
            standing(&tree, &path),
            expected,
            "{path:?} {folder:?} {subject:?}"
        );
    }
}

/// Section 3, where nothing is gone.
fn resolve(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> Standing {
    let limit = match subject {
        Subject { frozen: true, .. } => Level::Invisible,
        Subject {
            kind: AccountKind::Viewer,
            ceiling,
            ..
        } => ceiling.unwrap_or(Level::Admin).min(Level::View),
        Subject { ceiling, .. } => ceiling.unwrap_or(Level::Admin),
    };
    if folder.owner == subject.account {
        let free = limit == Level::Admin && subject.ceiling.is_none();
        return if free {
            Standing::Owner
        } else {
            Standing::Level(limit)
        };
    }
    Standing::Level(by_lines(folder, subject, path).min(limit))
}

fn by_lines(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> Level {
    let me = Principal::Account(subject.account);
    let mine = |principal| {
        principal == me
            || subject
                .groups
                .iter()
                .any(|group| principal == Principal::Group(*group))
    };
    // Kind, whether it names me, depth, level.
    let reach: Vec<(LineKind, bool, usize, Level)> = folder
        .lines
        .values()
        .flat_map(|lines| lines.iter())
        .filter(|line| mine(line.principal))
        .filter_map(|line| Some((line, &folder.places.get(line.place)?.path)))
        .filter(|(_, at)| path.way().contains(at))
        .map(|(line, at)| {
            let level = line.level.in_mount(subject.online);
            (line.kind, line.principal == me, at.depth(), level)
        })
        .collect();
    let grants = || reach.iter().filter(|line| line.0 == LineKind::Grant);
    if grants().next().is_none() {
        return Level::Invisible;
    }
    if folder.inheritance == Inheritance::Widen {
        return reach.iter().map(|line| line.3).max().unwrap_or(Level::Invisible);
    }
    let first = |kind, own, not_above: usize| {
        let sort = reach
            .iter()
            .filter(|line| line.0 == kind && line.1 == own && line.2 >= not_above);
        sort.map(|line| (line.2, line.3)).max()
    };
    let own_grant = first(LineKind::Grant, true, 0);
    let reaches_in = own_grant.map_or(0, |(depth, _)| depth);
    let decides = first(LineKind::Rule, true, 0)
        .or(first(LineKind::Rule, false, reaches_in))
        .or(own_grant)
        .or(first(LineKind::Grant, false, 0));
    decides.map_or(Level::Invisible, |(_, level)| level)
}

/// What is gone lowers what is made there again, and raises nothing.
fn raises_nothing(before: &FolderPolicy, after: &FolderPolicy, subject: &Subject) {
    let (was, is) = (
        SubjectTree::compile(before, subject),
        SubjectTree::compile(after, subject),
    );
    for path in paths() {
        assert!(
            standing(&is, &path) <= standing(&was, &path),
            "{path:?} {after:?} {subject:?}"
        );
    }
}

/// What is asked of places, answered by looking at each.
fn same_places(folder: &FolderPolicy) {
    let places = &folder.places;
    let all: Vec<_> = (0..13).filter_map(|id| places.get(PlaceId(id))).collect();
    let at = |path: &PlacePath| all.iter().any(|place| place.path == *path);
    for path in paths() {
        assert_eq!(places.find(&path).is_some(), at(&path), "{path:?} {folder:?}");
        assert!(places.find(&path).is_none_or(|found| found.path == path));
        let mut below: Vec<_> = all
            .iter()
            .map(|place| &place.path)
            .filter(|below| below.starts_with(&path))
            .collect();
        below.sort();
        assert_eq!(
            places
                .at_or_below(&path)
                .map(|place| &place.path)
                .collect::<Vec<_>>(),
            below
        );
        let zone = path.way().into_iter().rev().find(at);
        let told = places.zone(&path).and_then(|id| places.get(id));
        assert_eq!(told.map(|place| place.path.clone()), zone);
    }
    for place in &all {
        assert!(
            place
                .path
                .file_name()
                .is_none_or(|name| places.may_be_called(name))
        );
        for inode in &place.inodes {
            assert!(places.by_inode(inode.as_bytes()).any(|id| id == place.id));
        }
    }
}
