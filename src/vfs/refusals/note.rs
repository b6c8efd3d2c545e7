//! From a request that was refused to what is told of it. Runs on the way of refusals alone.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Held, Refused, Why};
use crate::backing::{self, Program};
use crate::policy::{Cause, PlacePath, Refusal, Right, Rights, Which, cause, explain};
use crate::vfs::authorize::take_refused;
use crate::vfs::error::Error;
use crate::vfs::filesystem::{Caller, FileSystem};
use crate::vfs::ids::Ino;
use crate::vfs::node::{Node, Position};
use crate::vfs::paths::path_of;
use crate::vfs::view::{FolderView, View};

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(in crate::vfs) struct Call<'a> {
    caller: Caller,
    word: &'static str,
    at: At<'a>,
    to: Option<At<'a>>,
}

/// A node, or a name in a directory.
#[derive(Clone, Copy, Debug)]
struct At<'a> {
    ino: Ino,
    name: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// A call on a node.
    pub(in crate::vfs) fn on(caller: Caller, word: &'static str, ino: Ino) -> Self {
        Self {
            caller,
            word,
            at: At { ino, name: None },
            to: None,
        }
    }

    /// A call on a name in a directory.
    pub(in crate::vfs) fn at(caller: Caller, word: &'static str, parent: Ino, name: &'a [u8]) -> Self {
        let mut call = Self::on(caller, word, parent);
        call.at.name = Some(name);
        call
    }

    /// Likewise, with a new name.
    pub(in crate::vfs) fn to(mut self, parent: Ino, name: &'a [u8]) -> Self {
        self.to = Some(At {
            ino: parent,
            name: Some(name),
        });
        self
    }

    /// Why it was refused, where the question that was asked did not decide it.
    fn cause(&self, refusal: Refusal) -> Option<Cause> {
        match (refusal, self.word) {
            (Refusal::NotPermitted, "setxattr" | "removexattr") => Some(Cause::Reserved),
            (Refusal::NotPermitted, _) => Some(Cause::Stays(Which::Entry)),
            (Refusal::CrossDevice, "link") => Some(Cause::Apart),
            (Refusal::CrossDevice, _) => Some(Cause::OtherFolder),
            _ => None,
        }
    }

    /// Where to look for what is missing.
    fn place(&self, which: Which) -> Option<At<'a>> {
        let directory = |at: At<'a>| At { name: None, ..at };
        match which {
            Which::Entry => Some(self.at),
            Which::Parent => Some(directory(self.at)),
            Which::NewParent => self.to.map(directory),
            Which::Target => self.to,
        }
    }
}

/// Where something is, in the subject's words and in the folder's.
struct Placed {
    named: Vec<u8>,
    within: Option<(Arc<FolderView>, PlacePath)>,
}

impl FileSystem {
    /// Keeps what was refused, if it is something that its subject may be told of.
    #[cold]
    pub(in crate::vfs) fn note_refused(&self, call: &Call<'_>, error: &Error) {
        let asked = take_refused();
        let cause = match error {
            Error::Refused(refusal) => asked.filter(|(_, answered)| answered == refusal).map_or_else(
                || call.cause(*refusal),
                |(operation, refusal)| cause(&operation, refusal),
            ),
            Error::Revoked => Some(Cause::TakenBack),
            _ => None,
        };
        if let Some(refused) = cause.and_then(|cause| self.refused(call, cause, error.errno())) {
            self.shared.note_refusal(self.options.viewer.account, refused);
        }
    }

    /// Keeps what befell a name in a directory of the subject's: not a refusal, but something to be understood.
    pub fn note_said(
        &self, program: Option<Program>, call: &'static str, (parent, name): (Ino, &[u8]), what: &str,
        help: Option<&str>,
    ) {
        let view = self.view();
        let nobody = Caller {
            uid: 0,
            gid: 0,
            pid: 0,
        };
        let call = Call::at(nobody, call, parent, name);
        let Some(at) = self.placed(&view, call.at).filter(|_| view.subject.is_some()) else {
            return;
        };
        let (pid, program) = program.map_or((0, Vec::new()), |program| (program.id, program.name));
        let refused = Refused {
            at: SystemTime::now(),
            pid,
            program,
            call: call.word,
            path: at.named,
            to: None,
            errno: 0,
            folder: at.within.as_ref().map(|(folder, _)| folder.policy.id),
            place: at.within.map(|(_, place)| place),
            to_place: None,
            why: Why::Said {
                what: what.into(),
                help: help.map(Into::into),
            },
        };
        self.shared.note_refusal(self.options.viewer.account, refused);
    }

    fn refused(&self, call: &Call<'_>, cause: Cause, errno: i32) -> Option<Refused> {
        let view = self.view();
        // The account may be gone while its mount is still in use.
        view.subject.as_ref()?;
        let at = self.placed(&view, call.at)?;
        let to = match call.to {
            Some(to) => Some(self.placed(&view, to)?),
            None => None,
        };
        let folder_of = |placed: &Placed| placed.within.as_ref().map(|(folder, _)| folder.policy.id);
        let folder = folder_of(&at);
        let cause = match (cause, &to) {
            (Cause::Apart, Some(to)) if folder_of(to) != folder => Cause::OtherFolder,
            (cause, _) => cause,
        };
        let held = match cause {
            Cause::Missing { which, right, .. } => self.held(&view, call, which, right),
            Cause::Stays(which) => self.held(&view, call, which, Right::Delete),
            Cause::DirectoryStays => self.held(&view, call, Which::Entry, Right::Delete),
            Cause::TakenBack => self.held(&view, call, Which::Entry, Right::Administer),
            _ => None,
        };
        let to_place = to.as_ref().filter(|to| folder_of(to) == folder);
        let to_place = to_place.and_then(|to| to.within.as_ref().map(|(_, place)| place.clone()));
        let process = backing::process_of(call.caller.pid);
        let (pid, program) = process.map_or((0, Vec::new()), |process| (process.id, process.name));
        Some(Refused {
            at: SystemTime::now(),
            pid,
            program,
            call: call.word,
            path: at.named,
            to: to.map(|to| to.named),
            errno,
            folder,
            place: at.within.map(|(_, place)| place),
            to_place,
            why: Why::Rule { cause, held },
        })
    }

    /// What is missing at a place, as `explain` would tell it.
    fn held(&self, view: &View, call: &Call<'_>, which: Which, right: Right) -> Option<Held> {
        let placed = self.placed(view, call.place(which)?)?;
        let (folder, path) = placed.within?;
        let told = explain(&folder.policy, view.subject.as_ref()?, &path);
        let lacks = |rights: Rights| !rights.contains(right);
        Some(Held {
            place: placed.named,
            by: lacks(told.verdict.rights).then_some((told.verdict.standing, told.decided)),
        })
    }

    /// Where something is; `None` if the subject does not see it any more.
    fn placed(&self, view: &View, at: At<'_>) -> Option<Placed> {
        let mut placed = if at.ino == Ino::TOP {
            Placed {
                named: Vec::new(),
                within: None,
            }
        } else {
            self.placed_node(view, self.nodes.find(at.ino)?)?
        };
        let Some(name) = at.name else {
            if placed.named.is_empty() {
                placed.named.push(b'/');
            }
            return Some(placed);
        };
        placed.within = match placed.within {
            Some((folder, path)) => Some((folder, path.join(name).ok()?)),
            None => view.top_entry(name).map(|(entry, folder, _)| {
                let place = folder.policy.places.get(entry.place);
                let path = place.map(|place| place.path.clone());
                (Arc::clone(folder), path.unwrap_or_default())
            }),
        };
        if !placed.named.is_empty() {
            placed.named.push(b'/');
        }
        placed.named.extend_from_slice(name);
        Some(placed)
    }

    fn placed_node(&self, view: &View, node: Arc<Node>) -> Option<Placed> {
        let seen = self.seen_node(view, Arc::clone(&node)).ok()?;
        if !seen.verdict.sees() {
            return None;
        }
        let mut names = Vec::new();
        let mut above = Arc::clone(&node);
        let granted = loop {
            match above.position() {
                Position::Root => break None,
                Position::Granted(place) => break Some(place),
                Position::Under { parent, name } => {
                    names.push(name);
                    above = parent;
                }
            }
        };
        let (entry, ..) = view.top().find(|(entry, folder, _)| {
            let place = folder.policy.places.get(entry.place);
            let root = place.is_none_or(|place| place.path.is_root());
            entry.folder == node.folder && granted.map_or(root, |granted| granted == entry.place)
        })?;
        let mut named = entry.name.to_vec();
        for name in names.iter().rev() {
            named.push(b'/');
            named.extend_from_slice(name.as_bytes());
        }
        let path = path_of(&seen.folder, &node)?;
        Some(Placed {
            named,
            within: Some((seen.folder, path)),
        })
    }
}
