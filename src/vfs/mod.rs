//! The FUSE file system of lendfs: what a request means, who is asked, what is done.
//!
//! May use [`crate::policy`] (which decides) and [`crate::backing`] (which acts). Knows nothing of the store, of
//! the socket or of tokio. The way of a request:
//!
//! 1. [`adapter`]: fuser's trait, decoded; the only user of reply objects.
//! 2. `ops`: one plain function an operation. It takes one [`view`] of the policy, finds its nodes (`locate`),
//! 3. asks `authorize`, exactly once, which asks the table in `policy::operation`,
//! 4. and touches the files through [`crate::backing`], with the credentials that [`backing`] names.
//!
//! [`shared`] holds what all mounts have in common: the published policy and the way it changes.

pub mod adapter;
mod again;
pub mod attr;
mod authorize;
pub mod backing;
mod behind;
mod book;
mod budget;
mod census;
mod chores;
mod coherence;
mod counters;
mod cut;
mod descriptors;
mod displace;
mod edits;
pub mod error;
pub mod filesystem;
mod gone;
pub mod handles;
pub mod ids;
mod inode;
mod invalidate;
mod journal;
pub mod kernel;
pub mod latency;
mod leases;
mod locate;
mod locks;
mod maker;
mod marks;
pub mod mount;
mod nameless;
mod names;
pub mod node;
pub mod nodes;
pub mod object;
pub mod ops;
mod paths;
mod pool;
mod processes;
mod reach;
pub mod refusals;
mod resume;
pub mod revoke;
mod settle;
pub mod shared;
pub mod steward;
mod strays;
pub mod timing;
pub mod trial;
mod verify;
pub mod view;
mod watch;
mod writers;

#[cfg(test)]
mod tests;

pub use backing::{Backing, Custody};
pub use error::Error;
pub use filesystem::{Caller, FileSystem, Options};
pub use gone::is_temporary;
pub use journal::Charter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use journal::read_any as read_any_journal;
pub use marks::is_mark_sound;
pub use mount::{Mount, MountRequest};
pub use resume::Keepsake;
pub use revoke::Revoked;
pub use shared::{Held, Shared};
pub use steward::Steward;
pub use strays::{Fate, Stray};
pub use watch::WatchReport;
