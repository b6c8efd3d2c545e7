//! Tests of the file system without a mount: that every request is judged, and judged once; what a move in one
//! mount does to another.

mod adapter;
mod bench;
mod moved;
mod questions;
