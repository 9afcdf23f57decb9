//! Runs a fuzz target of `portal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(portal::fuzzing::TARGETS, bytes));
