//! Who may ask.

use crate::ServeError;
use crate::refusal::Refusal;
use axum::http::{HeaderMap, header};
use std::hint::black_box;
use std::net::IpAddr;

/// A shorter token could be guessed.
const LEAST: usize = 16;

/// What clients must show.
#[derive(Clone)]
pub struct Access {
    token: Option<String>,
    /// Without a token: whether only this machine's own names are answered, so that no page of the web reaches the server by a
    /// name of its own that leads here.
    local: bool,
}

impl Access {
    /// For a server at `address`.
    ///
    /// # Errors
    /// An address that others reach, without a token, unless `insecure` says so; a token that can be guessed, or sent by no
    /// header.
    pub fn new(address: IpAddr, token: Option<String>, insecure: bool) -> Result<Self, ServeError> {
        if let Some(token) = &token
            && (token.len() < LEAST || !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(ServeError::Token(LEAST));
        }
        if token.is_none() && !insecure && !address.is_loopback() {
            return Err(ServeError::Unsafe(address));
        }
        Ok(Self { local: token.is_none() && address.is_loopback(), token })
    }

    /// Whether a request may be answered. The page and the health are for all: neither tells anything.
    pub fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or_default();
        if self.local && !is_local(host) {
            return Err(Refusal::Origin(format!("{host:?} is not a name of this machine: ask for 127.0.0.1")));
        }
        // A page of another site may send requests, and a browser says whose it is.
        if let Some(origin) = text(header::ORIGIN).filter(|_| self.token.is_none())
            && origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
        {
            return Err(Refusal::Origin(format!("pages of {origin:?} may not ask here: use a token (--token-file)")));
        }
        match &self.token {
            Some(token) if !matches!(path, "/" | "/health") => {
                let sent = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
                let sent =
                    sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
                if sent.is_some_and(|sent| equal(sent.as_bytes(), token.as_bytes())) {
                    Ok(())
                } else {
                    Err(Refusal::Token)
                }
            }
            _ => Ok(()),
        }
    }
}

/// Whether a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// In a time that tells nothing but the length.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| black_box(differ | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect::<HeaderMap>()
    }

    const TOKEN: &str = "0123456789abcdef";

    // Seen red: the first byte left out of the comparison.
    #[test]
    fn only_who_has_the_token() {
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let access = Access::new(any, Some(TOKEN.into()), false).unwrap();
        let ask = |path: &str, sent: &str| access.check(path, &headers(&[("host", "x.org"), ("authorization", sent)]));
        assert_eq!(ask("/v1/models", &format!("Bearer {TOKEN}")), Ok(()));
        assert_eq!(ask("/v1/models", &format!("bearer  {TOKEN}")), Ok(()));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdeg",
            "Bearer 1123456789abcdef",
        ] {
            assert_eq!(ask("/v1/models", wrong), Err(Refusal::Token), "{wrong}");
            assert_eq!((ask("/health", wrong), ask("/", wrong)), (Ok(()), Ok(())));
        }
        assert!(matches!(Access::new(any, None, false), Err(ServeError::Unsafe(_))));
        assert!(Access::new(any, None, true).is_ok());
        assert!(matches!(Access::new(any, Some("short".into()), true), Err(ServeError::Token(_))));
        assert!(matches!(Access::new(any, Some("0123456789abcde f".into()), true), Err(ServeError::Token(_))));
    }

    // Seen red: an origin not compared.
    #[test]
    fn no_page_of_the_web_asks() {
        let access = Access::new("127.0.0.1".parse().unwrap(), None, false).unwrap();
        for host in ["127.0.0.1:80", "localhost", "LocalHost:8080", "[::1]:80", "127.1.2.3"] {
            assert_eq!(access.check("/", &headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["", "localhost.evil.org", "evil.org:80", "10.0.0.1", "127.0.0.1.evil.org", "[::2]"] {
            assert!(access.check("/", &headers(&[("host", host)])).is_err(), "{host}");
        }
        let from = |origin| access.check("/", &headers(&[("host", "localhost:80"), ("origin", origin)]));
        assert_eq!(from("http://localhost:80"), Ok(()));
        assert!(from("http://evil.org").is_err() && from("null").is_err() && from("http://localhost:81").is_err());
    }
}
