//! Draft.
pub fn run(_round: &super::round::Round) -> anyhow::Result<()> {
    Ok(())
}
