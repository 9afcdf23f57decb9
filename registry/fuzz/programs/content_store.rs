//! Runs a fuzz target of `content-store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run(content_store::fuzzing::TARGETS, bytes));
