#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lendfs::fuzzing::journal(bytes));
