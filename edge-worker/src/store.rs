//! The KV namespace, and what lies in it under which key.
//!
//! | key | value |
//! |---|---|
//! | `env/<client key>` | the current snapshot, whole: one read makes a cold isolate ready |
//! | `snap/<client key>/<version>` | the same bytes under their version, which no cache can hold stale |
//! | `part/<client key>/<sha256>` | a part of the snapshots that name it: a piece of the environment document, or a bucket of identity overrides |
//! | `key/<sha256>` | the client key of the environment that a server-side key opens |
//!
//! Reads may be up to a minute behind where a value was read before (KV's own cache). Keys with a
//! version or a hash never mean anything else, so they cannot be stale; `env/` and `key/` can, and
//! [`crate::snapshots`] says what follows.

use std::fmt;

use bytes::Bytes;
use worker::Env;
use worker::kv::{KvError, KvStore};
use yardarm_core::edge::Unavailable;

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "SNAPSHOTS";
/// Longest key that KV takes, in bytes.
const MAX_KEY: usize = 512;

/// A key, which also says what its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// The current snapshot of an environment.
    Environment(&'a str),
    /// The snapshot of one version.
    Snapshot(&'a str, u64),
    /// A part of an environment's snapshots, by SHA-256 in hex.
    Part(&'a str, &'a str),
    /// The environment that a server-side key (SHA-256, hex) opens.
    Server(&'a str),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(key) => write!(f, "env/{}", Escaped(key)),
            Self::Snapshot(key, version) => write!(f, "snap/{}/{version}", Escaped(key)),
            Self::Part(key, sha256) => write!(f, "part/{}/{sha256}", Escaped(key)),
            Self::Server(sha256) => write!(f, "key/{}", Escaped(sha256)),
        }
    }
}

/// A part of a key in which `/` is written `%2F`, so that parts cannot run into each other.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, piece) in self.0.split('/').enumerate() {
            if index > 0 {
                f.write_str("%2F")?;
            }
            for (index, piece) in piece.split('%').enumerate() {
                if index > 0 {
                    f.write_str("%25")?;
                }
                f.write_str(piece)?;
            }
        }
        Ok(())
    }
}

/// The namespace.
pub(crate) struct Store(KvStore);

impl Store {
    /// The bound namespace.
    pub(crate) fn open(env: &Env) -> Result<Self, Unavailable> {
        env.kv(BINDING)
            .map(Self)
            .map_err(|error| Unavailable(format!("KV binding {BINDING}: {error}")))
    }

    /// The value of a key. A key longer than KV takes was never written.
    pub(crate) async fn get(&self, key: Key<'_>) -> Result<Option<Bytes>, Unavailable> {
        let name = key.to_string();
        if name.len() > MAX_KEY {
            return Ok(None);
        }
        match self.0.get(&name).bytes().await {
            Ok(value) => Ok(value.map(Bytes::from)),
            Err(error) => Err(failed("get", &name, &error)),
        }
    }

    /// Writes a value.
    pub(crate) async fn put(&self, key: Key<'_>, value: &[u8]) -> Result<(), Unavailable> {
        let name = key.to_string();
        let put = self.0.put_bytes(&name, value);
        match put {
            Ok(put) => put.execute().await,
            Err(error) => Err(error),
        }
        .map_err(|error| failed("put", &name, &error))
    }

    /// Deletes a key; one that is not there is fine.
    pub(crate) async fn delete(&self, key: Key<'_>) -> Result<(), Unavailable> {
        let name = key.to_string();
        self.0
            .delete(&name)
            .await
            .map_err(|error| failed("delete", &name, &error))
    }
}

fn failed(what: &str, name: &str, error: &KvError) -> Unavailable {
    Unavailable(format!("KV {what} {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn keys_name_what_they_hold() {
        for (key, name) in [
            (Key::Environment("abc"), "env/abc"),
            (Key::Snapshot("abc", 7), "snap/abc/7"),
            (Key::Part("abc", "00ff"), "part/abc/00ff"),
            (Key::Server("00ff"), "key/00ff"),
        ] {
            assert_eq!(key.to_string(), name);
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(
            Key::Snapshot("a/1", 2).to_string(),
            Key::Part("a", "1/2").to_string().replace("part", "snap"),
        );
        assert_eq!(Key::Environment("a/%2F").to_string(), "env/a%2F%252F");
    }
}
