//! Places: paths in a folder at which lines stand, and what the lines there were made for.

use std::borrow::Borrow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::hints::Hints;
use super::ids::PlaceId;

/// A path inside a folder. Bytes, not text: no component is empty, `.`, `..`, over 255 bytes or holds a NUL.
///
/// Components are kept with a NUL between them: so everything below a path follows it in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PlacePath(Arc<[u8]>);

/// Why something is no path inside a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// `a//b`, `/a` or `a/`.
    #[error("a path inside a folder has no empty component: write FOLDER/a/b")]
    Empty,
    /// `.` or `..`.
    #[error("a path inside a folder has no '.' or '..': write it out from the folder's root")]
    Dots,
    /// A NUL byte.
    #[error("a path has no NUL byte")]
    Nul,
    /// More than 255 bytes in one component.
    #[error("a name has at most 255 bytes")]
    Long,
}

impl PlacePath {
    /// The folder's own root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads `a/b/c`; the empty path is the root.
    ///
    /// # Errors
    /// For each component that is no name.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        if path.is_empty() {
            return Ok(Self::root());
        }
        path.split(|&byte| byte == b'/')
            .try_fold(Self::root(), |path, name| path.join(name))
    }

    /// The path of a name below this one.
    ///
    /// # Errors
    /// If it is no name.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        match name {
            b"" => return Err(PathError::Empty),
            b"." | b".." => return Err(PathError::Dots),
            name if name.len() > 255 => return Err(PathError::Long),
            name if name.contains(&0) => return Err(PathError::Nul),
            name if name.contains(&b'/') => return Err(PathError::Empty),
            _ => {}
        }
        Ok(self.join_path(&Self(name.into())))
    }

    /// The path of a path below this one.
    #[must_use]
    pub fn join_path(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            (false, false) => Self([&self.0, &b"\0"[..], &below.0].concat().into()),
        }
    }

    /// The rest of this path below another; the root if both are the same.
    pub fn strip_prefix(&self, above: &Self) -> Option<Self> {
        if above.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*above.0)? {
            [] => Some(Self::root()),
            [0, below @ ..] => Some(Self(below.into())),
            _ => None,
        }
    }

    /// Tells whether it is at or below another.
    pub fn starts_with(&self, above: &Self) -> bool {
        self.strip_prefix(above).is_some()
    }

    /// The components from the root on.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == 0).filter(|name| !name.is_empty())
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Tells whether it is the folder's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it lies in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == 0).unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// This path and all above it, the root first.
    pub fn way(&self) -> Vec<Self> {
        let mut way: Vec<_> = std::iter::successors(Some(self.clone()), Self::parent).collect();
        way.reverse();
        way
    }

    /// The bytes as in a system call: components with `/` between them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .map(|&byte| if byte == 0 { b'/' } else { byte })
            .collect()
    }
}

impl fmt::Display for PlacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Debug for PlacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// An inode, as an opaque file handle.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TargetId(Arc<[u8]>);

impl TargetId {
    /// The bytes of the handle.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for TargetId {
    fn from(handle: &[u8]) -> Self {
        Self(handle.into())
    }
}

impl Borrow<[u8]> for TargetId {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// What the lines at a place were made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceKind {
    /// A directory; its lines follow it.
    Directory,
    /// Anything else; its lines stay with the name.
    File,
}

/// Whether what the lines were made for is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// It is.
    There,
    /// It was removed: what is made there again is lowered by the lines, but not raised.
    Gone,
}

/// A place at which lines stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number.
    pub id: PlaceId,
    /// Where it is.
    pub path: PlacePath,
    /// What the lines were made for.
    pub kind: PlaceKind,
    /// Whether that is still there.
    pub target: Target,
    /// A directory's handle; or the inodes that bore a file's name, the newest last.
    pub inodes: Vec<TargetId>,
}

/// What became of what lines were made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlaceChange {
    /// The directory, or one above it, has another name now.
    Moved(PlacePath),
    /// It was removed.
    Gone,
    /// This inode bears the name now; a directory that was gone is back.
    Observed(TargetId),
}

/// How many former bearers of a file's name are remembered.
pub const REMEMBERED_INODES: usize = 64;

impl Place {
    /// Applies a change.
    pub fn change(&mut self, change: &PlaceChange) {
        match change {
            PlaceChange::Moved(path) => self.path = path.clone(),
            PlaceChange::Gone => self.target = Target::Gone,
            PlaceChange::Observed(inode) => {
                self.inodes.retain(|known| known != inode);
                self.inodes.push(inode.clone());
                let excess = self.inodes.len().saturating_sub(REMEMBERED_INODES);
                self.inodes.drain(..excess);
                if self.kind == PlaceKind::Directory {
                    self.target = Target::There;
                }
            }
        }
    }

    /// Tells whether a change would change nothing.
    pub fn has(&self, change: &PlaceChange) -> bool {
        match change {
            PlaceChange::Moved(path) => self.path == *path,
            PlaceChange::Gone => self.target == Target::Gone,
            PlaceChange::Observed(inode) => {
                let back = self.kind == PlaceKind::Directory && self.target == Target::Gone;
                !back && self.inodes.last() == Some(inode)
            }
        }
    }
}

/// All places of a folder, of whomever the lines there are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_id: HashMap<PlaceId, Arc<Place>>,
    /// Of those at one path the one that came last.
    by_path: BTreeMap<PlacePath, PlaceId>,
    /// The others: a directory was moved to where another was lost.
    by_path_too: HashMap<PlacePath, Vec<PlaceId>>,
    by_inode: HashMap<TargetId, PlaceId>,
    /// Where one inode bears, or bore, more than one: those but the first.
    by_inode_too: HashMap<TargetId, Vec<PlaceId>>,
    hints: Hints,
}

impl PartialEq for Places {
    /// By the places alone: of those that know one inode, or have one path, which came first makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

impl Eq for Places {}

impl FromIterator<Place> for Places {
    fn from_iter<T: IntoIterator<Item = Place>>(places: T) -> Self {
        let places: Vec<_> = places.into_iter().map(Arc::new).collect();
        // Built in one go, the maps have no slack.
        let mut all = Self {
            by_id: places.iter().map(|place| (place.id, Arc::clone(place))).collect(),
            by_path: places
                .iter()
                .map(|place| (place.path.clone(), place.id))
                .collect(),
            by_path_too: HashMap::new(),
            by_inode: HashMap::with_capacity(places.len()),
            by_inode_too: HashMap::new(),
            hints: Hints::default(),
        };
        for place in places {
            if all.by_path.get(&place.path) != Some(&place.id) {
                all.by_path_too
                    .entry(place.path.clone())
                    .or_default()
                    .push(place.id);
            }
            all.add_hints(&place);
        }
        all
    }
}

impl Places {
    /// The place of a number.
    pub fn get(&self, id: PlaceId) -> Option<&Place> {
        self.by_id.get(&id).map(|place| &**place)
    }

    /// The place at a path.
    pub fn find(&self, path: &PlacePath) -> Option<&Place> {
        self.get(*self.by_path.get(path)?)
    }

    /// The places that know an inode.
    pub fn by_inode(&self, handle: &[u8]) -> impl Iterator<Item = PlaceId> {
        let first = self.by_inode.get(handle);
        let more = first.and_then(|_| self.by_inode_too.get(handle));
        first.into_iter().chain(more.into_iter().flatten()).copied()
    }

    /// Tells whether a place may know an inode of this number: if not, its handle needs not be asked for.
    pub fn may_know(&self, number: u64) -> bool {
        self.hints.may_have_number(number)
    }

    /// Tells whether a place may be called so: if not, there is none at any path with this name at its end.
    pub fn may_be_called(&self, name: &[u8]) -> bool {
        self.hints.may_have_name(name)
    }

    /// The places at a path and below it.
    pub fn at_or_below(&self, path: &PlacePath) -> impl Iterator<Item = &Place> {
        self.by_path
            .range(path.clone()..)
            .take_while({
                let path = path.clone();
                move |(below, _)| below.starts_with(&path)
            })
            .flat_map(|(path, id)| self.at(path, *id))
    }

    /// All that are at a path, of which one is known.
    fn at(&self, path: &PlacePath, first: PlaceId) -> impl Iterator<Item = &Place> {
        // Most of the time there are none, and nothing is to be looked up.
        let more = Some(&self.by_path_too).filter(|more| !more.is_empty());
        let more = more.and_then(|more| more.get(path));
        let ids = std::iter::once(first).chain(more.into_iter().flatten().copied());
        ids.filter_map(|id| self.get(id))
    }

    /// The deepest place at or above a path. Where two paths have the same, no line of anyone tells them apart.
    pub fn zone(&self, path: &PlacePath) -> Option<PlaceId> {
        path.way()
            .iter()
            .rev()
            .find_map(|path| self.by_path.get(path).copied())
    }

    /// Tells whether there are lines at the root alone, so that nothing inside differs.
    pub fn is_plain(&self) -> bool {
        self.by_path.keys().all(PlacePath::is_root)
    }

    /// All places, by path.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.by_path.iter().flat_map(|(path, id)| self.at(path, *id))
    }

    /// Adds or replaces a place.
    pub fn insert(&mut self, place: Place) {
        self.remove(place.id);
        // Two directories may have changed names; the one that came later holds the path until the other is found.
        if let Some(before) = self.by_path.insert(place.path.clone(), place.id) {
            self.by_path_too
                .entry(place.path.clone())
                .or_default()
                .push(before);
        }
        self.add_hints(&place);
        self.by_id.insert(place.id, Arc::new(place));
    }

    /// Removes a place.
    pub fn remove(&mut self, id: PlaceId) {
        let Some(place) = self.by_id.remove(&id) else {
            return;
        };
        self.leave(&place.path, id);
        if let Some(name) = place.path.file_name() {
            self.hints.take_name(name);
        }
        for inode in &place.inodes {
            self.take_inode(inode, id);
        }
    }

    /// A place is not at a path any more; if another is, that holds it.
    fn leave(&mut self, path: &PlacePath, id: PlaceId) {
        let mut others = self.by_path_too.remove(path).unwrap_or_default();
        if self.by_path.get(path) == Some(&id) {
            match others.pop() {
                Some(other) => self.by_path.insert(path.clone(), other),
                None => self.by_path.remove(path),
            };
        } else {
            others.retain(|other| *other != id);
        }
        if !others.is_empty() {
            self.by_path_too.insert(path.clone(), others);
        }
    }

    fn add_hints(&mut self, place: &Place) {
        if let Some(name) = place.path.file_name() {
            self.hints.add_name(name);
        }
        for inode in &place.inodes {
            self.add_inode(inode, place.id);
        }
    }

    fn add_inode(&mut self, inode: &TargetId, place: PlaceId) {
        self.hints.add_handle(inode.as_bytes());
        match self.by_inode.entry(inode.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(place);
            }
            Entry::Occupied(_) => self.by_inode_too.entry(inode.clone()).or_default().push(place),
        }
    }

    fn take_inode(&mut self, inode: &TargetId, place: PlaceId) {
        let mut places: Vec<_> = self.by_inode(inode.as_bytes()).collect();
        for _ in &places {
            self.hints.take_handle(inode.as_bytes());
        }
        places.retain(|other| *other != place);
        self.by_inode.remove(inode.as_bytes());
        self.by_inode_too.remove(inode.as_bytes());
        for place in places {
            self.add_inode(inode, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PlacePath {
        PlacePath::parse(text.as_bytes()).unwrap()
    }

    fn place(id: i64, at: &str, inode: &[u8]) -> Place {
        Place {
            id: PlaceId(id),
            path: path(at),
            kind: PlaceKind::Directory,
            target: Target::There,
            inodes: vec![inode.into()],
        }
    }

    #[test]
    fn what_leads_out_of_a_folder_is_no_path() {
        for (text, error) in [
            ("..", PathError::Dots),
            ("a/../b", PathError::Dots),
            ("./a", PathError::Dots),
            ("/a", PathError::Empty),
            ("a/", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a\0b", PathError::Nul),
        ] {
            assert_eq!(PlacePath::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(PlacePath::parse(&[b'x'; 256]), Err(PathError::Long));
        assert!(PlacePath::parse(&[0xff; 255]).is_ok());
    }

    #[test]
    fn paths_know_their_relatives() {
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(PlacePath::root()));
        assert_eq!(PlacePath::root().parent(), None);
        assert_eq!(path("a/b/c").strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(path("ab").strip_prefix(&path("a")), None);
        assert_eq!(path("a/b").way(), [PlacePath::root(), path("a"), path("a/b")]);
        assert_eq!(path("a/b").to_bytes(), b"a/b");
    }

    #[test]
    fn all_below_a_path_is_found_and_nothing_beside_it() {
        let mut places = Places::default();
        for (id, at) in [
            (1, "a"),
            (2, "a b"),
            (3, "a/x"),
            (4, "a/x/y"),
            (5, "ab"),
            (6, "b"),
        ] {
            places.insert(place(id, at, &[id as u8]));
        }
        let below: Vec<_> = places.at_or_below(&path("a")).map(|place| place.id.0).collect();
        assert_eq!(below, [1, 3, 4]);
        assert_eq!(places.zone(&path("a/x/z")), Some(PlaceId(3)));
        assert_eq!(places.zone(&path("c")), None);
    }

    #[test]
    fn a_changed_place_is_found_at_its_new_path_only() {
        let mut places = Places::default();
        places.insert(place(1, "a", b"one"));
        let mut moved = places.get(PlaceId(1)).unwrap().clone();
        moved.change(&PlaceChange::Moved(path("b")));
        places.insert(moved);
        assert_eq!(places.find(&path("a")), None);
        assert_eq!(places.find(&path("b")).unwrap().id, PlaceId(1));
        assert_eq!(places.by_inode(b"one").collect::<Vec<_>>(), [PlaceId(1)]);
        assert!(places.may_be_called(b"b") && !places.may_be_called(b"a"));
        places.remove(PlaceId(1));
        assert_eq!(places, Places::default());
    }

    #[test]
    fn of_two_places_at_a_path_each_is_found_when_the_other_has_left() {
        for staying in [1, 2] {
            let leaving = 3 - staying;
            let mut places = Places::default();
            places.insert(place(1, "a", b"one"));
            places.insert(place(2, "a", b"two"));
            places.insert(place(3, "a/b", b"three"));
            assert_eq!(places.at_or_below(&path("a")).count(), 3);
            assert_eq!(places, places.iter().cloned().collect());
            places.insert(place(leaving, "z", b"moved"));
            assert_eq!(places.find(&path("a")).unwrap().id, PlaceId(staying));
            assert_eq!(places.zone(&path("a/x")), Some(PlaceId(staying)));
            assert_eq!(places.iter().count(), 3);
            places.remove(PlaceId(staying));
            assert_eq!(places.find(&path("a")), None);
        }
    }

    #[test]
    fn only_so_many_bearers_of_a_name_are_remembered() {
        let mut file = Place {
            kind: PlaceKind::File,
            ..place(1, "a", b"first")
        };
        for inode in 0..100_u8 {
            file.change(&PlaceChange::Observed((&[inode][..]).into()));
        }
        assert_eq!(file.inodes.len(), REMEMBERED_INODES);
        assert_eq!(file.inodes.last().unwrap().as_bytes(), [99]);
    }

    #[test]
    fn a_directory_that_is_back_is_there_and_a_file_made_anew_is_not() {
        let mut directory = place(1, "a", b"one");
        directory.change(&PlaceChange::Gone);
        assert!(!directory.has(&PlaceChange::Observed((&b"one"[..]).into())));
        directory.change(&PlaceChange::Observed((&b"one"[..]).into()));
        assert_eq!(directory.target, Target::There);
        let mut file = Place {
            kind: PlaceKind::File,
            ..place(2, "b", b"two")
        };
        file.change(&PlaceChange::Gone);
        file.change(&PlaceChange::Observed((&b"three"[..]).into()));
        assert_eq!(file.target, Target::Gone);
    }
}
