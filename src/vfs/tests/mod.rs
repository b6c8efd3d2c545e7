//! Tests of the file system without a mount: that every request is judged, and judged once; what a move in one
//! mount does to another; what the kernel is told of changes behind the back; where a way that leads nowhere ends;
//! which inode a node is; what directories tell.

mod adapter;
mod again;
mod behind;
pub(super) mod bench;
mod corridors;
mod directory;
mod edits;
mod identity;
mod kept;
mod moved;
mod nodes;
mod questions;
mod refusals;
