//! Listeners with TLS and without.

use std::time::Duration;

use anyhow::{Context, ensure};
use harness::authority::Authority;
use harness::client::{Connection, Request, Target};
use harness::program::{Ended, Program};
use harness::server::{ServerOptions, free_port};
use harness::site::Site;

use super::{Secured, end};
use crate::case::Bench;
use crate::hostile::raw::exchange;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs curl with this authority.
fn curl(bench: &Bench, authority: &Authority, words: &[&str]) -> anyhow::Result<Ended> {
    let program = Program::new("curl", &bench.folder.join("curl.log"));
    program.arg("--cacert").arg(authority.certificate()).args(["-sS", "-m", "20"]).args(words).run_any()
}

pub fn protocols(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let options = secured.options.clone();
    let host = format!("localhost:{}", options.port);
    let server = options.env("SKYBERTH_SERVER_LOCATIONS", "absolute").env("SKYBERTH_LOG_ACCESS", "all").start()?;
    let url = format!("https://{host}/v2/");
    let show = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{ssl_verify_result}", &url];
    for (words, expected) in [
        (&["--http2", "--tlsv1.3"][..], "2 200 0"),
        (&["--http1.1", "--tlsv1.3"], "1.1 200 0"),
        (&["--http2", "--tls-max", "1.2"], "2 200 0"),
    ] {
        let ended = curl(bench, &secured.authority, &[words, &show].concat())?;
        ensure!(ended.text() == expected, "{words:?}: {:?}, not {expected:?}", ended.said());
    }
    let old = curl(bench, &secured.authority, &["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", &url])?;
    ensure!(!old.status.success(), "TLS 1.1 is spoken");
    let started = server.target().send(&Request::new("POST", "/v2/a/blobs/uploads/"))?;
    let location = started.need("Location")?.to_owned();
    ensure!(location.starts_with(&format!("https://127.0.0.1:{}/v2/a/", server.target().port)), "{location}");
    // Over HTTP/2 the host is in the target.
    let page = curl(bench, &secured.authority, &["--http2", &format!("https://{host}/")])?.text();
    ensure!(page.contains(&format!("docker push {host}/IMAGE")), "the start page names another host: {page}");
    let log = secured.log();
    ensure!(log.contains(&format!("is ready at https://127.0.0.1:{}", server.target().port)), "{log}");
    ensure!(log.lines().any(|line| line.contains("tls=true") && line.contains("/v2/")), "no request over TLS: {log}");
    let promise = server.target().send(&Request::get("/v2/"))?;
    ensure!(promise.header("Strict-Transport-Security").is_none(), "a promise for a name that nobody gave");
    end(server)?;
    let named = secured.options.env("SKYBERTH_SERVER_URL", "https://registry.example").start()?;
    let promise = named.target().send(&Request::get("/v2/"))?.need("Strict-Transport-Security")?.to_owned();
    ensure!(promise == "max-age=15552000", "{promise}");
    let log = std::fs::read_to_string(&named.options.log)?;
    let warned = log.lines().any(|line| line.contains("WARN") && line.contains("registry.example"));
    ensure!(warned, "nothing warns that the certificate is not for the URL: {log}");
    end(named)
}

pub fn beside(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let plain = Target::local(free_port()?);
    let server = secured.options.clone().env("SKYBERTH_SERVER_PLAIN_LISTEN", &plain.authority()).start()?;
    let target = server.target();
    for one in [&target, &plain] {
        for path in ["/readyz", "/livez", "/v2/"] {
            one.send(&Request::get(path))?.expect(200)?;
        }
    }
    let (https, http) = (Site::new(target.clone(), "beside"), Site::new(plain.clone(), "beside"));
    let repo = https.repo("a");
    let digest = repo.push_blob(b"over TLS")?;
    let pulled = http.repo_named(&repo.name).get(&repo.blob(&digest))?;
    ensure!(pulled.body == b"over TLS", "the plain listener is of another registry");
    // Each says what it speaks.
    let said = exchange(&Target { tls: None, ..target.clone() }, b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", LIMIT)?;
    let text = String::from_utf8_lossy(&said.bytes);
    ensure!(said.statuses() == [400] && text.contains("ask by https"), "{text:?}");
    let hello = Connection::open(&Target { tls: target.tls.clone(), ..plain.clone() })?.send(&Request::get("/"));
    let error = format!("{:#}", hello.err().context("TLS on the plain listener")?);
    ensure!(!error.contains("closed"), "the plain listener hangs up on TLS: {error}");
    let metrics = plain.send(&Request::get("/metrics"))?.text();
    for reason in ["plain", "tls"] {
        let series = format!("skyberth_connections_refused_total{{reason=\"{reason}\"}} 1");
        ensure!(metrics.contains(&series), "no {series}");
    }
    let expiry = metrics.lines().find_map(|line| line.strip_prefix("skyberth_certificate_expiry_time_seconds "));
    ensure!(expiry.is_some_and(|text| text.parse::<f64>().is_ok_and(|time| time > 1.7e9)), "{expiry:?}");
    end(server)
}

pub fn portal_and_gateway(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let folder = bench.folder.join("portal");
    let portal = ServerOptions::new(bench.binary, &folder)?.portal().tls(&secured.authority, &secured.pair)?.start()?;
    let upload = Request::new("POST", "/skynet/skyfile?filename=a")
        .header("Content-Type", "application/octet-stream")
        .body("over TLS");
    let answer = portal.target().send(&upload)?;
    let url = answer.expect(200)?.need("skynet-portal-api")?;
    ensure!(url == format!("https://{}", portal.target().authority()), "{url}");
    end(portal)?;
    let gateway = Target { tls: secured.options.target().tls, ..Target::local(free_port()?) };
    let server = secured.options.clone().env("SKYBERTH_GATEWAY_LISTEN", &gateway.authority()).start()?;
    gateway.send(&Request::get("/livez"))?.expect(200)?;
    end(server)
}

pub fn no_start(bench: &Bench) -> anyhow::Result<()> {
    let secured = Secured::new(bench)?;
    let other = secured.authority.sign("other", "DNS:other.example")?;
    let key = other.key.display().to_string();
    let mut server = secured.options.clone().env("SKYBERTH_SERVER_TLS_KEY", &key).spawn()?;
    let status = server.wait_exit(LIMIT)?;
    let log = secured.log();
    ensure!(!status.success() && log.contains("the key does not belong to the first certificate"), "{status}: {log}");
    ensure!(!secured.options.data.exists(), "a start that fails made a data directory");
    Ok(())
}
