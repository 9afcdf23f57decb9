//! The `skyberth` binary.

fn main() {}
