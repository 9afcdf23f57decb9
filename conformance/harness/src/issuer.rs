//! A small token issuer after distribution's token specification. A token contains the scope that was requested.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::client::login::base64;

/// It lives as long as the process, with a thread that accepts connections.
#[derive(Debug)]
pub struct Issuer {
    authority: String,
    scopes: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    /// Issues tokens with this lifetime, only to this account.
    pub fn start(name: &str, password: &str, life: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let authority = listener.local_addr()?.to_string();
        let scopes = Arc::new(Mutex::new(Vec::new()));
        let (asked, account) =
            (Arc::clone(&scopes), format!("Basic {}", base64(format!("{name}:{password}").as_bytes())));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client sees failures here.
                let _ = answer(&stream, &account, &asked, life);
            }
        });
        Ok(Issuer { authority, scopes })
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn realm(&self) -> String {
        format!("http://{}/token", self.authority)
    }

    /// The requested scopes of each token so far, separated by spaces.
    pub fn scopes(&self) -> Vec<String> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(stream: &TcpStream, account: &str, asked: &Mutex<Vec<String>>, life: Duration) -> std::io::Result<()> {
    let lines: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let known = lines.iter().any(|line| line.strip_prefix("Authorization: ") == Some(account));
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let scopes: Vec<String> = query.split('&').filter_map(|part| part.strip_prefix("scope=")).map(unescape).collect();
    let scopes = scopes.join(" ");
    let (status, body) = match known {
        true => {
            let token = base64(scopes.as_bytes());
            ("200 OK", format!("{{\"token\":{token:?},\"expires_in\":{}}}", life.as_secs()))
        }
        false => ("401 Unauthorized", "{}".to_owned()),
    };
    if known {
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(scopes);
    }
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    (&*stream).write_all((head + &body).as_bytes())
}

fn unescape(text: &str) -> String {
    text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::login::{Account, Login};
    use crate::client::{Request, Target};

    /// A registry that accepts a token only for exactly the scope that a request needs.
    fn registry(realm: String) -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let realm = realm.clone();
                // A client may open a connection, and ask on another how to log in.
                std::thread::spawn(move || converse(&stream, &realm));
            }
        });
        Target::local(port)
    }

    fn converse(stream: &TcpStream, realm: &str) -> std::io::Result<()> {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let scope = match head.first().and_then(|line| line.split(' ').next()) {
            Some("GET") => "repository:a/b:pull",
            _ => "repository:a/b:pull,push repository:c:pull",
        };
        let wanted = format!("Authorization: Bearer {}", base64(scope.as_bytes()));
        let status = if head.contains(&wanted) { 200 } else { 401 };
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"");
        let head = format!("HTTP/1.1 {status} X\r\n{challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        (&*stream).write_all(head.as_bytes())
    }

    #[test]
    fn each_request_brings_a_token_for_what_it_touches() {
        let issuer = Issuer::start("name", "word", Duration::from_mins(5)).unwrap();
        let mut target = registry(issuer.realm());
        let mount = Request::new("POST", "/v2/a/b/blobs/uploads/?mount=sha256:1&from=c");
        let read = Request::get("/v2/a/b/tags/list");
        assert_eq!(target.send(&read).unwrap().status, 401);
        target.login = Some(Arc::new(Login::new(Some(Account::new("name", "word")))));
        for _ in 0..2 {
            assert_eq!(target.send(&read).unwrap().status, 200);
            assert_eq!(target.send(&mount).unwrap().status, 200);
        }
        assert_eq!(issuer.scopes().len(), 2, "tokens are kept: {:?}", issuer.scopes());
        target.login = Some(Arc::new(Login::new(Some(Account::new("name", "other")))));
        assert!(target.send(&read).is_err());
    }
}
