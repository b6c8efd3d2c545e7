//! What one subject may do in one folder, compiled: a small tree with a node only where a line of the subject
//! stands or leads to one. A request walks it by names with a cursor; off the tree, what held last holds on.

mod state;

use std::collections::HashMap;

use state::{Lines, State};

use super::folder::FolderPolicy;
use super::ids::PlaceId;
use super::level::{Level, Right, Rights, Standing};
use super::place::Target;
use super::subject::Subject;

/// Where a walk stands: a node of the tree or below one, and the most that may hold from here on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    node: u32,
    /// Exactly at the node, so that names may lead on in the tree.
    inside: bool,
    /// What stands here is not what the lines here were made for.
    other: bool,
    cap: Standing,
}

impl Cursor {
    /// Where nothing is seen: for what was not judged yet.
    pub fn nowhere() -> Self {
        Self {
            node: 0,
            inside: false,
            other: true,
            cap: Standing::Level(Level::Invisible),
        }
    }
}

/// What holds at a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The level in force, or ownership.
    pub standing: Standing,
    /// What it allows.
    pub rights: Rights,
    /// It may not be read, but a line leads on to something below that is seen.
    pub corridor: bool,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            standing: Standing::Level(Level::Invisible),
            rights: Rights::NONE,
            corridor: false,
        }
    }
}

impl Verdict {
    /// Tells whether the entry is there for the subject.
    pub fn sees(&self) -> bool {
        self.corridor || self.rights.contains(Right::See)
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct SubjectTree {
    nodes: Vec<Node>,
    by_place: HashMap<PlaceId, u32>,
}

#[derive(Debug)]
struct Node {
    /// What holds here and below, up to the next node.
    standing: Standing,
    /// The place, where a line of the subject stands at it.
    place: Option<PlaceId>,
    /// A line whose target exists makes it seen.
    seen_by_line: bool,
    /// Something below is.
    seen_below: bool,
    /// The rights that hold here and at every node below.
    everywhere: Rights,
    #[expect(
        clippy::box_collection,
        reason = "most nodes are leaves, and a box is a third of the size"
    )]
    children: Option<Box<HashMap<Box<[u8]>, u32>>>,
}

impl SubjectTree {
    /// Compiles the lines of a folder for a subject.
    pub fn compile(folder: &FolderPolicy, subject: &Subject) -> Self {
        let mut tree = Self {
            nodes: vec![Node::new()],
            by_place: HashMap::new(),
        };
        if subject.account == folder.owner {
            let standing = Standing::Owner.min(subject.limit());
            let root = &mut tree.nodes[0];
            (root.standing, root.everywhere) = (standing, standing.rights());
            return tree;
        }
        let mut lines: Vec<Lines<'_>> = vec![Lines::default()];
        for line in folder.lines_of(subject.principals()) {
            let Some(place) = folder.places.get(line.place) else {
                continue;
            };
            let mut node = 0;
            for name in place.path.components() {
                node = tree.child(node, name);
            }
            tree.nodes[node as usize].place = Some(place.id);
            tree.by_place.insert(place.id, node);
            lines.resize_with(tree.nodes.len(), Lines::default);
            let here = &mut lines[node as usize];
            here.add(line, subject);
            here.gone |= place.target == Target::Gone;
            here.there |= place.target == Target::There;
        }
        lines.resize_with(tree.nodes.len(), Lines::default);
        tree.resolve(folder, subject, &lines);
        tree
    }

    /// The folder's root.
    pub fn root(&self) -> Cursor {
        Cursor {
            node: 0,
            inside: true,
            other: false,
            cap: Standing::Owner,
        }
    }

    /// Where a name leads.
    pub fn step(&self, at: Cursor, name: &[u8]) -> Cursor {
        let child = if at.inside {
            self.children(at).and_then(|children| children.get(name))
        } else {
            None
        };
        match child {
            Some(&node) => Cursor {
                node,
                inside: true,
                other: false,
                cap: at.cap,
            },
            None => Cursor {
                inside: false,
                other: false,
                ..at
            },
        }
    }

    /// What holds there.
    pub fn verdict(&self, at: Cursor) -> Verdict {
        let node = self.node(at);
        let standing = node.standing.min(at.cap);
        let rights = standing.rights();
        let corridor = at.inside && node.seen_below && !rights.contains(Right::Read) && at.sees_through();
        Verdict {
            standing,
            rights,
            corridor,
        }
    }

    /// The place that the cursor stands exactly at, if a line of the subject does too.
    pub fn place(&self, at: Cursor) -> Option<PlaceId> {
        if at.inside { self.node(at).place } else { None }
    }

    /// Tells whether a line of the subject stands at the cursor or below it.
    pub fn has_lines(&self, at: Cursor) -> bool {
        at.inside
    }

    /// The cursor of a place with a line of the subject.
    pub fn at(&self, place: PlaceId) -> Option<Cursor> {
        let node = *self.by_place.get(&place)?;
        Some(Cursor { node, ..self.root() })
    }

    /// The same place, where nothing exceeds `cap`, nor anything below.
    pub fn capped(&self, at: Cursor, cap: Standing) -> Cursor {
        Cursor {
            cap: at.cap.min(cap),
            ..at
        }
    }

    /// The same place, where something else stands than what the lines here were made for: they only lower.
    pub fn mismatched(&self, at: Cursor, parent: Cursor) -> Cursor {
        Cursor {
            other: true,
            ..self.capped(at, self.verdict(parent).standing)
        }
    }

    /// Tells whether a line makes something at or below the cursor seen.
    pub fn leads(&self, at: Cursor) -> bool {
        let node = self.node(at);
        at.inside && at.sees_through() && (node.seen_by_line && !at.other || node.seen_below)
    }

    /// The names below that lead to something seen.
    pub fn leads_on(&self, at: Cursor) -> impl Iterator<Item = (&[u8], Cursor)> {
        let children = if at.inside { self.children(at) } else { None };
        children
            .into_iter()
            .flatten()
            .map(move |(name, &node)| {
                (
                    &**name,
                    Cursor {
                        node,
                        inside: true,
                        other: false,
                        cap: at.cap,
                    },
                )
            })
            .filter(|(_, child)| self.leads(*child))
    }

    /// The paths below, from here, at which a line makes something seen.
    pub fn seen_below(&self, at: Cursor) -> impl Iterator<Item = Vec<&[u8]>> {
        let mut way: Vec<(Vec<&[u8]>, Cursor)> = vec![(Vec::new(), at)];
        std::iter::from_fn(move || {
            loop {
                let (path, at) = way.pop()?;
                for (name, child) in self.leads_on(at) {
                    let mut path = path.clone();
                    path.push(name);
                    way.push((path, child));
                }
                if !path.is_empty() && self.node(at).seen_by_line {
                    return Some(path);
                }
            }
        })
    }

    /// Tells whether the subject has a right here and wherever a line of his reaches below.
    pub fn all_below(&self, at: Cursor, right: Right) -> bool {
        let node = self.node(at);
        let here = if at.inside {
            node.everywhere
        } else {
            node.standing.rights()
        };
        here.contains(right) && at.cap.rights().contains(right)
    }

    /// Tells whether one verdict holds in the whole folder.
    pub fn uniform(&self) -> bool {
        self.nodes.len() == 1
    }

    fn child(&mut self, node: u32, name: &[u8]) -> u32 {
        let next = self.nodes.len() as u32;
        let children = self.nodes[node as usize].children.get_or_insert_default();
        if let Some(&child) = children.get(name) {
            return child;
        }
        children.insert(name.into(), next);
        self.nodes.push(Node::new());
        next
    }

    /// Resolves all nodes, from the root down, then gathers what is seen below, from the leaves up. Children come
    /// after their parents in `nodes`.
    fn resolve(&mut self, folder: &FolderPolicy, subject: &Subject, lines: &[Lines<'_>]) {
        let mut states = vec![State::default(); self.nodes.len()];
        let mut parents = vec![None; self.nodes.len()];
        let limit = subject.limit();
        for node in 0..self.nodes.len() {
            let inherited = parents[node].map(|parent: usize| states[parent]);
            let state = inherited.unwrap_or_default().under(&lines[node].lines, subject);
            let gone = lines[node].gone;
            // What is gone is not raised by what was meant for it.
            let above = inherited.map_or(Level::Invisible, |above| above.level(folder.inheritance));
            let cap = if gone { state.cap.min(above) } else { state.cap };
            let state = state.capped(cap);
            let standing = Standing::Level(state.level(folder.inheritance)).min(limit);
            let this = &mut self.nodes[node];
            this.standing = standing;
            this.everywhere = standing.rights();
            this.seen_by_line = lines[node].there && standing.rights().contains(Right::See);
            for &child in this.children.iter().flat_map(|children| children.values()) {
                parents[child as usize] = Some(node);
            }
            states[node] = state;
        }
        for node in (1..self.nodes.len()).rev() {
            let (seen, everywhere) = (
                self.nodes[node].seen_by_line || self.nodes[node].seen_below,
                self.nodes[node].everywhere,
            );
            if let Some(parent) = parents[node] {
                let parent = &mut self.nodes[parent];
                parent.seen_below |= seen;
                parent.everywhere = parent.everywhere.intersection(everywhere);
            }
        }
    }

    fn node(&self, at: Cursor) -> &Node {
        // A cursor is only made by the tree it is used with; one of another tree would be a defect, not a way in.
        self.nodes.get(at.node as usize).unwrap_or(&NOTHING)
    }

    fn children(&self, at: Cursor) -> Option<&HashMap<Box<[u8]>, u32>> {
        self.node(at).children.as_deref()
    }
}

static NOTHING: Node = Node::new();

impl Node {
    const fn new() -> Self {
        Self {
            standing: Standing::Level(Level::Invisible),
            place: None,
            seen_by_line: false,
            seen_below: false,
            everywhere: Rights::NONE,
            children: None,
        }
    }
}

impl Cursor {
    fn sees_through(self) -> bool {
        self.cap.rights().contains(Right::See)
    }
}

#[cfg(test)]
mod tests;
