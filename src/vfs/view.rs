//! The policy as one mount sees it at one generation: its subject's compiled trees and top directory.
//!
//! A view is immutable. A request takes one view and judges everything by it; a mount makes a new one when the
//! generation has moved on.

use std::collections::HashMap;
use std::sync::Arc;

use super::backing::Backing;
use super::shared::Published;
use crate::policy::{
    AccountId, Cursor, FolderId, FolderPolicy, Level, PlaceId, Snapshot, Subject, SubjectTree, TopEntry,
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
}

/// One folder in a view.
pub struct FolderView {
    /// All its lines and places.
    pub policy: Arc<FolderPolicy>,
    /// What the subject may do in it.
    pub tree: SubjectTree,
    /// The files behind it.
    pub backing: Arc<Backing>,
}

impl View {
    /// Makes the view of what is published; what did not change since `before` is taken over.
    pub(super) fn of(published: &Published, viewer: Viewer, before: Option<&Self>) -> Self {
        let snapshot = &published.snapshot;
        let subject = Subject::of(snapshot, viewer.account, viewer.ceiling, viewer.online);
        let top = snapshot.tops.get(&viewer.account).cloned().unwrap_or_default();
        let Some(subject) = subject else {
            return Self {
                generation: published.generation,
                subject: None,
                folders: HashMap::new(),
                top: Arc::default(),
            };
        };
        let same_subject = before.is_some_and(|before| before.subject.as_ref() == Some(&subject));
        let mut folders = HashMap::new();
        for id in top.iter().map(|entry| entry.folder) {
            if folders.contains_key(&id) {
                continue;
            }
            let Some(folder) = FolderView::of(published, snapshot, id, &subject, same_subject, before) else {
                continue;
            };
            folders.insert(id, folder);
        }
        Self {
            generation: published.generation,
            subject: Some(subject),
            folders,
            top,
        }
    }

    /// A folder that the subject has.
    pub fn folder(&self, id: FolderId) -> Option<&Arc<FolderView>> {
        self.folders.get(&id)
    }

    /// The entries of the top directory that the subject sees.
    pub fn top(&self) -> impl Iterator<Item = (&TopEntry, &Arc<FolderView>, Cursor)> {
        self.top.iter().filter_map(|entry| {
            let folder = self.folders.get(&entry.folder)?;
            let cursor = folder.cursor_at_top(entry.place)?;
            folder
                .tree
                .verdict(cursor)
                .sees()
                .then_some((entry, folder, cursor))
        })
    }

    /// One entry of the top directory.
    pub fn top_entry(&self, name: &[u8]) -> Option<(&TopEntry, &Arc<FolderView>, Cursor)> {
        self.top().find(|(entry, ..)| &*entry.name == name)
    }
}

impl FolderView {
    fn of(
        published: &Published, snapshot: &Snapshot, id: FolderId, subject: &Subject, same_subject: bool,
        before: Option<&View>,
    ) -> Option<Arc<Self>> {
        let policy = snapshot.folders.get(&id)?;
        let backing = published.backings.get(&id)?;
        if let Some(before) = before.and_then(|view| view.folder(id)).filter(|_| same_subject)
            && Arc::ptr_eq(&before.policy, policy)
            && Arc::ptr_eq(&before.backing, backing)
        {
            return Some(Arc::clone(before));
        }
        Some(Arc::new(Self {
            policy: Arc::clone(policy),
            tree: SubjectTree::compile(policy, subject),
            backing: Arc::clone(backing),
        }))
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
