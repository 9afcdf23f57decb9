//! Runs a fuzz target of `backends`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(backends::fuzzing::TARGETS, bytes));
