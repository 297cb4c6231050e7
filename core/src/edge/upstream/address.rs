//! Where upstream is, and where its redirects and links may lead: nowhere but to itself, because the
//! server-side key goes along.

use std::fmt::{self, Write as _};

use http::Uri;

/// The root of a Flagsmith API, such as `https://edge.api.flagsmith.com/api/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(Address);

/// Why a text is not the root of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the root of a Flagsmith API: expected http(s)://host[:port]/path without user, query or fragment"
)]
pub struct RootError;

/// An absolute URL over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    secure: bool,
    /// Host and port, lower case.
    authority: String,
    path_and_query: String,
}

impl Root {
    /// Reads a root; slashes at its end do not matter.
    pub fn parse(text: &str) -> Result<Self, RootError> {
        let mut address = Address::parse(text.trim()).ok_or(RootError)?;
        if address.path_and_query.contains('?') {
            return Err(RootError);
        }
        let length = address.path_and_query.trim_end_matches('/').len();
        address.path_and_query.truncate(length);
        Ok(Self(address))
    }

    /// Where the environment document is.
    pub(super) fn document(&self) -> Address {
        self.below("/environment-document/")
    }

    /// Where a link of the document's leads: the path is percent-decoded once and taken from the root
    /// (clients.md 1.1).
    pub(super) fn link(&self, target: &str) -> Option<Address> {
        let decoded = super::super::query::percent_decode(target);
        self.below("/").join(&decoded)
    }

    fn below(&self, path: &str) -> Address {
        let mut address = self.0.clone();
        address.path_and_query.push_str(path);
        address
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let text = text.split('#').next()?;
        let uri: Uri = escaped(text).parse().ok()?;
        let authority = uri.authority()?.as_str();
        if authority.contains('@') || uri.host()?.is_empty() {
            return None;
        }
        Some(Self {
            secure: match uri.scheme_str()? {
                "https" => true,
                "http" => false,
                _ => return None,
            },
            authority: authority.to_ascii_lowercase(),
            path_and_query: uri.path_and_query()?.as_str().to_owned(),
        })
    }

    /// Another URL, as a reference from this one (RFC 3986, 5.2; dots in paths stay, servers know them).
    pub(super) fn join(&self, reference: &str) -> Option<Self> {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let scheme = if self.secure { "https" } else { "http" };
        let here = format!("{scheme}://{}", self.authority);
        let has_scheme = reference
            .split_once("://")
            .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()));
        if has_scheme {
            Self::parse(reference)
        } else if reference.starts_with("//") {
            Self::parse(&format!("{scheme}:{reference}"))
        } else if reference.starts_with('/') {
            Self::parse(&format!("{here}{reference}"))
        } else if reference.starts_with('?') {
            Self::parse(&format!("{here}{path}{reference}"))
        } else {
            let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            Self::parse(&format!("{here}{directory}{reference}"))
        }
    }

    /// Whether a secret that was meant for this place may go to the other: the same host, and never from TLS
    /// to none. Another port is another server, unless it comes with the change to TLS.
    pub(super) fn may_lead_to(&self, other: &Self) -> bool {
        let host = |address: &Self| {
            let authority = &address.authority;
            let port = authority.rfind(':').filter(|at| {
                authority[at + 1..]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
            });
            authority[..port.unwrap_or(authority.len())].to_owned()
        };
        match (self.secure, other.secure) {
            (false, true) => host(self) == host(other),
            (true, false) => false,
            _ => self.authority == other.authority,
        }
    }

    /// Host and port, for messages.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

/// With what may not stand in a URL percent-encoded; what is encoded stays so.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_graphic() && !matches!(character, '"' | '<' | '>' | '\\' | '^' | '`')
        {
            out.push(character);
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a text cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Root {
        Root::parse(text).unwrap()
    }

    #[test]
    fn roots() {
        for text in [
            "https://edge.api.flagsmith.com/api/v1",
            " https://Edge.api.flagsmith.com/api/v1// ",
        ] {
            assert_eq!(
                root(text).document().to_string(),
                "https://edge.api.flagsmith.com/api/v1/environment-document/"
            );
        }
        assert_eq!(
            root("http://[::1]:8000").document().to_string(),
            "http://[::1]:8000/environment-document/"
        );
        for text in [
            "",
            "edge.api.flagsmith.com/api/v1",
            "ftp://host/api/v1",
            "https://user:secret@host/api/v1",
            "https://host/api/v1?x=1",
            "https:///api/v1",
        ] {
            assert_eq!(Root::parse(text), Err(RootError), "{text}");
        }
    }

    #[test]
    fn links_are_decoded_and_relative_to_the_root() {
        let root = root("https://host/api/v1");
        for (target, url) in [
            (
                "/api/v1/environment-document/?page_id=identity_override%3A1%3Aab",
                "https://host/api/v1/environment-document/?page_id=identity_override:1:ab",
            ),
            (
                "/api/v1/environment-document/%3Fpage_id%3Da%20b",
                "https://host/api/v1/environment-document/?page_id=a%20b",
            ),
            (
                "environment-document/?page_id=2",
                "https://host/api/v1/environment-document/?page_id=2",
            ),
            ("https://host/x?page_id=2", "https://host/x?page_id=2"),
            ("//other/x", "https://other/x"),
        ] {
            assert_eq!(root.link(target).unwrap().to_string(), url, "{target}");
        }
    }

    #[test]
    fn the_key_goes_to_the_same_host_only() {
        let here = |text| Address::parse(text).unwrap();
        for (from, to, may) in [
            ("https://host/a", "https://HOST/b", true),
            ("http://host/a", "https://host/a", true),
            ("http://host:80/a", "https://host:443/a", true),
            ("http://[::1]/a", "https://[::1]/a", true),
            ("https://host/a", "http://host/a", false),
            ("https://host/a", "https://host:444/a", false),
            ("https://host/a", "https://other/a", false),
            ("http://host/a", "https://host.evil/a", false),
        ] {
            assert_eq!(here(from).may_lead_to(&here(to)), may, "{from} {to}");
        }
    }

    #[test]
    fn redirects_are_relative_to_the_request() {
        let from = Address::parse("https://host/api/v1/environment-document/?page_id=1").unwrap();
        for (reference, url) in [
            ("/api/v2/doc", "https://host/api/v2/doc"),
            (
                "?page_id=2",
                "https://host/api/v1/environment-document/?page_id=2",
            ),
            ("next", "https://host/api/v1/environment-document/next"),
            ("http://a/b#c", "http://a/b"),
        ] {
            assert_eq!(from.join(reference).unwrap().to_string(), url);
        }
        assert_eq!(from.join("javascript://x"), None);
    }
}
