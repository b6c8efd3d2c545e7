//! The `lendfs` binary: hands its arguments to the command line.

fn main() {}
