//! Which lines of the audit somebody may see, and what of them.
//!
//! Of what others did at a place he is told if he administers it; of what he did himself always, but of the place only if
//! he sees it. A line tells its place by the name that this had then: where it cannot be judged by that who may see it
//! now, nobody is told of it who does not see everything.

use serde_json::Value;

use crate::daemon::core::{Caller, Core};
use crate::daemon::error::Result;
use crate::daemon::resolve::Found;
use crate::policy::authority::Actor;
use crate::policy::{FolderId, FolderPolicy, PlacePath, Right, Snapshot, Subject, SubjectTree};
use crate::store::AuditLine;

/// What the details tell of places.
const PATHS: [&str; 2] = ["path", "to"];
/// What of the details is nobody's business but of the one who did it: his processes, and what he calls a folder.
const PRIVATE: [&str; 5] = ["program", "pid", "process", "name", "of"];

/// Somebody who reads the audit.
pub(super) struct Reader<'a> {
    core: &'a Core,
    caller: &'a Caller,
    /// Whether he is root, who reads as such.
    all: bool,
    /// Lines up to this number are of another who had his login name.
    before: i64,
}

impl<'a> Reader<'a> {
    /// The caller, as he reads.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn new(core: &'a Core, caller: &'a Caller) -> Result<Self> {
        Ok(Self {
            core,
            caller,
            all: reads_all(caller),
            before: core.store.removal_of(&caller.account.login)?,
        })
    }

    /// Tells whether he sees everything.
    pub(super) fn is_root(&self) -> bool {
        self.all
    }

    /// Leaves out of lines what he may not see. `asked` is the place that he asked about, in the one folder that they
    /// are about then; without one he asked about himself.
    pub(super) fn leave_out(&self, lines: &mut Vec<AuditLine>, asked: Option<&PlacePath>) {
        if let Some(below) = asked.filter(|below| !below.is_root()) {
            let within = |path: &PlacePath| path.starts_with(below);
            lines.retain(|line| {
                paths(line).is_some_and(|paths| !paths.is_empty() && paths.iter().any(within))
            });
        }
        if self.all {
            return;
        }
        let mut folders = Folders::new(self.core, self.caller);
        lines.retain_mut(|line| {
            let own =
                line.id > self.before && [&line.actor, &line.account].contains(&&self.caller.account.login);
            if asked.is_none() && !own {
                return false;
            }
            let Some(folder) = line.folder.map(FolderId) else {
                return own;
            };
            let shown = match paths(line) {
                Some(paths) => paths.iter().all(|path| folders.shows(folder, path, own)),
                None => folders.shows_all(folder),
            };
            if own && !shown {
                withhold(line, &PATHS);
            }
            if !own {
                withhold(line, &PRIVATE);
            }
            own || shown
        });
    }
}

fn withhold(line: &mut AuditLine, keys: &[&str]) {
    if let Value::Object(details) = &mut line.details {
        details.retain(|key, _| !keys.contains(&&**key));
    }
}

/// Tells whether somebody is root and asks for himself.
pub(super) fn reads_all(caller: &Caller) -> bool {
    caller.is_root() && caller.account.uid == 0
}

/// The places that a line tells of; `None` if what it tells is no place that can be found again by that.
fn paths(line: &AuditLine) -> Option<Vec<PlacePath>> {
    // What else is called so is a name of the folder itself, or of its owner.
    let keys = if line.details.get("path").is_some() {
        &PATHS[..]
    } else {
        &[]
    };
    keys.iter()
        .filter_map(|key| line.details.get(key).filter(|value| !value.is_null()))
        .map(|path| {
            let path = path.as_str().filter(|path| !path.contains('\u{fffd}'))?;
            PlacePath::parse(path.as_bytes()).ok()
        })
        .collect()
}

/// The folders of the lines, as one account stands in them.
struct Folders<'a> {
    core: &'a Core,
    caller: &'a Caller,
    known: Vec<(FolderId, Option<Standing<'a>>)>,
}

struct Standing<'a> {
    policy: &'a FolderPolicy,
    actor: Actor<'a>,
    sees_all: bool,
}

impl<'a> Folders<'a> {
    fn new(core: &'a Core, caller: &'a Caller) -> Self {
        Self {
            core,
            caller,
            known: Vec::new(),
        }
    }

    /// Whether a place is shown; `own` is what the account did itself there.
    fn shows(&mut self, folder: FolderId, path: &PlacePath, own: bool) -> bool {
        let core = self.core;
        let Some(standing) = self.standing(folder) else {
            // The folder itself he knew, and what was in it is gone.
            return own && path.is_root();
        };
        let Standing {
            policy,
            actor,
            sees_all,
        } = standing;
        if own && path.is_root() {
            return true;
        }
        // Where no line stands, something else may have been then, which is hidden now where it went.
        let found = path.is_root() || *sees_all || policy.places.find(path).is_some();
        if !found || actor.inspects(path).is_ok() {
            return found;
        }
        // A way leads only to what is there.
        own && actor.sees(path) && (*sees_all || is_there(core, folder, path))
    }

    /// Whether everything in a folder is shown.
    fn shows_all(&mut self, folder: FolderId) -> bool {
        let standing = self.standing(folder);
        standing
            .is_some_and(|standing| standing.sees_all && standing.actor.inspects(&PlacePath::root()).is_ok())
    }

    fn standing(&mut self, folder: FolderId) -> Option<&Standing<'a>> {
        let known = self.known.iter().position(|(known, _)| *known == folder);
        let index = known.unwrap_or_else(|| {
            let snapshot = &self.core.snapshot;
            let standing = snapshot.folders.get(&folder).and_then(|policy| {
                Some(Standing {
                    policy,
                    actor: Actor::new(snapshot, policy, self.caller.account.id).ok()?,
                    sees_all: sees_all(snapshot, policy, self.caller),
                })
            });
            self.known.push((folder, standing));
            self.known.len() - 1
        });
        self.known[index].1.as_ref()
    }
}

fn is_there(core: &Core, folder: FolderId, path: &PlacePath) -> bool {
    let Ok(Some(folder)) = core.store.folder(folder) else {
        return false;
    };
    let found = Found {
        folder,
        path: path.clone(),
        typed: String::new(),
    };
    core.target(&found).is_ok_and(|target| target.is_some())
}

fn sees_all(snapshot: &Snapshot, policy: &FolderPolicy, caller: &Caller) -> bool {
    Subject::of(snapshot, caller.account.id, None, true).is_some_and(|subject| {
        let tree = SubjectTree::compile(policy, &subject);
        tree.all_below(tree.root(), Right::See)
    })
}
