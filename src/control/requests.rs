//! The requests, one type for each command.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Command;
use super::answers as answer;
use super::wire::{Bytes, PlaceRef};

macro_rules! request {
    ($(#[$doc:meta])* $name:ident = $word:literal -> $answer:ty { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        #[schema(as = request::$name)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Command for $name {
            const NAME: &'static str = $word;
            type Answer = $answer;
        }
    };
}

request! {
    /// Makes a folder.
    Create = "create" -> answer::Said {
        /// Its name.
        name: String,
        /// A directory to adopt, as an absolute path.
        path: Option<Bytes>,
        /// `override` or `widen`.
        #[schema(pattern = "^(override|widen)$")]
        inherit: Option<String>,
    }
}
request! {
    /// The caller's folders.
    List = "list" -> Vec<answer::Folder> {}
}
request! {
    /// Gives a folder another name.
    Rename = "rename" -> answer::Said {
        /// Which.
        folder: PlaceRef,
        /// Its new name.
        new: String,
    }
}
request! {
    /// Deletes a folder.
    Delete = "delete" -> answer::Said {
        /// Which.
        folder: PlaceRef,
        /// Even if it is shared or mounted.
        force: bool,
    }
}
request! {
    /// Gives a folder another owner.
    Transfer = "transfer" -> answer::Said {
        /// Which.
        folder: PlaceRef,
        /// To whom.
        to: String,
    }
}
request! {
    /// Sets a property of a folder, or tells all of them.
    Set = "set" -> answer::Said {
        /// Which.
        folder: PlaceRef,
        /// `KEY=VALUE`
        assignment: Option<String>,
    }
}
request! {
    /// Shares a place.
    Share = "share" -> answer::Said {
        /// Which.
        place: PlaceRef,
        /// With whom.
        with: String,
        /// The level.
        #[schema(pattern = "^(invisible|locked|view|edit|full|admin|online-view|online-edit)$")]
        level: String,
    }
}
request! {
    /// Takes a share or an invitation back.
    Unshare = "unshare" -> answer::Said {
        /// Which.
        place: PlaceRef,
        /// From whom.
        with: String,
        /// His processes that still hold what is taken back are ended.
        #[serde(default)]
        kill: bool,
    }
}
request! {
    /// The caller's invitations.
    Invitations = "invitations" -> Vec<answer::Invitation> {}
}
request! {
    /// Accepts an invitation.
    Accept = "accept" -> answer::Said {
        /// Which.
        place: PlaceRef,
        /// Under which name.
        name: Option<String>,
    }
}
request! {
    /// Declines an invitation.
    Decline = "decline" -> answer::Said {
        /// Which.
        place: PlaceRef,
    }
}
request! {
    /// Leaves a folder.
    Leave = "leave" -> answer::Said {
        /// Which.
        folder: PlaceRef,
    }
}
request! {
    /// Writes a rule.
    Permit = "permit" -> answer::Said {
        /// Where.
        place: PlaceRef,
        /// For whom.
        principal: String,
        /// The level.
        #[schema(pattern = "^(invisible|locked|view|edit|full|admin|online-view|online-edit)$")]
        level: String,
        /// His processes that still hold what is taken back are ended.
        #[serde(default)]
        kill: bool,
    }
}
request! {
    /// Takes a rule away.
    Unpermit = "unpermit" -> answer::Said {
        /// Where.
        place: PlaceRef,
        /// For whom.
        principal: String,
    }
}
request! {
    /// All lines of a folder.
    Permissions = "permissions" -> answer::Permissions {
        /// Which.
        folder: PlaceRef,
    }
}
request! {
    /// A verdict with its reasons.
    Explain = "explain" -> answer::Explanation {
        /// Where.
        place: PlaceRef,
        /// For whom, if not the caller.
        principal: Option<String>,
        /// As in a mount that is declared online.
        online: bool,
    }
}
request! {
    /// What `ls` shows of a directory beside its files: where it is mounted, and the lines of
    /// others in it.
    Around = "around" -> answer::Around {
        /// Which; a mount without a path is the list of folders.
        directory: PlaceRef,
    }
}
request! {
    /// Mounts the caller's folders.
    Mount = "mount" -> answer::Said {
        /// Where, as an absolute path.
        at: Bytes,
        /// The kernel refuses every change.
        read_only: bool,
        /// Nothing exceeds this level.
        #[schema(pattern = "^(invisible|locked|view|edit|full|admin)$")]
        ceiling: Option<String>,
        /// It is a managed session.
        online: bool,
        /// Others than the subject are let in.
        admit_all: bool,
        /// The kernel applies modes and owners.
        default_permissions: bool,
        /// Everything is shown to belong to this `UID:GID`.
        #[schema(pattern = "^[0-9]+:[0-9]+$")]
        own: Option<String>,
        /// What is open is cut at once when the policy changes.
        strict: bool,
    }
}
request! {
    /// Unmounts.
    Umount = "umount" -> answer::Said {
        /// Where, as an absolute path.
        at: Bytes,
        /// Lets those who have something open finish.
        lazy: bool,
    }
}
request! {
    /// The mounts: the caller's; all of them for root.
    Mounts = "mounts" -> Vec<answer::Mount> {}
}
request! {
    /// Adds an account, or sets its properties.
    UserAdd = "user-add" -> answer::Said {
        /// The login name.
        name: String,
        /// The e-mail address.
        email: Option<String>,
        /// `member` or `viewer`.
        #[schema(pattern = "^(member|viewer)$")]
        kind: Option<String>,
    }
}
request! {
    /// Sets a property of an account.
    UserSet = "user-set" -> answer::Said {
        /// The login name.
        name: String,
        /// `email=`, `type=` or `frozen=no`.
        assignment: String,
    }
}
request! {
    /// The accounts.
    UserList = "user-list" -> Vec<answer::User> {}
}
request! {
    /// Removes an account.
    UserRemove = "user-remove" -> answer::Said {
        /// The login name.
        name: String,
    }
}
request! {
    /// Makes a group.
    GroupCreate = "group-create" -> answer::Said {
        /// Its name.
        group: String,
    }
}
request! {
    /// Removes a group.
    GroupDelete = "group-delete" -> answer::Said {
        /// Its name.
        group: String,
    }
}
request! {
    /// Adds an account to a group, or removes it.
    GroupMember = "group-member" -> answer::Said {
        /// The group's name.
        group: String,
        /// The account.
        name: String,
        /// In, or out.
        member: bool,
    }
}
request! {
    /// The groups.
    GroupList = "group-list" -> Vec<answer::Group> {}
}
request! {
    /// What happened.
    Audit = "audit" -> answer::Audit {
        /// In one folder, or at and below a place in it.
        folder: Option<PlaceRef>,
        /// By or for one account.
        account: Option<String>,
        /// By one account.
        actor: Option<String>,
        /// `change` or `refusal`.
        #[schema(pattern = "^(change|refusal)$")]
        kind: Option<String>,
        /// With one word: a command's, or `refused`.
        action: Option<String>,
        /// Not before this, in milliseconds since 1970.
        since: Option<i64>,
        /// Before this.
        until: Option<i64>,
        /// At most so many lines, the newest; after a number, the oldest.
        limit: u32,
        /// Only what came after this, as an earlier answer told it.
        after: Option<i64>,
        /// Where there is nothing yet, the answer comes when there is, or empty after a while.
        wait: bool,
    }
}
request! {
    /// How the daemon runs.
    Status = "status" -> answer::Status {}
}
request! {
    /// What this machine offers and lacks.
    Doctor = "doctor" -> Vec<answer::Finding> {}
}
request! {
    /// The store against the disk: begins, or asks on. Who does not ask on for a while ends it.
    Check = "check" -> answer::Checking {
        /// Whether what is safe to be repaired is repaired.
        #[serde(default)]
        repair: bool,
        /// The number of the check that is asked on.
        #[serde(default)]
        job: Option<u64>,
    }
}
request! {
    /// What was refused to the caller's processes of late.
    Why = "why" -> answer::Why {
        /// Only what was noted after this, as an earlier answer told it.
        after: Option<u64>,
        /// Where there is nothing yet, the answer comes when there is, or empty after a while.
        wait: bool,
    }
}
