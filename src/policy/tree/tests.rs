//! The worked cases of the design, one by one, and the compiled tree held against the literal reading.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::explain::{Decided, explain};
use crate::policy::folder::Inheritance;
use crate::policy::ids::{AccountId, FolderId, GroupId, LineId};
use crate::policy::level::LineLevel;
use crate::policy::line::{Line, LineKind, Principal};
use crate::policy::place::{Place, PlaceKind, PlacePath, Places};
use crate::policy::snapshot::AccountKind;

const OWNER: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const STAFF: GroupId = GroupId(1);

/// A folder written down in lines.
struct Story {
    folder: FolderPolicy,
}

impl Story {
    fn new(inheritance: Inheritance) -> Self {
        Self {
            folder: FolderPolicy {
                id: FolderId(1),
                owner: OWNER,
                name: "tests".into(),
                inheritance,
                strict: false,
                protection: Default::default(),
                places: Places::default(),
                lines: HashMap::new(),
            },
        }
    }

    fn line(mut self, kind: LineKind, principal: Principal, level: &str, at: &str) -> Self {
        let path = PlacePath::parse(at.as_bytes()).unwrap();
        let place = match self.folder.places.find(&path) {
            Some(place) => place.id,
            None => {
                let id = PlaceId(self.folder.places.iter().count() as i64 + 1);
                let (kind, target) = (PlaceKind::Directory, Target::There);
                self.folder.places.insert(Place {
                    id,
                    path,
                    kind,
                    target,
                    inodes: Vec::new(),
                });
                id
            }
        };
        let mut lines = self
            .folder
            .lines
            .get(&principal)
            .map(|lines| lines.to_vec())
            .unwrap_or_default();
        let id = LineId(
            self.folder
                .lines
                .values()
                .map(|lines| lines.len() as i64)
                .sum::<i64>()
                + 1,
        );
        lines.push(Line {
            id,
            kind,
            principal,
            level: level.parse().unwrap(),
            place,
        });
        self.folder.set_lines(principal, lines);
        self
    }

    fn grant(self, who: Principal, level: &str, at: &str) -> Self {
        self.line(LineKind::Grant, who, level, at)
    }

    fn rule(self, who: Principal, level: &str, at: &str) -> Self {
        self.line(LineKind::Rule, who, level, at)
    }

    fn gone(mut self, at: &str) -> Self {
        let path = PlacePath::parse(at.as_bytes()).unwrap();
        let id = self.folder.places.find(&path).unwrap().id;
        self.folder = self
            .folder
            .with_changes(&[(id, crate::policy::place::PlaceChange::Gone)]);
        self
    }

    fn verdict(&self, subject: &Subject, at: &str) -> Verdict {
        let path = PlacePath::parse(at.as_bytes()).unwrap();
        let told = explain(&self.folder, subject, &path).verdict;
        let tree = SubjectTree::compile(&self.folder, subject);
        let walked = tree.verdict(walk(&tree, &path));
        assert_eq!(walked, told, "tree and explanation differ at {at:?}");
        walked
    }

    fn word(&self, subject: &Subject, at: &str) -> String {
        let verdict = self.verdict(subject, at);
        if verdict.corridor {
            "corridor".into()
        } else {
            verdict.standing.to_string()
        }
    }

    fn check(&self, subject: &Subject, expected: &[(&str, &str)]) {
        for (at, word) in expected {
            assert_eq!(&self.word(subject, at), word, "at {at:?}");
        }
    }
}

fn walk(tree: &SubjectTree, path: &PlacePath) -> Cursor {
    path.components()
        .fold(tree.root(), |at, name| tree.step(at, name))
}

fn subject(account: AccountId, groups: &[i64]) -> Subject {
    Subject {
        account,
        groups: groups.iter().map(|&id| GroupId(id)).collect::<Vec<_>>().into(),
        kind: AccountKind::Member,
        frozen: false,
        ceiling: None,
        online: false,
    }
}

fn bob() -> Subject {
    subject(BOB, &[])
}

fn in_staff(account: i64) -> Subject {
    subject(AccountId(account), &[STAFF.0])
}

const ME: Principal = Principal::Account(BOB);
const ALL_STAFF: Principal = Principal::Group(STAFF);

fn story() -> Story {
    Story::new(Inheritance::Override)
}

#[test]
fn a_rule_holds_from_its_place_down() {
    story()
        .grant(ME, "edit", "")
        .rule(ME, "view", "meeting/today")
        .check(
            &bob(),
            &[
                ("meeting/today", "view"),
                ("meeting", "edit"),
                ("meeting/today/x", "view"),
            ],
        );
}

#[test]
fn ones_own_rule_comes_before_a_deeper_rule_of_a_group() {
    story()
        .grant(ME, "edit", "")
        .grant(ALL_STAFF, "edit", "")
        .rule(ME, "view", "A")
        .rule(ALL_STAFF, "full", "A/B")
        .check(&in_staff(2), &[("A/B", "view")]);
}

#[test]
fn a_rule_opens_to_one_what_another_hides_from_his_group() {
    let story = story()
        .grant(ALL_STAFF, "edit", "")
        .rule(ALL_STAFF, "invisible", "B")
        .rule(ME, "edit", "B");
    story.check(&in_staff(2), &[("B", "edit")]);
    story.check(&in_staff(3), &[("B", "invisible")]);
}

#[test]
fn a_rule_hides_from_one_what_his_group_has() {
    story()
        .grant(ALL_STAFF, "edit", "")
        .rule(ME, "invisible", "B")
        .check(&in_staff(2), &[("B", "invisible")]);
}

#[test]
fn each_group_writes_in_its_own_sub_folder() {
    let mut story = story();
    for group in [1, 2, 3] {
        let group = Principal::Group(GroupId(group));
        story = story.grant(group, "view", "");
    }
    story = story.rule(Principal::Group(GroupId(1)), "edit", "g1").rule(
        Principal::Group(GroupId(2)),
        "edit",
        "g2",
    );
    story.check(&subject(BOB, &[1]), &[("g1", "edit"), ("g2", "view")]);
}

#[test]
fn a_rule_without_a_grant_does_nothing() {
    story()
        .rule(ME, "full", "A")
        .check(&bob(), &[("A", "invisible"), ("", "invisible")]);
}

#[test]
fn where_rules_only_widen_nothing_lowers() {
    let vp = Principal::Account(AccountId(9));
    let story = Story::new(Inheritance::Widen)
        .grant(ALL_STAFF, "view", "")
        .rule(vp, "edit", "Revenue.xlsx")
        .rule(ME, "invisible", "Plan");
    story.check(&in_staff(9), &[("Revenue.xlsx", "edit")]);
    story.check(&in_staff(2), &[("Plan", "view")]);
}

#[test]
fn a_grant_on_one_file_shows_that_file_alone() {
    let story = story().grant(ME, "edit", "Finance/Revenue.xlsx");
    story.check(
        &bob(),
        &[("Finance/Revenue.xlsx", "edit"), ("Finance/other", "invisible")],
    );
    let snapshot = crate::policy::Snapshot::default();
    let top = crate::policy::top_places(&snapshot, BOB, &story.folder);
    assert_eq!(top, [PlacePath::parse(b"Finance/Revenue.xlsx").unwrap()]);
}

#[test]
fn of_nested_grants_the_outermost_shows() {
    let story = story()
        .grant(ME, "edit", "a/b")
        .grant(ME, "view", "a")
        .grant(ME, "view", "ab");
    let top = crate::policy::top_places(&crate::policy::Snapshot::default(), BOB, &story.folder);
    assert_eq!(
        top,
        [PlacePath::parse(b"a").unwrap(), PlacePath::parse(b"ab").unwrap()]
    );
}

#[test]
fn a_rule_of_a_group_does_not_reach_into_a_grant_below_it() {
    story()
        .grant(ALL_STAFF, "view", "")
        .rule(ALL_STAFF, "invisible", "Plan")
        .grant(ME, "view", "Plan/x")
        .check(&in_staff(2), &[("Plan/x", "view"), ("Plan/y", "invisible")]);
}

#[test]
fn a_grant_that_names_one_comes_before_a_deeper_one_of_his_group() {
    story()
        .grant(ME, "view", "")
        .grant(ALL_STAFF, "edit", "A")
        .check(&in_staff(2), &[("A", "view")]);
}

#[test]
fn a_viewer_never_has_more_than_view() {
    let viewer = Subject {
        kind: AccountKind::Viewer,
        ..bob()
    };
    story()
        .grant(ME, "full", "")
        .check(&viewer, &[("", "view"), ("a/b", "view")]);
    assert_eq!(
        story()
            .verdict(
                &Subject {
                    kind: AccountKind::Viewer,
                    ..subject(OWNER, &[])
                },
                "a"
            )
            .standing,
        Standing::Level(Level::View)
    );
}

#[test]
fn a_corridor_leads_through_what_is_hidden() {
    let story = story()
        .grant(ALL_STAFF, "view", "")
        .rule(ALL_STAFF, "invisible", "A")
        .rule(ME, "edit", "A/B/C");
    let expected = [
        ("A", "corridor"),
        ("A/B", "corridor"),
        ("A/B/C", "edit"),
        ("A/x", "invisible"),
        ("A/B/x", "invisible"),
    ];
    story.check(&in_staff(2), &expected);
    let tree = SubjectTree::compile(&story.folder, &in_staff(2));
    let names: Vec<_> = tree
        .leads_on(walk(&tree, &PlacePath::parse(b"A").unwrap()))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, [b"B"]);
}

#[test]
fn of_two_groups_at_one_place_the_higher_level_holds() {
    let (g1, g2) = (Principal::Group(GroupId(1)), Principal::Group(GroupId(2)));
    story()
        .grant(g1, "view", "A")
        .grant(g2, "edit", "A")
        .check(&subject(BOB, &[1, 2]), &[("A", "edit")]);
}

#[test]
fn an_online_grant_is_nothing_in_a_personal_mount() {
    let story = story().grant(ME, "online-view", "");
    story.check(&bob(), &[("", "invisible")]);
    story.check(
        &Subject {
            online: true,
            ..bob()
        },
        &[("", "view")],
    );
}

#[test]
fn a_rule_on_one_file_lets_it_be_moved_where_one_may_only_edit() {
    let story = story().grant(ME, "edit", "").rule(ME, "full", "x.txt");
    let (entry, parent) = (story.verdict(&bob(), "x.txt"), story.verdict(&bob(), ""));
    let rename = |entry, target, occupied| crate::policy::Operation::Rename {
        parent,
        entry,
        directory: false,
        new_parent: parent,
        target,
        occupied,
        same_directory: false,
        same_folder: true,
        below: true,
        no_replace: false,
        exchange: false,
        whiteout: false,
        exemption: crate::policy::Exemption::default(),
    };
    assert_eq!(crate::policy::judge(&rename(entry, parent, false)), Ok(()));
    assert_eq!(
        crate::policy::judge(&rename(parent, parent, false)),
        Err(crate::policy::Refusal::NotPermitted)
    );
}

#[test]
fn what_is_made_again_where_a_target_is_gone_is_lowered_and_not_raised() {
    story()
        .grant(ME, "view", "")
        .rule(ME, "full", "up")
        .rule(ME, "locked", "down")
        .rule(ME, "full", "down/up")
        .gone("up")
        .gone("down")
        .check(
            &bob(),
            &[
                ("up", "view"),
                ("up/x", "view"),
                ("down", "corridor"),
                ("down/x", "locked"),
                // Nothing in what is made again is raised over what holds above it.
                ("down/up", "view"),
            ],
        );
    story()
        .grant(ME, "edit", "only")
        .gone("only")
        .check(&bob(), &[("only", "invisible")]);
}

#[test]
fn another_directory_under_the_name_of_a_line_is_only_lowered() {
    let story = story()
        .grant(ME, "view", "")
        .rule(ME, "full", "up")
        .rule(ME, "locked", "down")
        .rule(ME, "full", "up/x");
    let tree = SubjectTree::compile(&story.folder, &bob());
    let (up, down) = (tree.step(tree.root(), b"up"), tree.step(tree.root(), b"down"));
    let standing = |at| tree.verdict(at).standing;
    let other = tree.mismatched(up, tree.root());
    assert_eq!(standing(other), Standing::Level(Level::View));
    assert_eq!(
        standing(tree.step(other, b"x")),
        Standing::Level(Level::View),
        "carried down"
    );
    assert_eq!(
        standing(tree.mismatched(down, tree.root())),
        Standing::Level(Level::Locked)
    );
}

#[test]
fn ceilings_bind_the_owner_too_and_a_frozen_account_has_nothing() {
    let owner = Subject {
        ceiling: Some(Level::View),
        ..subject(OWNER, &[])
    };
    assert_eq!(
        story().verdict(&owner, "a").standing,
        Standing::Level(Level::View)
    );
    let frozen = Subject {
        frozen: true,
        ..subject(OWNER, &[])
    };
    assert_eq!(story().verdict(&frozen, "a"), Verdict::default());
}

#[test]
fn the_explanation_names_the_deciding_line_and_why_others_do_not() {
    use crate::policy::explain::Outcome;
    let story = story()
        .grant(ALL_STAFF, "edit", "")
        .rule(ALL_STAFF, "invisible", "B")
        .rule(ME, "view", "B");
    let told = explain(&story.folder, &in_staff(2), &PlacePath::parse(b"B/x").unwrap());
    let Decided::Line(line, path) = &told.decided else {
        panic!("{:?}", told.decided)
    };
    assert_eq!((line.principal, path.to_string().as_str()), (ME, "B"));
    let outcomes: Vec<_> = told.chain.iter().map(|looked| looked.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::OwnRuleFirst, Outcome::Decides, Outcome::OwnRuleFirst]
    );
}

prop_compose! {
    fn a_line()(
        kind in prop_oneof![Just(LineKind::Grant), Just(LineKind::Rule)],
        principal in prop_oneof![
            2 => Just(ME),
            3 => (1_i64..4).prop_map(|id| Principal::Group(GroupId(id))),
            1 => Just(Principal::Account(AccountId(7))),
        ],
        level in prop_oneof![
            6 => proptest::sample::select(&Level::ALL[..]).prop_map(LineLevel::Fixed),
            1 => Just(LineLevel::OnlineView),
            1 => Just(LineLevel::OnlineEdit),
        ],
        path in a_path(),
    ) -> (LineKind, Principal, LineLevel, PlacePath) {
        (kind, principal, level, path)
    }
}

fn a_path() -> impl Strategy<Value = PlacePath> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b"]), 0..4)
        .prop_map(|names| PlacePath::parse(names.join("/").as_bytes()).unwrap())
}

prop_compose! {
    fn a_folder()(
        lines in proptest::collection::vec(a_line(), 0..12),
        gone in proptest::collection::vec(any::<bool>(), 12),
        widen in any::<bool>(),
    ) -> FolderPolicy {
        let mut story = Story::new(if widen { Inheritance::Widen } else { Inheritance::Override });
        for (kind, principal, level, path) in lines {
            let at = String::from_utf8(path.to_bytes()).unwrap();
            let same = |line: &Line| line.kind == kind
                && story.folder.places.get(line.place).unwrap().path == path;
            if story.folder.lines.get(&principal).is_some_and(|lines| lines.iter().any(same)) {
                continue;
            }
            story = story.line(kind, principal, &level.to_string(), &at);
        }
        let lost: Vec<_> = story.folder.places.iter().zip(gone)
            .filter(|(place, gone)| *gone && place.id.0 % 3 == 0)
            .map(|(place, _)| (place.id, crate::policy::place::PlaceChange::Gone))
            .collect();
        story.folder.with_changes(&lost)
    }
}

prop_compose! {
    fn a_subject()(
        groups in proptest::sample::subsequence(vec![1_i64, 2, 3], 0..=3),
        viewer in proptest::bool::weighted(0.1),
        online in any::<bool>(),
        ceiling in proptest::option::weighted(0.2, proptest::sample::select(&Level::ALL[..])),
        owner in proptest::bool::weighted(0.05),
    ) -> Subject {
        Subject {
            kind: if viewer { AccountKind::Viewer } else { AccountKind::Member },
            ceiling,
            online,
            ..subject(if owner { OWNER } else { BOB }, &groups)
        }
    }
}

/// Every path over two names, four deep: one deeper than any line.
fn all_paths() -> Vec<PlacePath> {
    let mut paths = vec![PlacePath::root()];
    for depth in 0..4 {
        let deepest: Vec<_> = paths
            .iter()
            .filter(|path| path.depth() == depth)
            .cloned()
            .collect();
        paths.extend(
            deepest
                .iter()
                .flat_map(|path| [path.join(b"a").unwrap(), path.join(b"b").unwrap()]),
        );
    }
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_and_the_literal_reading_agree_on_every_path(folder in a_folder(), subject in a_subject()) {
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            prop_assert_eq!(tree.verdict(walk(&tree, &path)), explain(&folder, &subject, &path).verdict, "{:?}", path);
        }
    }

    #[test]
    fn where_rules_only_widen_a_deeper_path_never_has_less(folder in a_folder(), subject in a_subject()) {
        let folder = FolderPolicy { inheritance: Inheritance::Widen, ..folder };
        let whole = folder.places.iter().all(|place| place.target == Target::There);
        prop_assume!(whole);
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            if let Some(parent) = path.parent() {
                prop_assert!(tree.verdict(walk(&tree, &path)).standing >= tree.verdict(walk(&tree, &parent)).standing);
            }
        }
    }

    #[test]
    fn without_a_grant_that_reaches_it_a_path_is_invisible(folder in a_folder(), subject in a_subject()) {
        prop_assume!(subject.account != OWNER);
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            let granted = folder.lines_of(subject.principals()).any(|line| {
                line.kind == LineKind::Grant && path.starts_with(&folder.places.get(line.place).unwrap().path)
            });
            if !granted {
                prop_assert_eq!(tree.verdict(walk(&tree, &path)).rights, Rights::NONE);
            }
        }
    }

    #[test]
    fn a_corridor_always_leads_to_something_seen(folder in a_folder(), subject in a_subject()) {
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            let at = walk(&tree, &path);
            if !tree.verdict(at).corridor {
                continue;
            }
            let below: Vec<_> = tree.seen_below(at).collect();
            prop_assert!(!below.is_empty());
            for names in below {
                let mut step = at;
                for (left, name) in names.iter().enumerate().map(|(at, name)| (names.len() - 1 - at, name)) {
                    step = tree.step(step, name);
                    prop_assert!(tree.leads(step));
                    let verdict = tree.verdict(step);
                    let seen = if left == 0 { verdict.rights.contains(Right::See) } else { verdict.sees() };
                    prop_assert!(seen);
                }
            }
        }
    }

    #[test]
    fn all_below_is_what_every_path_below_says(folder in a_folder(), subject in a_subject()) {
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            let each = all_paths().iter().filter(|below| below.starts_with(&path))
                .all(|below| tree.verdict(walk(&tree, below)).rights.contains(Right::Delete));
            prop_assert_eq!(tree.all_below(walk(&tree, &path), Right::Delete), each, "{:?}", path);
        }
    }

    #[test]
    fn a_cap_is_never_exceeded(folder in a_folder(), subject in a_subject(), cap in proptest::sample::select(&Level::ALL[..])) {
        let tree = SubjectTree::compile(&folder, &subject);
        for path in all_paths() {
            let at = path.components().fold(tree.capped(tree.root(), Standing::Level(cap)), |at, name| tree.step(at, name));
            let verdict = tree.verdict(at);
            prop_assert_eq!(verdict.standing, tree.verdict(walk(&tree, &path)).standing.min(Standing::Level(cap)));
            prop_assert!(!verdict.corridor || cap > Level::Invisible);
        }
    }

    #[test]
    fn paths_are_read_back(path in a_path()) {
        prop_assert_eq!(PlacePath::parse(&path.to_bytes()), Ok(path));
    }
}

#[test]
fn a_subject_shares_lines_and_does_not_copy_them() {
    let story = story().grant(ME, "edit", "").grant(ALL_STAFF, "view", "");
    let mut changed = story.folder.clone();
    changed.set_lines(ME, Vec::new());
    assert!(Arc::ptr_eq(
        &story.folder.lines[&ALL_STAFF],
        &changed.lines[&ALL_STAFF]
    ));
    assert!(!changed.lines.contains_key(&ME));
}

#[test]
fn the_way_to_a_directory_stays_open_where_it_was_moved_to_the_place_of_a_lost_one() {
    let change = |story: &mut Story, at: &str, to: &str| {
        let path = |at: &str| PlacePath::parse(at.as_bytes()).unwrap();
        let id = story.folder.places.find(&path(at)).unwrap().id;
        let moved = crate::policy::place::PlaceChange::Moved(path(to));
        story.folder = story.folder.with_changes(&[(id, moved)]);
    };
    let mut story = Story::new(Inheritance::Widen)
        .grant(ME, "locked", "a")
        .grant(ME, "invisible", "a/lost")
        .gone("a/lost")
        .grant(ME, "locked", "moved");
    story.check(&bob(), &[("a", "locked")]);
    change(&mut story, "moved", "a/lost");
    story.check(&bob(), &[("a", "corridor"), ("a/lost", "locked")]);
    change(&mut story, "a/lost", "a/on");
    story.check(&bob(), &[("a", "corridor"), ("a/on", "locked")]);
}

#[test]
fn a_directory_moved_to_where_another_was_lost_frees_nothing() {
    for (lost, moved, expected) in [
        ("invisible", "edit", "invisible"),
        ("edit", "locked", "locked"),
        ("full", "edit", "edit"),
    ] {
        for principal in [ME, ALL_STAFF] {
            let mut story = story()
                .grant(ALL_STAFF, "view", "")
                .rule(principal, lost, "a")
                .gone("a")
                .rule(principal, moved, "b");
            let id = story
                .folder
                .places
                .find(&PlacePath::parse(b"b").unwrap())
                .unwrap()
                .id;
            let to = PlacePath::parse(b"a").unwrap();
            story.folder = story
                .folder
                .with_changes(&[(id, crate::policy::place::PlaceChange::Moved(to))]);
            // What is gone raises nothing either.
            let expected = if expected == "edit" { "view" } else { expected };
            story.check(&in_staff(BOB.0), &[("a", expected), ("b", "view")]);
        }
    }
}
