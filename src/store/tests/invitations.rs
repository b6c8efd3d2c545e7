//! Invitations: pending, then accepted, declined or cancelled.

use super::*;

fn invited(word: &str) -> (Fixture, FolderRow) {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), fixture.bob.clone());
    let folder = fixture.folder(&olga, "tests");
    invite(&mut fixture, &folder, "", &bob, word);
    (fixture, folder)
}

fn invite(fixture: &mut Fixture, folder: &FolderRow, at: &str, account: &AccountRow, word: &str) {
    fixture
        .store
        .invite(
            &By::daemon(),
            folder.id,
            account,
            level(word),
            (&path(at), &directory()),
        )
        .unwrap();
}

fn pending(fixture: &Fixture, folder: &FolderRow, at: &str) -> Option<Invitation> {
    fixture
        .store
        .pending(folder.id, &path(at), fixture.bob.id)
        .unwrap()
}

fn states(fixture: &Fixture) -> Vec<(&'static str, String)> {
    let invitations = fixture.store.invitations_of(fixture.bob.id).unwrap();
    invitations
        .iter()
        .map(|invitation| (invitation.state.name(), invitation.level.to_string()))
        .collect()
}

fn grant(fixture: &Fixture, folder: &FolderRow, at: &str) -> Option<LineLevel> {
    let bob = Principal::Account(fixture.bob.id);
    fixture
        .store
        .line(folder.id, LineKind::Grant, bob, &path(at))
        .unwrap()
}

#[test]
fn an_invitation_gives_nothing_until_it_is_accepted() {
    let (mut fixture, folder) = invited("edit");
    assert_eq!(grant(&fixture, &folder, ""), None);
    assert_eq!(states(&fixture), [("pending", "edit".into())]);
    let invitation = pending(&fixture, &folder, "").unwrap();
    let bob = by(&fixture.bob);
    fixture.store.accept(&bob, &invitation, None).unwrap();
    assert_eq!(grant(&fixture, &folder, ""), Some(level("edit")));
    assert_eq!(states(&fixture), [("accepted", "edit".into())]);
    assert_eq!(pending(&fixture, &folder, ""), None);
}

#[test]
fn a_declined_or_cancelled_one_gives_nothing_and_may_be_followed_by_another() {
    for state in [InvitationState::Declined, InvitationState::Cancelled] {
        let (mut fixture, folder) = invited("edit");
        let invitation = pending(&fixture, &folder, "").unwrap();
        fixture
            .store
            .end_invitation(&By::daemon(), &invitation, state)
            .unwrap();
        assert_eq!(pending(&fixture, &folder, ""), None);
        assert_eq!(grant(&fixture, &folder, ""), None);
        let bob = fixture.bob.clone();
        invite(&mut fixture, &folder, "", &bob, "view");
        assert_eq!(
            states(&fixture),
            [(state.name(), "edit".into()), ("pending", "view".into())]
        );
    }
}

#[test]
fn an_invitation_that_has_ended_cannot_be_accepted_any_more() {
    for state in [InvitationState::Declined, InvitationState::Cancelled] {
        let (mut fixture, folder) = invited("edit");
        let invitation = pending(&fixture, &folder, "").unwrap();
        fixture
            .store
            .end_invitation(&By::daemon(), &invitation, state)
            .unwrap();
        let error = fixture
            .store
            .accept(&By::daemon(), &invitation, None)
            .unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
        assert_eq!(grant(&fixture, &folder, ""), None);
        assert_eq!(states(&fixture), [(state.name(), "edit".into())]);
    }
}

#[test]
fn inviting_again_replaces_the_level() {
    let (mut fixture, folder) = invited("edit");
    let bob = fixture.bob.clone();
    invite(&mut fixture, &folder, "", &bob, "online-view");
    assert_eq!(states(&fixture), [("pending", "online-view".into())]);
    // Another place, and another invitee, are other invitations.
    invite(&mut fixture, &folder, "A", &bob, "full");
    let cara = fixture.cara.clone();
    invite(&mut fixture, &folder, "", &cara, "view");
    assert_eq!(states(&fixture).len(), 2);
    assert_eq!(fixture.store.invitations_to(folder.id).unwrap().len(), 3);
}

#[test]
fn the_database_itself_holds_one_pending_invitation() {
    let (fixture, _) = invited("edit");
    let again = "INSERT INTO invitations (folder, path, kind, account, level, state, at)
        SELECT folder, path, kind, account, level, state, at FROM invitations";
    assert!(fixture.store.db.execute(again, []).is_err());
}

#[test]
fn a_name_in_use_is_refused_with_the_hint_to_choose_another() {
    let (mut fixture, folder) = invited("edit");
    let bob = fixture.bob.clone();
    fixture.folder(&bob, "tests");
    let snapshot = fixture.store.snapshot().unwrap();
    fixture.store.load_tops(&snapshot, bob.id).unwrap();
    let invitation = pending(&fixture, &folder, "").unwrap();
    for name in [None, Some("tests")] {
        let error = fixture.store.accept(&by(&bob), &invitation, name).unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
        assert!(error.to_string().contains("--name"), "{error}");
    }
    assert_eq!(states(&fixture), [("pending", "edit".into())]);
    let error = fixture
        .store
        .accept(&by(&bob), &invitation, Some("a/b"))
        .unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
    fixture
        .store
        .accept(&by(&bob), &invitation, Some("hers"))
        .unwrap();
    let top = fixture.store.top_named(bob.id, b"hers").unwrap().unwrap();
    assert_eq!(top.folder, folder.id);
}

#[test]
fn a_place_is_accepted_under_its_last_component() {
    let (mut fixture, folder) = invited("edit");
    let bob = fixture.bob.clone();
    invite(&mut fixture, &folder, "Finance/Revenue.xlsx", &bob, "view");
    let invitation = pending(&fixture, &folder, "Finance/Revenue.xlsx").unwrap();
    fixture.store.accept(&by(&bob), &invitation, None).unwrap();
    assert!(
        fixture
            .store
            .top_named(bob.id, b"Revenue.xlsx")
            .unwrap()
            .is_some()
    );
    assert_eq!(
        grant(&fixture, &folder, "Finance/Revenue.xlsx"),
        Some(level("view"))
    );
    assert_eq!(grant(&fixture, &folder, ""), None);
}

#[test]
fn who_has_left_can_be_invited_again() {
    let (mut fixture, folder) = invited("edit");
    let bob = fixture.bob.clone();
    let invitation = pending(&fixture, &folder, "").unwrap();
    fixture.store.accept(&by(&bob), &invitation, None).unwrap();
    assert!(fixture.store.leave(&by(&bob), &folder, &bob, false).unwrap());
    assert_eq!(grant(&fixture, &folder, ""), None);
    invite(&mut fixture, &folder, "", &bob, "view");
    let invitation = pending(&fixture, &folder, "").unwrap();
    fixture.store.accept(&by(&bob), &invitation, None).unwrap();
    assert_eq!(grant(&fixture, &folder, ""), Some(level("view")));
}

#[test]
fn leaving_a_group_s_folder_hides_it_until_it_is_wanted_again() {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), fixture.bob.clone());
    let folder = fixture.folder(&olga, "tests");
    let staff = fixture.group("staff", &[&bob]);
    fixture.line(&folder, LineKind::Grant, staff, "", "view");
    let tops = |fixture: &mut Fixture| {
        let snapshot = fixture.store.snapshot().unwrap();
        fixture.store.load_tops(&snapshot, bob.id).unwrap().len()
    };
    assert_eq!(tops(&mut fixture), 1);
    fixture.store.leave(&by(&bob), &folder, &bob, true).unwrap();
    assert!(fixture.store.is_hidden(bob.id, folder.id).unwrap());
    assert_eq!(tops(&mut fixture), 0);
    // The group's line is nobody's to leave: the others keep it.
    assert_eq!(fixture.store.lines(folder.id).unwrap().len(), 1);
    let mut fixture = fixture.reopened();
    assert_eq!(tops(&mut fixture), 0);
    fixture.store.unhide(&by(&bob), &bob, &folder).unwrap();
    assert_eq!(tops(&mut fixture), 1);
}

#[test]
fn who_gets_the_folder_is_no_longer_invited_to_it() {
    let (mut fixture, folder) = invited("edit");
    let bob = fixture.bob.clone();
    let principal = Principal::Account(bob.id);
    fixture.line(&folder, LineKind::Rule, principal, "A", "invisible");
    fixture
        .store
        .transfer_folder(&By::daemon(), &folder, &bob)
        .unwrap();
    assert_eq!(states(&fixture), [("cancelled", "edit".into())]);
    assert_eq!(fixture.store.lines(folder.id).unwrap(), []);
    assert_eq!(fixture.store.folder(folder.id).unwrap().unwrap().owner, bob.id);
}
