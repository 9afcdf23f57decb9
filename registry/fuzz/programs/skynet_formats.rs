//! Runs a fuzz target of `skynet-formats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(skynet_formats::fuzzing::TARGETS, bytes));
