//! Registries with accounts: who is let in, and with what (rows 1, 3, 4).

use anyhow::ensure;
use harness::client::login::{Login, Scheme, parameter};
use harness::client::{Request, Response};
use harness::expect;
use harness::site::{Site, octets};

/// The login of a registry that wants one.
fn wanted(site: &Site) -> anyhow::Result<(&Login, Scheme)> {
    const OPEN: &str = "this registry asks nobody for a login";
    let login = site.target.login.as_deref().ok_or_else(|| expect::not_here(OPEN))?;
    match login.scheme(&site.target)? {
        Scheme::None => Err(expect::not_here(OPEN)),
        scheme => Ok((login, scheme)),
    }
}

/// A 401 that says how to log in.
fn challenged(answer: &Response) -> anyhow::Result<&str> {
    expect::status(answer, &[401])?;
    answer.need("WWW-Authenticate")
}

pub fn anonymous_is_challenged(site: &Site) -> anyhow::Result<()> {
    let (_, scheme) = wanted(site)?;
    let answer = site.target.anonymous().send(&Request::get("/v2/"))?;
    let challenge = challenged(&answer)?;
    ensure!(
        parameter(challenge.split_once(' ').map_or("", |(_, rest)| rest), "realm").is_some(),
        "no realm: {challenge}"
    );
    if let Scheme::Bearer { service, .. } = scheme {
        ensure!(service.is_some(), "no service: {challenge}");
    }
    expect::status(&site.send(&Request::get("/v2/"))?, &[200])
}

pub fn a_bad_login_is_no_login(site: &Site) -> anyhow::Result<()> {
    let (_, scheme) = wanted(site)?;
    let kind = if scheme == Scheme::Basic { "Basic" } else { "Bearer" };
    let path = site.repo("a").tags();
    // The second is "nobody:nothing" in base64.
    for text in ["!", "bm9ib2R5Om5vdGhpbmc=", "a.b.c"] {
        challenged(&site.send(&Request::get(&path).header("Authorization", format!("{kind} {text}")))?)?;
    }
    Ok(())
}

pub fn a_token_for_less_is_not_enough(site: &Site) -> anyhow::Result<()> {
    let (login, scheme) = wanted(site)?;
    let Scheme::Bearer { realm, service } = scheme else { return Err(expect::not_here("there are no tokens here")) };
    let (repo, other) = (site.repo("a"), site.repo("b"));
    let pull = |name: &str| login.fetch(&site.target, &realm, service.as_deref(), &[format!("repository:{name}:pull")]);
    for name in [&repo.name, &other.name] {
        let (token, _) = pull(name)?;
        let request = octets(Request::new("POST", repo.uploads())).header("Authorization", format!("Bearer {token}"));
        let answer = site.send(&request)?;
        // The token specification says 403, and the registry that it describes answers 401.
        if !answer.own {
            expect::status(&answer, &[401, 403])?;
            continue;
        }
        let challenge = challenged(&answer)?;
        ensure!(challenge.contains("insufficient_scope"), "no reason: {challenge}");
        ensure!(challenge.contains(&repo.name), "the challenge does not say what is needed: {challenge}");
    }
    Ok(())
}
