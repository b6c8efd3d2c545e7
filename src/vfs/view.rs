//! The policy as one mount sees it at one generation: its subject's compiled trees and top directory.
//!
//! A view is immutable. A request takes one view and judges everything by it; a mount makes a new one when the
//! generation has moved on.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::backing::Backing;
use super::shared::Published;
use crate::policy::{
    AccountId, Cursor, FolderId, FolderPolicy, Level, PlaceId, Subject, SubjectTree, TopEntry,
};

/// What decides which view a mount has.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// On whose behalf the mount acts.
    pub account: AccountId,
    /// The level that nothing in the mount exceeds.
    pub ceiling: Option<Level>,
    /// Whether the mount is declared online (a managed session).
    pub online: bool,
}

/// A view.
pub struct View {
    /// The generation of the policy it was made of.
    pub generation: u64,
    /// The subject; `None` if the account is gone.
    pub subject: Option<Subject>,
    /// The folders that the subject has.
    folders: HashMap<FolderId, Arc<FolderView>>,
    /// The names of the top directory.
    top: Arc<[TopEntry]>,
    /// Which of them come in which order, to find one by its name.
    by_name: Box<[u32]>,
}

/// One folder in a view; all views of one subject share it.
pub struct FolderView {
    subject: Subject,
    /// All its lines and places.
    pub policy: Arc<FolderPolicy>,
    /// What the subject may do in it.
    pub tree: SubjectTree,
    /// The files behind it.
    pub backing: Arc<Backing>,
}

impl View {
    /// Makes the view of what is published, of the folders that are `compiled` already as far as they are the same.
    pub(super) fn of(published: &Published, viewer: Viewer, compiled: &FolderViews) -> Self {
        let snapshot = &published.snapshot;
        let subject = Subject::of(snapshot, viewer.account, viewer.ceiling, viewer.online);
        let top = snapshot.tops.get(&viewer.account).cloned().unwrap_or_default();
        let Some(subject) = subject else {
            return Self {
                generation: published.generation,
                subject: None,
                folders: HashMap::new(),
                top: Arc::default(),
                by_name: Box::default(),
            };
        };
        let mut folders = HashMap::new();
        for id in top.iter().map(|entry| entry.folder) {
            if folders.contains_key(&id) {
                continue;
            }
            if let (Some(policy), Some(backing)) = (snapshot.folders.get(&id), published.backings.get(&id)) {
                folders.insert(id, compiled.of(policy, backing, &subject));
            }
        }
        Self {
            generation: published.generation,
            subject: Some(subject),
            folders,
            by_name: order(&top),
            top,
        }
    }

    /// A folder that the subject has.
    pub fn folder(&self, id: FolderId) -> Option<&Arc<FolderView>> {
        self.folders.get(&id)
    }

    /// The entries of the top directory that the subject sees.
    pub fn top(&self) -> impl Iterator<Item = (&TopEntry, &Arc<FolderView>, Cursor)> {
        self.top.iter().filter_map(|entry| self.seen_at_top(entry))
    }

    fn seen_at_top<'a>(&'a self, entry: &'a TopEntry) -> Option<(&'a TopEntry, &'a Arc<FolderView>, Cursor)> {
        let folder = self.folders.get(&entry.folder)?;
        let cursor = folder.cursor_at_top(entry.place)?;
        let sees = folder.tree.verdict(cursor).sees();
        sees.then_some((entry, folder, cursor))
    }

    /// One entry of the top directory.
    pub fn top_entry(&self, name: &[u8]) -> Option<(&TopEntry, &Arc<FolderView>, Cursor)> {
        let of = |index: &u32| &self.top[*index as usize];
        let found = self.by_name.binary_search_by(|index| (*of(index).name).cmp(name));
        self.seen_at_top(of(&self.by_name[found.ok()?]))
    }
}

/// The order of the names, of which there are no two alike.
fn order(top: &[TopEntry]) -> Box<[u32]> {
    let mut order: Box<[u32]> = (0..).take(top.len()).collect();
    order.sort_by(|one, other| top[*one as usize].name.cmp(&top[*other as usize].name));
    order
}

/// The folders that are compiled, for all mounts: another mount of a subject costs nothing, nor a change of policy
/// that is none for a folder.
#[derive(Default)]
pub(super) struct FolderViews {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By folder and subject, of whom there may be several: with other ceilings, say.
    views: HashMap<(FolderId, AccountId), Vec<Weak<FolderView>>>,
    /// How many there were when those that nobody has any more were last taken out.
    cleared: usize,
}

impl Known {
    fn add(&mut self, key: (FolderId, AccountId), view: &Arc<FolderView>) {
        // Not each time: there may be many.
        if self.views.len() >= 2 * self.cleared {
            self.views.retain(|_, views| {
                views.retain(|view| view.strong_count() > 0);
                !views.is_empty()
            });
            self.cleared = self.views.len().max(8);
        }
        let views = self.views.entry(key).or_default();
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(view));
    }
}

impl FolderViews {
    /// The view that a subject has of a folder; compiled if it is not known.
    fn of(&self, policy: &Arc<FolderPolicy>, backing: &Arc<Backing>, subject: &Subject) -> Arc<FolderView> {
        let key = (policy.id, subject.account);
        let known = self.known.lock().views.get(&key).and_then(|known| {
            known
                .iter()
                .filter_map(Weak::upgrade)
                .find(|view| view.is_of(policy, backing, subject))
        });
        if let Some(known) = known {
            return known;
        }
        let view = Arc::new(FolderView {
            subject: subject.clone(),
            policy: Arc::clone(policy),
            tree: SubjectTree::compile(policy, subject),
            backing: Arc::clone(backing),
        });
        self.known.lock().add(key, &view);
        view
    }
}

impl FolderView {
    fn is_of(&self, policy: &Arc<FolderPolicy>, backing: &Arc<Backing>, subject: &Subject) -> bool {
        Arc::ptr_eq(&self.policy, policy) && Arc::ptr_eq(&self.backing, backing) && self.subject == *subject
    }

    /// The cursor of what stands in the top directory for a place: the root, or a granted path.
    pub fn cursor_at_top(&self, place: PlaceId) -> Option<Cursor> {
        let path = &self.policy.places.get(place)?.path;
        if path.is_root() {
            Some(self.tree.root())
        } else {
            self.tree.at(place)
        }
    }
}
