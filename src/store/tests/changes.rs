//! Each change is one transaction together with its audit line.

use super::*;
use crate::policy::Protection;

type Change = fn(&mut Fixture) -> Result<()>;

fn tests(fixture: &Fixture) -> FolderRow {
    fixture
        .store
        .folder_of(fixture.olga.id, "tests")
        .unwrap()
        .unwrap()
}

fn group(fixture: &Fixture, name: &str) -> crate::policy::GroupId {
    fixture.store.group(GroupSource::Own, name).unwrap().unwrap()
}

fn pending(fixture: &Fixture, account: &AccountRow) -> Invitation {
    let folder = tests(fixture);
    fixture
        .store
        .pending(folder.id, &path("offered"), account.id)
        .unwrap()
        .unwrap()
}

/// Every change that there is, with the word that its audit line has.
const CHANGES: &[(&str, Change)] = &[
    ("account", |fixture| {
        fixture.store.ensure_account(&user("dan", 4004)).map(drop)
    }),
    ("freeze", |fixture| {
        fixture.store.ensure_account(&user("bob", 4999)).map(drop)
    }),
    ("user set", |fixture| {
        let bob = fixture.bob.clone();
        fixture.store.set_email(&By::daemon(), &bob, "bob@example.com")
    }),
    ("user set", |fixture| {
        let bob = fixture.bob.clone();
        fixture
            .store
            .set_kind(&By::daemon(), &bob, crate::policy::AccountKind::Viewer)
    }),
    ("user set", |fixture| {
        let bob = fixture.bob.clone();
        fixture
            .store
            .set_frozen(&By::daemon(), &bob, true, &user("bob", 4002))
    }),
    ("user remove", |fixture| {
        let bob = fixture.bob.clone();
        fixture.store.remove_account(&By::daemon(), &bob)
    }),
    ("group create", |fixture| {
        fixture
            .store
            .create_group(&By::daemon(), GroupSource::Own, "new")
            .map(drop)
    }),
    ("group add", |fixture| {
        let (id, cara) = (group(fixture, "staff"), fixture.cara.clone());
        fixture.store.set_member(&By::daemon(), id, "staff", &cara, true)
    }),
    ("group remove", |fixture| {
        let (id, bob) = (group(fixture, "staff"), fixture.bob.clone());
        fixture.store.set_member(&By::daemon(), id, "staff", &bob, false)
    }),
    ("group delete", |fixture| {
        let id = group(fixture, "staff");
        fixture.store.delete_group(&By::daemon(), id, "staff")
    }),
    ("create", |fixture| {
        let olga = fixture.olga.clone();
        fixture
            .store
            .create_folder(&By::daemon(), &new_folder(&olga, "new"))
            .map(drop)
    }),
    ("rename", |fixture| {
        let folder = tests(fixture);
        fixture.store.rename_folder(&By::daemon(), &folder, "new")
    }),
    ("transfer", |fixture| {
        let (folder, cara) = (tests(fixture), fixture.cara.clone());
        fixture.store.transfer_folder(&By::daemon(), &folder, &cara)
    }),
    ("set", |fixture| {
        let folder = tests(fixture);
        fixture
            .store
            .set_inheritance(&By::daemon(), &folder, Inheritance::Widen)
    }),
    ("set", |fixture| {
        let folder = tests(fixture);
        fixture.store.set_strict(&By::daemon(), &folder, true)
    }),
    ("set", |fixture| {
        let folder = tests(fixture);
        let what = serde_json::json!({ "own-files": "removable" });
        let protection = Protection {
            own_files_removable: true,
            ..Protection::default()
        };
        fixture
            .store
            .set_protection(&By::daemon(), &folder, &protection, what)
    }),
    ("kill", |fixture| {
        let folder = tests(fixture);
        let details = serde_json::json!({ "process": 4711 });
        fixture.store.note(&By::daemon(), "kill", folder.id, details)
    }),
    ("delete", |fixture| {
        let folder = tests(fixture);
        fixture.store.delete_folder(&By::daemon(), &folder)
    }),
    ("share", |fixture| set(fixture, LineKind::Grant, "new")),
    ("share", |fixture| set(fixture, LineKind::Grant, "A")),
    ("permit", |fixture| set(fixture, LineKind::Rule, "new")),
    ("unshare", |fixture| remove(fixture, LineKind::Grant)),
    ("unpermit", |fixture| remove(fixture, LineKind::Rule)),
    ("invite", |fixture| {
        let (folder, cara) = (tests(fixture), fixture.cara.clone());
        let at = (&path("new"), &directory());
        fixture
            .store
            .invite(&By::daemon(), folder.id, &cara, level("view"), at)
    }),
    ("accept", |fixture| {
        let invitation = pending(fixture, &fixture.cara);
        fixture.store.accept(&By::daemon(), &invitation, None)
    }),
    ("declined", |fixture| {
        let invitation = pending(fixture, &fixture.cara);
        fixture
            .store
            .end_invitation(&By::daemon(), &invitation, InvitationState::Declined)
    }),
    ("cancelled", |fixture| {
        let invitation = pending(fixture, &fixture.cara);
        fixture
            .store
            .end_invitation(&By::daemon(), &invitation, InvitationState::Cancelled)
    }),
    ("leave", |fixture| {
        let (folder, bob) = (tests(fixture), fixture.bob.clone());
        fixture.store.leave(&By::daemon(), &folder, &bob, true).map(drop)
    }),
    ("accept", |fixture| {
        let (folder, cara) = (tests(fixture), fixture.cara.clone());
        fixture.store.unhide(&By::daemon(), &cara, &folder)
    }),
];

fn set(fixture: &mut Fixture, kind: LineKind, at: &str) -> Result<()> {
    let (folder, bob) = (tests(fixture), Principal::Account(fixture.bob.id));
    let at = (&path(at), &directory());
    fixture
        .store
        .set_line(&By::daemon(), folder.id, kind, bob, level("full"), at)
        .map(drop)
}

fn remove(fixture: &mut Fixture, kind: LineKind) -> Result<()> {
    let (folder, bob) = (tests(fixture), Principal::Account(fixture.bob.id));
    fixture
        .store
        .remove_line(&By::daemon(), folder.id, kind, bob, &path("A"))
}

/// A folder `tests` in which Bob has a grant and a rule, an invitation of Cara's, who has hidden it, and a group.
fn world() -> Fixture {
    let mut fixture = Fixture::new();
    let (olga, bob, cara) = (fixture.olga.clone(), fixture.bob.clone(), fixture.cara.clone());
    let folder = fixture.folder(&olga, "tests");
    let principal = Principal::Account(bob.id);
    fixture.line(&folder, LineKind::Grant, principal, "A", "edit");
    fixture.line(&folder, LineKind::Rule, principal, "A", "view");
    let staff = fixture.group("staff", &[&bob]);
    fixture.line(&folder, LineKind::Grant, staff, "", "view");
    fixture.line(&folder, LineKind::Rule, staff, "B", "view");
    let at = (&path("offered"), &directory());
    fixture
        .store
        .invite(&by(&olga), folder.id, &cara, level("view"), at)
        .unwrap();
    fixture.store.leave(&by(&cara), &folder, &cara, true).unwrap();
    fixture
}

#[test]
fn each_change_writes_one_audit_line_with_its_word() {
    for (number, (action, change)) in CHANGES.iter().enumerate() {
        let mut fixture = world();
        let before = fixture.actions();
        change(&mut fixture).unwrap_or_else(|error| panic!("{number} {action}: {error}"));
        let mut expected = before;
        expected.push((*action).into());
        assert_eq!(fixture.actions(), expected, "{number}");
    }
}

#[test]
fn a_change_whose_audit_line_cannot_be_written_does_not_happen() {
    for (number, (action, change)) in CHANGES.iter().enumerate() {
        let mut fixture = world();
        let full = "CREATE TEMP TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
        fixture.store.db.execute_batch(full).unwrap();
        let before = dump(&fixture.store);
        assert!(change(&mut fixture).is_err(), "{number} {action}");
        assert_eq!(dump(&fixture.store), before, "{number} {action}");
    }
}

#[test]
fn a_change_that_cannot_be_leaves_no_audit_line() {
    let cannot: &[(&str, Change)] = &[
        ("a folder of that name is there", |fixture| {
            let olga = fixture.olga.clone();
            fixture
                .store
                .create_folder(&By::daemon(), &new_folder(&olga, "tests"))
                .map(drop)
        }),
        ("no name", |fixture| {
            let folder = tests(fixture);
            fixture.store.rename_folder(&By::daemon(), &folder, "a/b")
        }),
        ("taken at the other's", |fixture| {
            let (folder, cara) = (tests(fixture), fixture.cara.clone());
            fixture.folder(&cara, "tests");
            fixture.store.transfer_folder(&By::daemon(), &folder, &cara)
        }),
        ("is in it already", |fixture| {
            let (id, bob) = (group(fixture, "staff"), fixture.bob.clone());
            fixture.store.set_member(&By::daemon(), id, "staff", &bob, true)
        }),
        ("is not in it", |fixture| {
            let (id, cara) = (group(fixture, "staff"), fixture.cara.clone());
            fixture.store.set_member(&By::daemon(), id, "staff", &cara, false)
        }),
        ("no such line", |fixture| {
            let (folder, cara) = (tests(fixture), Principal::Account(fixture.cara.id));
            fixture
                .store
                .remove_line(&By::daemon(), folder.id, LineKind::Grant, cara, &path("A"))
        }),
        ("left already", |fixture| {
            let (folder, cara) = (tests(fixture), fixture.cara.clone());
            fixture.store.leave(&By::daemon(), &folder, &cara, true).map(drop)
        }),
        ("owns a folder", |fixture| {
            let olga = fixture.olga.clone();
            fixture.store.remove_account(&By::daemon(), &olga)
        }),
        ("group is there", |fixture| {
            fixture
                .store
                .create_group(&By::daemon(), GroupSource::Own, "staff")
                .map(drop)
        }),
        ("a folder that is gone", |fixture| {
            let (folder, bob) = (FolderId(999), Principal::Account(fixture.bob.id));
            let at = (&path("A"), &directory());
            fixture
                .store
                .set_line(&By::daemon(), folder, LineKind::Rule, bob, level("view"), at)
                .map(drop)
        }),
        ("an account that is gone", |fixture| {
            let (folder, nobody) = (tests(fixture), Principal::Account(AccountId(999)));
            let at = (&path("A"), &directory());
            fixture
                .store
                .set_line(
                    &By::daemon(),
                    folder.id,
                    LineKind::Rule,
                    nobody,
                    level("view"),
                    at,
                )
                .map(drop)
        }),
    ];
    for (why, change) in cannot {
        let mut fixture = world();
        let (before, made) = (fixture.actions(), fixture.count("folders"));
        assert!(change(&mut fixture).is_err(), "{why}");
        // One of them makes a folder first.
        let more = usize::try_from(fixture.count("folders") - made).unwrap();
        assert_eq!(fixture.actions().len(), before.len() + more, "{why}");
    }
}

#[test]
fn the_audit_tells_who_did_it_for_whom_and_where() {
    let mut fixture = Fixture::new();
    let olga = fixture.olga.clone();
    let as_root = By {
        actor: "root".into(),
        account: "olga".into(),
    };
    let id = fixture
        .store
        .create_folder(&as_root, &new_folder(&olga, "tests"))
        .unwrap();
    let folder = fixture.store.folder(id).unwrap().unwrap();
    fixture
        .store
        .rename_folder(&by(&olga), &folder, "trials")
        .unwrap();
    let by_root = AuditFilter {
        account: Some("root".into()),
        limit: 10,
        ..AuditFilter::default()
    };
    let lines = fixture.store.audit(&by_root).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!((&*lines[0].account, &*lines[0].action), ("olga", "create"));
    assert!(lines[0].at > 1_600_000_000_000);
    let newest = AuditFilter {
        folder: Some(id),
        limit: 1,
        ..AuditFilter::default()
    };
    let lines = fixture.store.audit(&newest).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        lines[0].details,
        serde_json::json!({ "from": "tests", "to": "trials" })
    );
}
