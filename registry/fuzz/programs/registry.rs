//! Runs a fuzz target of `registry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(skyberth::fuzzing::TARGETS, bytes));
