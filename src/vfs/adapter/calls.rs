//! What a request was about, in the words of people: for what is noted of the ones that are refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Request};

use super::convert::caller;
use crate::vfs::ids::Ino;
use crate::vfs::refusals::Call;

/// A call on a node, to be noted if it is refused.
pub(super) fn on<'a>(req: &Request, word: &'static str, ino: INodeNo) -> Option<Call<'a>> {
    Some(Call::on(caller(req), word, Ino(ino.0)))
}

/// Likewise, on a name in a directory.
pub(super) fn at<'a>(
    req: &Request, word: &'static str, parent: INodeNo, name: &'a OsStr,
) -> Option<Call<'a>> {
    Some(Call::at(caller(req), word, Ino(parent.0), name.as_bytes()))
}

/// Likewise, with a new name.
pub(super) fn between<'a>(call: Option<Call<'a>>, parent: INodeNo, name: &'a OsStr) -> Option<Call<'a>> {
    call.map(|call| call.to(Ino(parent.0), name.as_bytes()))
}

/// The call that opens a file with these flags, as people know it.
pub(super) fn open_call(flags: i32) -> &'static str {
    if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
        "open for writing"
    } else {
        "open for reading"
    }
}

/// Likewise, that changes these attributes.
pub(super) fn attribute_call(mode: Option<u32>, size: Option<u64>, owner: Option<u32>) -> &'static str {
    if size.is_some() {
        "truncate"
    } else if mode.is_some() {
        "chmod"
    } else if owner.is_some() {
        "chown"
    } else {
        "utimens"
    }
}
