//! Published environments in the key-value store: what is written, in which order, and how a reader
//! always finds one whole version.
//!
//! | key | value |
//! |---|---|
//! | `env/<name>` | the head: which version serves; a small snapshot travels in it |
//! | `env/<name>/<tag>/snapshot` | a larger snapshot, in pieces |
//! | `env/<name>/<tag>/<SHA-256>` | a part of the package, in pieces: of the environment document, or a bucket of identity overrides |
//! | `env/<name>/<tag>/borrowed` | which parts a version has that others wrote |
//! | `env/<name>/journal` | which versions may have left what behind |
//! | `key/<SHA-256 of a server-side key>` | the environment's client-side key |
//! | `environments/<00 to 3f>` | the heads of all environments, as far as they tell what is held, by the hash of the client-side key |
//!
//! A tag is a version with its content's hash, so what lies under it is never rewritten with something
//! else. A version is installed by writing its journal entry, its parts, its server keys, and last the
//! head, which moves by compare-and-set and only to a higher version: two publishers end with the
//! higher one. A crash in between leaves the old head serving and an entry in the journal; the next
//! installation sweeps what that entry names. The version before the one that serves is kept, for
//! requests that are on their way through it.
//!
//! What is held is listed after the head has moved. Whoever dies between the two is asked for the same
//! version again, since the list lacks it, and then lists it.
//!
//! A version writes only the parts that the head before it has not; the others stay where they are,
//! their [`Homes`]. A head names parts of its own tag and of the head that it replaces, never of a third
//! one. Therefore what neither the head nor the one before names can be deleted without asking who else
//! is about to use it: nobody can be.

mod install;
mod list;
mod pieces;
mod recent;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::{Held, KeyRef, Unavailable};
use yardarm_core::snapshot::{PartName, Snapshot};

pub(crate) use self::install::install;
pub(crate) use self::list::held;
pub(crate) use self::recent::{keep, recall};
use crate::key_value::KeyValue;
use crate::stored_json;

/// How often a reader starts again because the version it was reading got swept.
const READ_ATTEMPTS: u32 = 3;

/// Which version of an environment serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The client-side key.
    pub(crate) environment_key: String,
    /// The version.
    pub(crate) version: u64,
    /// The content's hash, lower-case hex.
    pub(crate) content_hash: String,
    /// A tombstone.
    pub(crate) gone: bool,
    /// The snapshot's format. What another Yardarm has stored in another one is not held.
    #[serde(default)]
    format: u32,
    /// Whether the snapshot follows in the same value.
    inline: bool,
    /// The tag that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// Where the parts are.
    #[serde(default, skip_serializing_if = "Homes::is_own")]
    homes: Homes,
}

/// Under which tags a version's parts are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Homes {
    /// The tags. Without any, all parts are under the version's own.
    tags: Vec<String>,
    /// For each part, which of them.
    of: Vec<u32>,
}

impl Homes {
    fn is_own(&self) -> bool {
        self.tags.is_empty()
    }

    /// The tag that a part is under, of a version with this tag.
    fn tag<'a>(&'a self, part: usize, own: &'a str) -> &'a str {
        let place = self
            .of
            .get(part)
            .and_then(|place| usize::try_from(*place).ok());
        place
            .and_then(|place| self.tags.get(place))
            .map_or(own, String::as_str)
    }

    /// These tags, a part each.
    fn new<'a>(tags: impl Iterator<Item = &'a str>, own: &str) -> Self {
        let mut homes = Self::default();
        for tag in tags {
            let known = homes.tags.iter().position(|known| known == tag);
            let place = known.unwrap_or_else(|| {
                homes.tags.push(tag.to_owned());
                homes.tags.len() - 1
            });
            homes.of.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
        if homes.tags.iter().all(|tag| tag == own) {
            return Self::default();
        }
        homes
    }
}

impl Head {
    /// The version's tag.
    pub(crate) fn tag(&self) -> String {
        tag(self.version, &self.content_hash)
    }

    /// Whether this Yardarm can read the snapshot.
    fn is_readable(&self) -> bool {
        self.format == Snapshot::FORMAT
    }

    /// The key of a part.
    fn part_key(&self, number: u32, name: PartName<'_>) -> String {
        let tag = self.tag();
        let home = usize::try_from(number).map_or(tag.as_str(), |part| self.homes.tag(part, &tag));
        part_key(&self.environment_key, home, &name.to_hex())
    }

    /// JSON, a line feed, and the snapshot if it is in here.
    fn to_bytes(&self, snapshot: &[u8]) -> Result<Vec<u8>, Unavailable> {
        let mut bytes = stored_json::write(self)?;
        bytes.push(b'\n');
        if self.inline {
            bytes.extend_from_slice(snapshot);
        }
        Ok(bytes)
    }

    /// The head, and where the snapshot starts in the same value.
    fn from_bytes(bytes: &[u8]) -> Result<(Self, usize), Unavailable> {
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| Unavailable("damaged head: no end of line".to_owned()))?;
        Ok((stored_json::read("head", &bytes[..end])?, end + 1))
    }
}

impl From<Head> for Held {
    fn from(head: Head) -> Self {
        Self {
            environment_key: head.environment_key,
            version: head.version,
            content_hash: head.content_hash,
            gone: head.gone,
        }
    }
}

/// A version's name: it sorts nowhere, it is only compared.
fn tag(version: u64, content_hash: &str) -> String {
    format!(
        "{version}-{}",
        content_hash.get(..16).unwrap_or(content_hash)
    )
}

/// `env/` and the client-side key; its hash where the key is long or has characters that a back end
/// could misread, as whoever asks may send anything.
fn head_key(environment_key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&environment_key.len()) && environment_key.bytes().all(plain) {
        format!("env/{environment_key}")
    } else {
        format!("env/~{}", hex::encode(Sha256::digest(environment_key)))
    }
}

fn part_key(environment_key: &str, tag: &str, part: &str) -> String {
    format!("{}/{tag}/{part}", head_key(environment_key))
}

fn server_key(sha256: &str) -> String {
    format!("key/{sha256}")
}

/// What a key leads to: the head of the version that serves, and its snapshot's bytes unless
/// `known` says that the caller has them already.
pub(crate) async fn read<K: KeyValue>(
    store: &K,
    key: KeyRef<'_>,
    known: impl Fn(&Head) -> bool,
) -> Result<Option<(Head, Option<Vec<u8>>)>, Unavailable> {
    let environment_key = match key {
        KeyRef::Client(environment_key) => environment_key.to_owned(),
        KeyRef::Server(sha256) => match store.get(&server_key(sha256)).await? {
            Some(bytes) => String::from_utf8(bytes)
                .map_err(|_| Unavailable(format!("damaged value of {}", server_key(sha256))))?,
            None => return Ok(None),
        },
    };
    for _ in 0..READ_ATTEMPTS {
        let Some(mut bytes) = store.get(&head_key(&environment_key)).await? else {
            return Ok(None);
        };
        let (head, snapshot) = Head::from_bytes(&bytes)?;
        if head.environment_key != environment_key {
            return Ok(None);
        }
        if !head.is_readable() {
            let format = head.format;
            return Err(Unavailable(format!(
                "{environment_key}: stored in format {format} by another Yardarm; waits for the next publication"
            )));
        }
        if known(&head) {
            return Ok(Some((head, None)));
        }
        if head.inline {
            bytes.drain(..snapshot);
            return Ok(Some((head, Some(bytes))));
        }
        if let Some(bytes) = pieces::read(store, &snapshot_key(&head)).await? {
            return Ok(Some((head, Some(bytes))));
        }
    }
    Err(Unavailable(format!(
        "{environment_key}: the snapshot is not whole"
    )))
}

fn snapshot_key(head: &Head) -> String {
    part_key(&head.environment_key, &head.tag(), "snapshot")
}

/// A part of the version that a head names.
pub(crate) async fn read_part<K: KeyValue>(
    store: &K,
    head: &Head,
    number: u32,
    name: PartName<'_>,
) -> Result<Option<Vec<u8>>, Unavailable> {
    pieces::read(store, &head.part_key(number, name)).await
}

#[cfg(test)]
mod tests;
