//! The audit: which lines are told, and which are let go of.

use serde_json::json;

use super::*;
use crate::store::{AuditBounds, AuditFilter, AuditKind, RefusalNote};

const BOUNDS: AuditBounds = AuditBounds {
    changes: 100,
    refusals: 50,
    days: 0,
};

fn refusal(actor: &str, at: i64) -> RefusalNote {
    RefusalNote {
        at,
        by: By {
            actor: actor.into(),
            account: actor.into(),
        },
        folder: Some(FolderId(7)),
        details: json!({ "call": "unlink", "path": "a", "times": 1 }),
    }
}

fn change(fixture: &mut Fixture, actor: &str, times: usize) {
    for _ in 0..times {
        let by = By {
            actor: actor.into(),
            account: actor.into(),
        };
        fixture.store.note(&by, "kill", FolderId(1), json!({})).unwrap();
    }
}

/// How many lines an account has of a kind.
fn has(fixture: &Fixture, actor: &str, kind: AuditKind) -> usize {
    let filter = AuditFilter {
        actor: Some(actor.into()),
        kind: Some(kind),
        limit: 1_000_000,
        ..AuditFilter::default()
    };
    fixture.store.audit(&filter).unwrap().len()
}

#[test]
fn each_filter_leaves_out_what_does_not_fit() {
    let mut fixture = Fixture::new();
    let first = fixture.store.last_audit().unwrap();
    change(&mut fixture, "olga", 2);
    fixture
        .store
        .note_refusals(&[refusal("bob", 1000), refusal("cara", 2000)])
        .unwrap();
    let told = |filter: AuditFilter| {
        let filter = AuditFilter { limit: 10, ..filter };
        let lines = fixture.store.audit(&filter).unwrap();
        lines.into_iter().map(|line| line.id - first).collect::<Vec<_>>()
    };
    let after = || AuditFilter {
        after: Some(first),
        ..AuditFilter::default()
    };
    assert_eq!(told(after()), [1, 2, 3, 4]);
    for (filter, expected) in [
        (
            AuditFilter {
                kind: Some(AuditKind::Refusal),
                ..after()
            },
            vec![3, 4],
        ),
        (
            AuditFilter {
                kind: Some(AuditKind::Change),
                ..after()
            },
            vec![1, 2],
        ),
        (
            AuditFilter {
                action: Some("refused".into()),
                actor: Some("bob".into()),
                ..after()
            },
            vec![3],
        ),
        (
            AuditFilter {
                since: Some(1000),
                until: Some(2000),
                ..after()
            },
            vec![3],
        ),
        (
            AuditFilter {
                folder: Some(FolderId(7)),
                ..after()
            },
            vec![3, 4],
        ),
        (
            AuditFilter {
                account: Some("olga".into()),
                ..after()
            },
            vec![1, 2],
        ),
    ] {
        assert_eq!(told(filter.clone()), expected, "{filter:?}");
    }
    // The newest, but of what comes after a number the first.
    let two = |after| {
        let filter = AuditFilter {
            after,
            limit: 2,
            ..AuditFilter::default()
        };
        let lines = fixture.store.audit(&filter).unwrap();
        lines.into_iter().map(|line| line.id - first).collect::<Vec<_>>()
    };
    assert_eq!((two(None), two(Some(first))), (vec![3, 4], vec![1, 2]));
    assert_eq!(fixture.store.last_audit().unwrap(), first + 4);
}

#[test]
fn who_fills_the_audit_pushes_out_nobody_else_s_lines() {
    let mut fixture = Fixture::new();
    change(&mut fixture, "olga", 20);
    change(&mut fixture, "bob", 300);
    let notes: Vec<_> = (0..200).map(|at| refusal("bob", at)).collect();
    fixture.store.note_refusals(&[refusal("cara", 0)]).unwrap();
    fixture.store.note_refusals(&notes).unwrap();
    fixture.store.trim_audit(BOUNDS).unwrap();
    let changes = |fixture: &Fixture, who| has(fixture, who, AuditKind::Change);
    assert_eq!(changes(&fixture, "olga"), 20);
    assert_eq!(has(&fixture, "cara", AuditKind::Refusal), 1);
    assert_eq!(has(&fixture, "bob", AuditKind::Refusal), 49);
    let all = fixture.count("audit");
    assert!(all <= 150, "{all}");
    // His newest are there.
    let newest = fixture.store.last_audit().unwrap();
    let lines = fixture.store.audit(&all_lines()).unwrap();
    assert_eq!(lines.last().unwrap().id, newest);
    // Nothing more goes while there is room.
    fixture.store.trim_audit(BOUNDS).unwrap();
    assert_eq!(fixture.count("audit"), all);
}

fn all_lines() -> AuditFilter {
    AuditFilter {
        limit: 1_000_000,
        ..AuditFilter::default()
    }
}

#[test]
fn many_accounts_that_fill_it_are_held_to_the_bounds_as_well() {
    let mut fixture = Fixture::new();
    for account in 0..200 {
        fixture
            .store
            .note_refusals(&[refusal(&account.to_string(), 0)])
            .unwrap();
    }
    fixture.store.trim_audit(BOUNDS).unwrap();
    assert!(fixture.count("audit") <= 50 + 20);
    let none = AuditBounds {
        refusals: 0,
        ..BOUNDS
    };
    fixture.store.trim_audit(none).unwrap();
    let refusals = AuditFilter {
        kind: Some(AuditKind::Refusal),
        ..all_lines()
    };
    assert_eq!(fixture.store.audit(&refusals).unwrap(), []);
}

#[test]
fn what_is_old_goes_but_not_by_a_jump_of_the_clock_alone() {
    let mut fixture = Fixture::new();
    let days = AuditBounds {
        refusals: 10_000,
        days: 30,
        ..BOUNDS
    };
    fixture.store.db.execute("UPDATE audit SET at = 0", []).unwrap();
    let old: Vec<_> = (0..1500).map(|_| refusal("bob", 0)).collect();
    fixture.store.note_refusals(&old).unwrap();
    fixture.store.trim_audit(days).unwrap();
    // As if all of them had been written on a machine without a clock.
    assert_eq!(has(&fixture, "bob", AuditKind::Refusal), 1000);
    let new: Vec<_> = (0..1000).map(|_| refusal("cara", now())).collect();
    fixture.store.note_refusals(&new).unwrap();
    fixture.store.trim_audit(days).unwrap();
    assert_eq!(has(&fixture, "bob", AuditKind::Refusal), 0);
    assert_eq!(has(&fixture, "cara", AuditKind::Refusal), 1000);
    assert_eq!(fixture.count("audit"), 1000);
}
