//! Randomness of the process: the one place that asks the system for it.

/// Random bytes for ids that nobody may guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
    bytes
}
