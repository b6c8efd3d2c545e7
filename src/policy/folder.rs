//! All lines of one folder.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{AccountId, FolderId, PlaceId};
use super::line::{Line, Principal};
use super::place::{PlaceChange, Places};
use super::protection::Protection;

/// How a deeper rule meets what it inherits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inheritance {
    /// It replaces it, up or down.
    #[default]
    Override,
    /// It can only raise it.
    Widen,
}

/// A folder, and who may do what in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderPolicy {
    /// Its number.
    pub id: FolderId,
    /// Whose it is.
    pub owner: AccountId,
    /// The name its owner gave it.
    pub name: String,
    /// How deeper rules meet what they inherit.
    pub inheritance: Inheritance,
    /// Whether no data of it may bypass the daemon, so that all that is open ends at once with the right.
    pub strict: bool,
    /// How it protects names under `edit`.
    pub protection: Protection,
    /// Where lines stand.
    pub places: Places,
    /// The lines, by whom they name.
    pub lines: HashMap<Principal, Arc<[Line]>>,
}

impl FolderPolicy {
    /// The lines that name one of these.
    pub fn lines_of(&self, principals: impl IntoIterator<Item = Principal>) -> impl Iterator<Item = &Line> {
        principals
            .into_iter()
            .filter_map(|principal| self.lines.get(&principal))
            .flat_map(|lines| lines.iter())
    }

    /// Replaces the lines that name one principal; other lines are shared, not copied.
    pub fn set_lines(&mut self, principal: Principal, lines: Vec<Line>) {
        if lines.is_empty() {
            self.lines.remove(&principal);
        } else {
            self.lines.insert(principal, lines.into());
        }
    }

    /// The same folder with some of its places changed.
    #[must_use]
    pub fn with_changes(&self, changes: &[(PlaceId, PlaceChange)]) -> Self {
        let mut folder = self.clone();
        let mut changed: HashMap<PlaceId, super::place::Place> = HashMap::new();
        for (id, change) in changes {
            if let Some(place) = changed.get_mut(id) {
                place.change(change);
            } else if let Some(place) = self.places.get(*id) {
                let mut place = place.clone();
                place.change(change);
                changed.insert(*id, place);
            }
        }
        // All are taken out before any is put in: two directories may have changed names.
        for id in changed.keys() {
            folder.places.remove(*id);
        }
        for place in changed.into_values() {
            folder.places.insert(place);
        }
        folder
    }

    /// Tells whether a change would change nothing here.
    pub fn has(&self, place: PlaceId, change: &PlaceChange) -> bool {
        self.places.get(place).is_none_or(|place| place.has(change))
    }
}
