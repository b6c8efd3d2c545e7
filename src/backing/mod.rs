//! The system calls on the real files: by (directory descriptor, one validated name), or by a descriptor.
//!
//! Decides nothing. Wrappers are named after their man pages, never follow a symbolic link, and return the
//! kernel's own error. `unsafe` stands in [`sys`] alone.

mod confine;
mod credentials;
mod directory;
mod holders;
mod name;
mod open;
mod process;
mod stat;
mod stuck;
#[allow(
    unsafe_code,
    reason = "the one place where the kernel is called without a safe wrapper"
)]
mod sys;
pub mod users;

mod change;
mod data;
mod handle;
mod lock;
mod memory;
mod mount;
mod mounter;
mod notify;
mod teller;
mod thread;
mod top;
mod watch;
mod xattr;

pub use change::{
    RenameFlags, SetTime, chmod, chown, create, link, mkdir, mknod, rename, rmdir, symlink, truncate, unlink,
    utimens, utimens_at,
};
pub use confine::{KEPT_CAPABILITIES, confine};
pub use credentials::{Assumed, Credentials, Lender};
pub use data::{append, copy_file_range, fallocate, read_at, seek_data, seek_hole, sync, write_at};
pub use directory::{DirEntry, DirStream};
pub use handle::{FileHandle, handle, handle_at, open_handle};
pub use holders::{Device, Hold, Holder, Holders, Process, ProcessOwner, Wanted, holders, holds, owner_of};
pub use lock::{Lock, LockKind, ofd_lock, ofd_test};
pub use memory::SharedMemory;
pub use mount::{
    FuseMountOptions, MountTable, Mounted, mount_fuse, unescape as unescape_mountinfo, unmount_left,
};
pub use mounter::{mount_through, mountinfo, serve_mounts};
pub use name::{KeptName, Name, NameError};
pub use notify::{
    backing_of_create, backing_of_open, close_backing, notify_epoch, notify_inode, notify_resend,
};
pub use open::{
    is_within, open_as, open_at, open_beneath, open_path, open_root, path_of, reaches, readlink, reopen,
};
pub use process::{
    Processors, Program, ThreadHandle, clear_umask, has_open, has_room_for, identity_of, left_descriptors,
    own_descriptor, process_of, raise_descriptor_limit, return_freed_memory, return_large_memory,
    signal_pending, spawn_with, started, take_variable,
};
pub use stat::{Birth, FileKind, Stat, StatFs, is_empty, is_fuse, may_search, stat, stat_at, statfs};
pub use stuck::waits_in_a_file_system;
pub use teller::{
    TELLER_COMMAND, asking_thread, serve_teller, start_teller, tell_name, tell_node, tell_pages,
};
pub use thread::{Slot, ThreadId, is_readable, prepare_waking};
pub use top::open_top;
pub use watch::{Change, Changed, Entry, FileSystemId, NameChange, Watch, file_system};
pub use xattr::{get_xattr, list_xattr, remove_acls, remove_xattr, set_xattr};
