//! Tests of the file system without a mount: that every request is judged, and judged once; what a move in one
//! mount does to another; where a way that leads nowhere ends; which inode a node is;
//! what directories tell.

mod adapter;
pub(super) mod bench;
mod corridors;
mod directory;
mod identity;
mod memory;
mod moved;
mod questions;
