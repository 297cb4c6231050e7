//! The pair of keys of one environment.

use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::snapshot::ServerKey;

/// A server-side key, which opens the environment's document, and the client-side key that SDKs name it by.
/// Its `Debug` form does not tell the former.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    server: String,
    client: String,
}

/// Pairs as edge-proxy writes them, in JSON: `[{"server_side_key": "ser.…", "client_side_key": "…"}]`. The error
/// tells which is wrong and no key's text.
pub fn read_key_pairs(json: &str) -> Result<Vec<KeyPair>, String> {
    #[derive(Deserialize)]
    struct Pair {
        server_side_key: String,
        client_side_key: String,
    }
    let pairs: Vec<Pair> = serde_json::from_str(json).map_err(|error| {
        format!(
            "not a list of key pairs, at line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    let read = |(number, pair): (usize, &Pair)| {
        KeyPair::new(&pair.server_side_key, &pair.client_side_key)
            .map_err(|error| format!("pair {number}: {error}"))
    };
    pairs.iter().enumerate().map(read).collect()
}

/// Why two texts are not a pair of keys. Says nothing of a server-side key's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyPairError {
    /// The server-side key is not one.
    #[error("a server-side key starts with \"ser.\" and is visible ASCII")]
    Server,
    /// The client-side key is not one.
    #[error("a client-side key is not empty, visible ASCII, and does not start with \"ser.\"")]
    Client,
}

impl KeyPair {
    /// A pair; white space around the keys is dropped.
    pub fn new(server: &str, client: &str) -> Result<Self, KeyPairError> {
        let (server, client) = (server.trim(), client.trim());
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if server.len() <= "ser.".len() || !server.starts_with("ser.") || !is_visible(server) {
            return Err(KeyPairError::Server);
        }
        if client.is_empty() || client.starts_with("ser.") || !is_visible(client) {
            return Err(KeyPairError::Client);
        }
        Ok(Self {
            server: server.to_owned(),
            client: client.to_owned(),
        })
    }

    /// The client-side key.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The server-side key; never to be logged.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// SHA-256 of the server-side key, lower-case hex.
    pub fn server_hash(&self) -> String {
        hex::encode(&self.server_digest())
    }

    /// The same as bytes.
    pub(super) fn server_digest(&self) -> [u8; 32] {
        Sha256::digest(&self.server).into()
    }

    /// The server-side key as a snapshot holds it.
    pub(super) fn server_key(&self, active: bool) -> ServerKey {
        ServerKey {
            sha256: self.server_hash(),
            active,
            expires_at_micros: None,
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_checked_and_never_shows_its_secret() {
        let pair = KeyPair::new(" ser.abc ", "client\n").unwrap();
        assert_eq!(pair.client(), "client");
        assert_eq!(pair.server_hash(), hex::encode(&Sha256::digest(b"ser.abc")));
        assert!(!format!("{pair:?}").contains("abc"));
        for server in ["", "abc", "ser.", "ser.a b", "ser.\u{e9}"] {
            assert_eq!(KeyPair::new(server, "c"), Err(KeyPairError::Server));
        }
        for client in ["", " ", "ser.abc", "a b"] {
            assert_eq!(KeyPair::new("ser.abc", client), Err(KeyPairError::Client));
        }
    }

    #[test]
    fn a_list_of_pairs() {
        let json = r#"[{"server_side_key": "ser.a", "client_side_key": "b", "note": 1}]"#;
        assert_eq!(
            read_key_pairs(json),
            Ok(vec![KeyPair::new("ser.a", "b").unwrap()])
        );
        for json in [
            r#"{"ser.secret": "b"}"#,
            r#"[{"server_side_key": "sek.secret", "client_side_key": "b"}]"#,
            "ser.secret",
        ] {
            let told = read_key_pairs(json).unwrap_err();
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
