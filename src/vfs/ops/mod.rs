//! The operations, one file per family, as plain functions that run without a mount.
//!
//! Each takes numbers and names as the kernel sends them, finds what they mean in one view of the policy, asks
//! [`FileSystem::authorize`](super::filesystem::FileSystem) once, and acts.

mod attributes;
mod create;
mod data;
mod directory;
mod link;
mod lock;
mod lookup;
mod open;
mod remove;
mod rename;
mod space;
mod top;
mod virtual_xattr;
mod xattr;

pub use attributes::{AccessMask, SetAttr};
pub use data::Whence;
pub use directory::{OpenedDirectory, Sink};
pub(super) use lock::open_for;
pub(super) use lookup::parse_name;
pub use open::{Opening, Route};
pub use rename::RenameFlags;
pub use xattr::SetXattr;
