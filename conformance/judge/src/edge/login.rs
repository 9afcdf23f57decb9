//! Registries with accounts: who gets access, and with which login (rows 1, 3-6, 47).

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::client::login::{Login, Scheme, parameter};
use harness::client::{Request, Response, Target};
use harness::expect::{self, Faults};
use harness::partial::Partial;
use harness::site::{Site, octets, reading, with_query};

/// The login and scheme of a registry that requires one.
fn wanted(site: &Site) -> anyhow::Result<(&Login, Scheme)> {
    const OPEN: &str = "this registry asks nobody for a login";
    let login = site.target.login.as_deref().ok_or_else(|| expect::not_here(OPEN))?;
    match login.scheme(&site.target)? {
        Scheme::None => Err(expect::not_here(OPEN)),
        scheme => Ok((login, scheme)),
    }
}

/// Expects a 401 that says how to log in.
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
    let Scheme::Bearer { realm, service } = scheme else {
        return Err(expect::not_here("this registry uses no tokens"));
    };
    let (repo, other) = (site.repo("a"), site.repo("b"));
    let pull = |name: &str| login.fetch(&site.target, &realm, service.as_deref(), &[format!("repository:{name}:pull")]);
    for name in [&repo.name, &other.name] {
        let (token, _) = pull(name)?;
        let request = octets(Request::new("POST", repo.uploads())).header("Authorization", format!("Bearer {token}"));
        let answer = site.send(&request)?;
        // The token specification says 403, but the registry that it describes answers 401.
        if !answer.own {
            expect::status(&answer, &[401, 403])?;
            continue;
        }
        let challenge = challenged(&answer)?;
        ensure!(challenge.contains("insufficient_scope"), "no insufficient_scope in {challenge}");
        ensure!(challenge.contains(&repo.name), "the challenge does not say what is needed: {challenge}");
    }
    Ok(())
}

/// The registry, used with the second account's login.
fn as_alt(site: &Site) -> anyhow::Result<Target> {
    const NEEDED: &str = "needs --alt-username, a second account without rights on what the first one pushes";
    wanted(site)?;
    site.target.as_alt().ok_or_else(|| expect::not_here(NEEDED))
}

/// Accepts a refusal, or an answer that hides the content.
fn denied(answer: &Response) -> anyhow::Result<()> {
    let statuses: &[u16] = if answer.own { &[403, 404] } else { &[401, 403, 404] };
    expect::error(answer, statuses, &["DENIED", "NAME_UNKNOWN"])
}

pub fn no_rights_no_access(site: &Site) -> anyhow::Result<()> {
    let target = as_alt(site)?;
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(&site.noise("blob", 1000))?;
    let other = repo.image("other")?;
    let put = Request::new("PUT", repo.manifest("theirs")).header("Content-Type", other.media_type.as_str());
    let requests = [
        Request::get(repo.tags()),
        reading("GET", &repo.manifest("latest")),
        reading("GET", &repo.manifest(&manifest.digest())),
        Request::get(repo.blob(&blob)),
        Request::new("POST", repo.uploads()),
        put.body(other.bytes),
        Request::new("DELETE", repo.manifest("latest")),
    ];
    let mut faults = Faults::default();
    repo.unchanged(&[repo.tags(), repo.manifest("latest"), repo.blob(&blob)], || {
        for request in &requests {
            let answer = target.send(request)?;
            faults.check(&format!("{} {}", request.method, request.path), denied(&answer));
        }
        Ok(())
    })?;
    faults.finish()
}

pub fn no_mount_without_rights(site: &Site) -> anyhow::Result<()> {
    let target = as_alt(site)?;
    let (source, into) = (site.repo("source"), site.repo("target"));
    let digest = source.push_blob(&site.noise("blob", 1000))?;
    let query = format!("mount={digest}&from={}", source.name);
    let answer = target.send(&Request::new("POST", with_query(&into.uploads(), &query)))?;
    // A new session, as if the blob did not exist, reveals no more than a refusal.
    expect::status(&answer, &[202, 401, 403, 404])?;
    expect::absent(&into, &into.blob(&digest))
}

/// Longest token lifetime that the check waits for.
const LIFE: Duration = Duration::from_secs(90);

pub fn a_token_may_expire_under_a_chunk(site: &Site) -> anyhow::Result<()> {
    let (login, scheme) = wanted(site)?;
    let Scheme::Bearer { realm, service } = scheme else {
        return Err(expect::not_here("this registry uses no tokens"));
    };
    let repo = site.repo("a");
    let session = repo.begin()?;
    let scope = format!("repository:{}:pull,push", repo.name);
    let (token, life) = login.fetch(&site.target, &realm, service.as_deref(), &[scope])?;
    if life > LIFE {
        return Err(expect::not_here(&format!("its tokens live for {life:?}, too long to wait")));
    }
    let bytes = site.noise("blob", 2000);
    let fields =
        format!("Content-Type: application/octet-stream\r\nContent-Range: 0-1999\r\nAuthorization: Bearer {token}");
    let mut patch =
        Partial::sized(&site.target.anonymous(), "PATCH", &session.location, &fields, 2000, &bytes[..1000])?;
    let end = Instant::now() + life + Duration::from_secs(1);
    // Slow, but never idle.
    for byte in &bytes[1000..] {
        patch.more(std::slice::from_ref(byte))?;
        if Instant::now() < end {
            std::thread::sleep((end - Instant::now()).min(Duration::from_millis(500)));
        }
    }
    expect::status(&patch.answer()?, &[202])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_not_denied() {
        let answer = |status| Response { status, headers: Vec::new(), body: Vec::new(), own: false };
        assert!(denied(&answer(403)).is_ok() && denied(&answer(404)).is_ok());
        assert!(denied(&answer(200)).is_err() && denied(&answer(202)).is_err());
    }
}
