//! Runs a fuzz target of `serving`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(serving::fuzzing::TARGETS, bytes));
