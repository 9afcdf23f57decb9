//! Expectations of a portal's answers.

use anyhow::{Context, ensure};
use harness::client::Response;
use harness::expect::status;
use harness::site::clip;

/// Expects an error as skyd sends it: a status, JSON, and a message that contains these words.
pub fn message(answer: &Response, statuses: &[u16], words: &str) -> anyhow::Result<()> {
    status(answer, statuses)?;
    let kind = answer.need("Content-Type")?;
    ensure!(kind.starts_with("application/json"), "a {} is {kind:?}, not JSON", answer.status);
    let body = answer.json()?;
    let said = body["message"].as_str().with_context(|| format!("no message in {}", clip(&answer.text())))?;
    ensure!(!said.is_empty(), "the message is empty");
    ensure!(said.to_lowercase().contains(&words.to_lowercase()), "the message should say {words:?}, is {said:?}");
    Ok(())
}

/// Expects a refused request. Skyd answers some of them with 500.
pub fn refused(answer: &Response, words: &str) -> anyhow::Result<()> {
    message(answer, &[400, 500], words)
}

/// Expects a header that begins with this.
pub fn begins(answer: &Response, name: &str, want: &str) -> anyhow::Result<()> {
    let got = answer.need(name)?;
    ensure!(got.starts_with(want), "{name} should begin with {want:?}, is {got:?}");
    Ok(())
}

/// Expects this body, byte for byte.
pub fn body(answer: &Response, want: &[u8]) -> anyhow::Result<()> {
    let (got, sent) = (String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(want));
    ensure!(answer.body == want, "the body should be {:?}, is {:?}", clip(&sent), clip(&got));
    Ok(())
}
