//! Tests of the store, and what they share.

mod audit;
mod changes;
mod crash;
mod invitations;
mod loading;
mod opening;
mod people;
mod tops;

use tempfile::TempDir;

use super::*;
use crate::backing::users::OsUser;
use crate::policy::{AccountId, FolderId, Inheritance, LineKind, LineLevel, PlaceKind, PlacePath, Principal};

/// A store in a directory of its own, with three accounts.
struct Fixture {
    store: Store,
    dir: TempDir,
    olga: AccountRow,
    bob: AccountRow,
    cara: AccountRow,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        Self {
            olga: account(&mut store, "olga", 4001),
            bob: account(&mut store, "bob", 4002),
            cara: account(&mut store, "cara", 4003),
            store,
            dir,
        }
    }

    /// The same store as the next daemon finds it.
    fn reopened(self) -> Self {
        let Self {
            store,
            dir,
            olga,
            bob,
            cara,
        } = self;
        drop(store);
        Self {
            store: Store::open(dir.path()).unwrap(),
            dir,
            olga,
            bob,
            cara,
        }
    }

    fn folder(&mut self, owner: &AccountRow, name: &str) -> FolderRow {
        let id = self
            .store
            .create_folder(&by(owner), &new_folder(owner, name))
            .unwrap();
        self.store.folder(id).unwrap().unwrap()
    }

    fn group(&mut self, name: &str, members: &[&AccountRow]) -> Principal {
        let by = By::daemon();
        let id = self.store.create_group(&by, GroupSource::Own, name).unwrap();
        for member in members {
            self.store.set_member(&by, id, name, member, true).unwrap();
        }
        Principal::Group(id)
    }

    fn line(&mut self, folder: &FolderRow, kind: LineKind, principal: Principal, at: &str, level: &str) {
        self.store
            .set_line(
                &By::daemon(),
                folder.id,
                kind,
                principal,
                self::level(level),
                (&path(at), &directory()),
            )
            .unwrap();
    }

    fn count(&self, table: &str) -> i64 {
        count(&self.store, table)
    }

    fn actions(&self) -> Vec<String> {
        let lines = self.store.audit(&all()).unwrap();
        lines.into_iter().map(|line| line.action).collect()
    }
}

fn account(store: &mut Store, login: &str, uid: u32) -> AccountRow {
    store.ensure_account(&user(login, uid)).unwrap()
}

fn user(login: &str, uid: u32) -> OsUser {
    OsUser {
        name: login.into(),
        uid,
        gid: uid,
    }
}

fn by(account: &AccountRow) -> By {
    By {
        actor: account.login.clone(),
        account: account.login.clone(),
    }
}

fn new_folder<'a>(owner: &'a AccountRow, name: &'a str) -> NewFolder<'a> {
    NewFolder {
        owner,
        name,
        adopted: None,
        lender: None,
        inheritance: Inheritance::Override,
    }
}

fn path(path: &str) -> PlacePath {
    PlacePath::parse(path.as_bytes()).unwrap()
}

fn level(word: &str) -> LineLevel {
    word.parse().unwrap()
}

fn directory() -> Anchor {
    Anchor {
        kind: PlaceKind::Directory,
        handle: None,
    }
}

fn all() -> AuditFilter {
    AuditFilter {
        limit: u32::MAX,
        ..AuditFilter::default()
    }
}

fn count(store: &Store, table: &str) -> i64 {
    store
        .db
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        .unwrap()
}

/// Every row of every table.
fn dump(store: &Store) -> Vec<String> {
    let names: Vec<String> = {
        let mut statement = store
            .db
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(std::result::Result::unwrap).collect()
    };
    let mut dump = Vec::new();
    for name in names {
        let mut statement = store.db.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let row: Vec<_> = (0..columns)
                .map(|column| format!("{:?}", row.get_ref(column).unwrap()))
                .collect();
            dump.push(format!("{name}: {}", row.join(" | ")));
        }
    }
    dump
}

#[test]
fn only_names_that_can_be_typed_and_told_apart_are_valid() {
    let longest = "x".repeat(255);
    for name in [
        "a",
        "a b",
        ".hidden",
        "...",
        "\u{fc}ml\u{e4}ut",
        "a@b",
        "-x",
        "x(1)",
        &longest,
    ] {
        assert!(valid_name("folder", name).is_ok(), "{name}");
    }
    let too_long = "x".repeat(256);
    let wide = "\u{fc}".repeat(128);
    for (name, why) in [
        ("", "empty"),
        (".", "means a directory"),
        ("..", "means a directory"),
        ("a/b", "a slash"),
        ("/", "a slash"),
        ("olga:tests", "a colon"),
        ("a\0b", "a control character"),
        ("a\nb", "a control character"),
        ("a\x1b[31mb", "a control character"),
        ("a\u{9b}b", "a control character"),
        (&too_long, "longer than 255 bytes"),
        (&wide, "longer than 255 bytes"),
    ] {
        let error = valid_name("folder", name).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{name:?}");
        let text = error.to_string();
        assert!(text.contains(why) && text.contains("folder"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
