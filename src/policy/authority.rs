//! Who may change lines, and who may ask about them.

use std::cell::OnceCell;

use super::explain::explain;
use super::folder::FolderPolicy;
use super::ids::AccountId;
use super::level::{Level, LineLevel, Right, Standing};
use super::line::Principal;
use super::place::PlacePath;
use super::snapshot::{AccountKind, Snapshot};
use super::subject::Subject;
use super::tree::{SubjectTree, Verdict};

/// Why somebody may not change or ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// For all that he may know, it is not there.
    #[error("not found")]
    NotFound,
    /// He has no `administer` there.
    #[error("this needs the level admin at that place: ask the folder's owner")]
    NotAdmin,
    /// Only the owner may.
    #[error("only the folder's owner may do this")]
    NotOwner,
    /// He would give more than he has.
    #[error("nobody gives more than he has: your own level there is {0}")]
    MoreThanHeHas(Level),
    /// The line names himself.
    #[error("nobody changes lines that name himself: ask the folder's owner, or use 'lendfs leave'")]
    Himself,
    /// The line names the owner.
    #[error("the owner has every right already, and lines do not bind him")]
    Owner,
    /// He is a viewer.
    #[error("a viewer cannot create, administer or receive a folder")]
    Viewer,
    /// Root has not confirmed him.
    #[error(
        "the account is frozen: its login name and uid changed; root confirms it with 'lendfs user set NAME frozen=no'"
    )]
    Frozen,
}

/// One who acts, as he stands in a folder.
pub struct Actor<'a> {
    snapshot: &'a Snapshot,
    folder: &'a FolderPolicy,
    subject: Subject,
    tree: OnceCell<SubjectTree>,
}

impl<'a> Actor<'a> {
    /// An account acting in a folder.
    ///
    /// # Errors
    /// If the account is not there, or frozen.
    pub fn new(snapshot: &'a Snapshot, folder: &'a FolderPolicy, account: AccountId) -> Result<Self, Denied> {
        // At the control socket all is online: what one may ask does not depend on where one's mount is.
        let subject = Subject::of(snapshot, account, None, true).ok_or(Denied::NotFound)?;
        if subject.frozen {
            return Err(Denied::Frozen);
        }
        Ok(Self {
            snapshot,
            folder,
            subject,
            tree: OnceCell::new(),
        })
    }

    /// Tells whether the folder is his.
    pub fn is_owner(&self) -> bool {
        self.folder.owner == self.subject.account
    }

    /// Tells whether he sees a place.
    pub fn sees(&self, path: &PlacePath) -> bool {
        self.is_owner() || self.verdict(path).sees()
    }

    /// What the owner alone may do. A viewer may still take back, give away and delete what he owned.
    ///
    /// # Errors
    /// [`Denied::NotFound`] to who does not see the folder, else [`Denied::NotOwner`].
    pub fn owns(&self) -> Result<(), Denied> {
        if self.is_owner() {
            Ok(())
        } else if self.knows_folder() {
            Err(Denied::NotOwner)
        } else {
            Err(Denied::NotFound)
        }
    }

    /// Whether he may look at the lines of a place, or ask about others there.
    ///
    /// # Errors
    /// As for [`Actor::owns`], with [`Denied::NotAdmin`].
    pub fn inspects(&self, path: &PlacePath) -> Result<(), Denied> {
        if self.is_owner() {
            return Ok(());
        }
        let verdict = self.verdict(path);
        if !verdict.sees() {
            Err(Denied::NotFound)
        } else if verdict.rights.contains(Right::Administer) {
            Ok(())
        } else {
            Err(Denied::NotAdmin)
        }
    }

    /// Whether he may write a line at a place.
    ///
    /// # Errors
    /// The reason.
    pub fn writes(&self, path: &PlacePath, principal: Principal, level: LineLevel) -> Result<(), Denied> {
        self.changes(path, principal)?;
        if self.subject.kind == AccountKind::Viewer {
            return Err(Denied::Viewer);
        }
        if self.is_owner() {
            return Ok(());
        }
        let own = self.verdict(path).standing.level();
        if level.in_mount(true) > own {
            Err(Denied::MoreThanHeHas(own))
        } else {
            Ok(())
        }
    }

    /// Whether he may take a line away. Who administers has every level himself, so that nothing that comes back with
    /// it exceeds him.
    ///
    /// # Errors
    /// The reason.
    pub fn removes(&self, path: &PlacePath, principal: Principal) -> Result<(), Denied> {
        self.changes(path, principal)
    }

    fn changes(&self, path: &PlacePath, principal: Principal) -> Result<(), Denied> {
        self.inspects(path)?;
        if principal == Principal::Account(self.folder.owner) {
            return Err(Denied::Owner);
        }
        let himself = match principal {
            Principal::Account(account) => account == self.subject.account,
            // A line of a group that he is in binds him as well.
            Principal::Group(group) => self.subject.groups.contains(&group),
        };
        if himself && !self.is_owner() {
            Err(Denied::Himself)
        } else {
            Ok(())
        }
    }

    /// What holds at a place, for one who walks to it: below what cannot be read there is nothing but where a line
    /// leads on.
    fn verdict(&self, path: &PlacePath) -> Verdict {
        let tree = self
            .tree
            .get_or_init(|| SubjectTree::compile(self.folder, &self.subject));
        let mut at = tree.root();
        for name in path.components() {
            let below = tree.step(at, name);
            if !tree.verdict(at).rights.contains(Right::Read) && !tree.leads(below) {
                return Verdict::default();
            }
            at = below;
        }
        tree.verdict(at)
    }

    fn knows_folder(&self) -> bool {
        !super::snapshot::top_places(self.snapshot, self.subject.account, self.folder).is_empty()
    }
}

/// Whether an account may own a folder.
///
/// # Errors
/// [`Denied::Viewer`], [`Denied::Frozen`].
pub fn may_own(snapshot: &Snapshot, account: AccountId) -> Result<(), Denied> {
    let account = snapshot.accounts.get(&account).ok_or(Denied::NotFound)?;
    match account.kind {
        _ if account.frozen => Err(Denied::Frozen),
        AccountKind::Viewer => Err(Denied::Viewer),
        AccountKind::Member => Ok(()),
    }
}

/// The standing of an account at a path, for messages.
pub fn standing_of(
    snapshot: &Snapshot, folder: &FolderPolicy, account: AccountId, path: &PlacePath,
) -> Standing {
    Subject::of(snapshot, account, None, true).map_or(Standing::Level(Level::Invisible), |subject| {
        explain(folder, &subject, path).verdict.standing
    })
}
