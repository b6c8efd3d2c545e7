//! What fuser leaves to its caller's care.

use fuser::{BackingId, ReplyCreate, ReplyOpen};

/// fuser's own form of the number of a backing file, to be told with an answer and then taken apart again
/// ([`BackingId::into_raw`]): dropped, it would close it.
pub(in crate::backing) fn wrap_for_open(reply: &ReplyOpen, id: u32) -> BackingId {
    // SAFETY: no memory is concerned. A number that the kernel does not know it refuses with EIO.
    unsafe { reply.wrap_backing(id) }
}

/// Likewise.
pub(in crate::backing) fn wrap_for_create(reply: &ReplyCreate, id: u32) -> BackingId {
    // SAFETY: likewise.
    unsafe { reply.wrap_backing(id) }
}
