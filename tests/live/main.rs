//! Live mounts: a real daemon, real users, real system calls.
//!
//! Needs root and /dev/fuse. Where these are missing the tests say SKIP; with `LENDFS_TEST_MOUNTS=require` they
//! fail instead.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests have no callers, and end where something is not as they expect"
)]

mod common;

mod admission;
mod attributes;
mod audit;
mod behind;
mod boundaries;
mod caching;
mod cases;
mod check;
mod coherent;
mod command_line;
mod confined;
mod control;
mod cut;
mod data;
mod displaced;
mod doctor;
mod door;
mod edit;
mod faults;
mod following;
mod immediate;
mod kill;
mod life;
mod listing;
mod metrics;
mod openapi;
mod ownership;
mod readme;
mod revoking;
mod service;
mod shared_data;
mod survive;
mod table;
mod threads;
mod tied;
mod traces;
mod virtual_attributes;
mod why;
mod writes;
