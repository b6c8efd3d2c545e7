//! lendfs lends folders: it keeps who may do what in which folder, and mounts every user's folders as one
//! FUSE file system in which each system call is judged before it reaches the disk.
//!
//! The map, from the rules to the wire; an arrow in a module's own doc says what it may use:
//!
//! - [`policy`]: who may do what. Pure: no input or output, no clock.
//! - [`store`]: the rules on disk (SQLite), built into a snapshot of `policy`.
//! - [`backing`]: the system calls on the real files. The only place with `unsafe`.
//! - [`vfs`]: the FUSE file system. Every operation passes one `authorize()`.
//! - [`control`]: the control socket's types and client.
//! - [`daemon`]: the life of the process: store, mounts, socket, signals.
//! - [`keeper`]: holds a daemon's mounts and starts the next one, where there is no systemd.
//! - [`cli`]: one file per command.

pub mod backing;
pub mod cli;
pub mod control;
pub mod daemon;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod keeper;
pub mod policy;
pub mod store;
pub mod vfs;
