//! Tests of the file system without a mount: that every request is judged, and judged once.

mod adapter;
mod bench;
mod questions;
