//! Random bytes: the one place that asks the operating system for them.

/// Random bytes for ids that must be unguessable.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
    bytes
}
