//! Pull-through: what an edge asks its control plane of a key that it does not hold.
//!
//! `GET /api/v1/edge/environments/<client-side key>/package/`, or `…/by-server-key/<SHA-256>/package/`, signed like a
//! publication ([`super::signature`]) with the secret of the edge's target. 200 is the package, signed the same way
//! over its bytes; 404 says that there is no such key. A host asks once however many wait for it, lets none of them
//! wait longer than [`PATIENCE`], and asks [`Gate`] before: keys that do not exist cannot be used to keep the
//! control plane busy.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use sha2::{Digest as _, Sha256};

use super::ports::KeyRef;
use super::query::percent_encode;
use super::route::{SIGNATURE, TIMESTAMP};
use super::signature::{self, SignatureError};
use crate::snapshot::{Package, PackageError};
use crate::time::{Timestamp, lasts};

/// How long a request waits for the control plane before it is answered 503.
pub const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a key that the control plane does not know is taken for unknown without another question.
const MISS: i64 = 10_000_000;
/// How long the control plane is left alone after it did not answer as it should.
const TROUBLE: i64 = 2_000_000;
/// One question each so many microseconds, and so many saved up at most.
const EACH: i64 = 100_000;
const SAVED: i64 = 100;
/// How many misses are remembered.
const MISSES: usize = 10_000;
/// For how long a claimed question is somebody's: longer than any exchange may take.
const CLAIM: i64 = 8_000_000;

/// A [`KeyRef`] that outlives its request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The client-side key itself.
    Client(String),
    /// SHA-256 of a server-side key, lower-case hex.
    Server(String),
}

impl Key {
    /// The key that a request names.
    pub fn of(key: &KeyRef<'_>) -> Self {
        match *key {
            KeyRef::Client(key) => Self::Client(key.to_owned()),
            KeyRef::Server(hash) => Self::Server(hash.to_owned()),
        }
    }

    /// As requests name it.
    pub fn by_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Client(key) => KeyRef::Client(key),
            Self::Server(hash) => KeyRef::Server(hash),
        }
    }
}

/// What became of a question.
#[derive(Debug)]
pub enum Pulled {
    /// To be installed.
    Package(Package),
    /// There is no such key.
    Unknown,
    /// It was not answered; the text is for the log.
    Trouble(String),
}

/// Whether to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Ask.
    Ask,
    /// It was asked a moment ago: there is no such key.
    Unknown,
    /// Not now: answer 503.
    Later,
    /// Somebody else is asking, and what there is will be held in a moment. Only [`Gate::claim`] says so.
    Wait,
}

/// What an edge remembers of questions: misses, each in the one place its key has, and how often it may ask.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The key's hash, and until when it is unknown.
    misses: Vec<(u64, i64)>,
    /// When the questions asked so far are paid for (GCRA), microseconds since the epoch.
    paid_at: i64,
    troubled_until: i64,
    /// Claimed questions: the key's hash, and until when it is claimed.
    claims: Vec<(u64, i64)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::with_room(MISSES)
    }
}

impl Gate {
    /// A gate that remembers so many misses, at least one.
    pub fn with_room(misses: usize) -> Self {
        Self {
            misses: vec![(0, 0); misses.max(1)],
            paid_at: 0,
            troubled_until: 0,
            claims: Vec::new(),
        }
    }

    /// What [`Gate::to_bytes`] gave, with room for so many misses; an empty gate of anything else.
    pub fn from_bytes(bytes: &[u8], misses: usize) -> Self {
        let mut gate = Self::with_room(misses);
        let mut words = bytes
            .chunks_exact(8)
            .filter_map(|word| Some(i64::from_le_bytes(word.try_into().ok()?)));
        let (paid_at, troubled_until) = (words.next(), words.next());
        gate.paid_at = paid_at.unwrap_or(0);
        gate.troubled_until = troubled_until.unwrap_or(0);
        while let (Some(hash), Some(until)) = (words.next(), words.next()) {
            let hash = hash.cast_unsigned();
            if until < 0 {
                gate.claims.push((hash, -until));
            } else {
                let place = gate.place(hash);
                gate.misses[place] = (hash, until);
            }
        }
        gate
    }

    /// For a store that several hosts share, without what is over.
    pub fn to_bytes(&self, now: Timestamp) -> Vec<u8> {
        let is_ahead = |(_, until): &&(u64, i64)| *until > now.micros();
        let misses = self.misses.iter().filter(is_ahead).copied();
        // A claim is told by its sign.
        let claims = self.claims.iter().filter(is_ahead);
        let claims = claims.map(|(hash, until)| (*hash, -until));
        let pairs = misses.chain(claims);
        let head = [self.paid_at, self.troubled_until];
        let words = pairs.flat_map(|(hash, until)| [hash.cast_signed(), until]);
        head.into_iter()
            .chain(words)
            .flat_map(i64::to_le_bytes)
            .collect()
    }

    /// Like [`Gate::leave`] for a gate that several hosts share: one of them asks of a key at a time.
    pub fn claim(&mut self, key: &KeyRef<'_>, now: Timestamp) -> Leave {
        if self.is_claimed(key, now) {
            return Leave::Wait;
        }
        let leave = self.leave(key, now);
        if leave == Leave::Ask {
            let hash = hash(key);
            self.claims.retain(|(of, _)| *of != hash);
            self.claims.push((hash, now.micros() + CLAIM));
        }
        leave
    }

    /// Whether to ask of a key now; [`Leave::Ask`] counts as a question.
    pub fn leave(&mut self, key: &KeyRef<'_>, now: Timestamp) -> Leave {
        if self.misses(key, now) {
            return Leave::Unknown;
        }
        if lasts(self.troubled_until, TROUBLE, now) {
            return Leave::Later;
        }
        let now = now.micros();
        let longest = EACH * SAVED;
        if self.paid_at > now + longest + EACH {
            self.paid_at = now;
        }
        let paid_at = self.paid_at.max(now) + EACH;
        if paid_at > now + longest {
            return Leave::Later;
        }
        self.paid_at = paid_at;
        Leave::Ask
    }

    /// Whether it was asked a moment ago: there is no such key.
    pub fn misses(&self, key: &KeyRef<'_>, now: Timestamp) -> bool {
        let hash = hash(key);
        let (of, until) = self.misses[self.place(hash)];
        of == hash && lasts(until, MISS, now)
    }

    /// Whether somebody who claimed it is asking.
    pub fn is_claimed(&self, key: &KeyRef<'_>, now: Timestamp) -> bool {
        let hash = hash(key);
        let mut claims = self.claims.iter();
        claims.any(|(of, until)| *of == hash && lasts(*until, CLAIM, now))
    }

    /// Takes in what became of a question.
    pub fn learn(&mut self, key: &KeyRef<'_>, pulled: &Pulled, now: Timestamp) {
        let hash = hash(key);
        self.claims.retain(|(of, _)| *of != hash);
        match pulled {
            Pulled::Package(_) => {}
            Pulled::Unknown => {
                let place = self.place(hash);
                self.misses[place] = (hash, now.micros() + MISS);
            }
            Pulled::Trouble(_) => self.troubled_until = now.micros() + TROUBLE,
        }
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash % self.misses.len() as u64).unwrap_or(0)
    }
}

/// Nobody can make keys that meet here but by trying.
fn hash(key: &KeyRef<'_>) -> u64 {
    let (side, text) = match key {
        KeyRef::Client(text) => (b'c', text),
        KeyRef::Server(text) => (b's', text),
    };
    let digest = Sha256::new()
        .chain_update([side])
        .chain_update(text)
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The path of the question.
pub fn path(key: &KeyRef<'_>) -> String {
    let mut path = "/api/v1/edge/environments/".to_owned();
    match key {
        KeyRef::Client(key) => path.push_str(&percent_encode(key)),
        KeyRef::Server(hash) => {
            path.push_str("by-server-key/");
            path.push_str(hash);
        }
    }
    path.push_str("/package/");
    path
}

/// The question, signed, for a control plane at `base` (`https://host[:port][/path]`).
pub fn request(
    base: &str,
    secret: &[u8],
    key: &KeyRef<'_>,
    now: Timestamp,
) -> Result<Request<Bytes>, http::Error> {
    let path = path(key);
    let uri: Uri = format!("{}{path}", base.trim_end_matches('/')).parse()?;
    let signature = signature::sign(secret, "GET", &path, now.secs(), b"");
    Request::builder()
        .method(Method::GET)
        .uri(uri)
        .header(&TIMESTAMP, now.secs())
        .header(&SIGNATURE, signature)
        .body(Bytes::new())
}

/// Reads the answer: the package must be signed and be what was asked for.
pub fn receive(
    secret: &[u8],
    key: &KeyRef<'_>,
    (status, headers): (StatusCode, &HeaderMap),
    body: Bytes,
    now: Timestamp,
) -> Pulled {
    match status {
        StatusCode::NOT_FOUND => return Pulled::Unknown,
        StatusCode::OK => {}
        other => return Pulled::Trouble(format!("the control plane answered {other}")),
    }
    let text = |name| headers.get(name)?.to_str().ok();
    let (timestamp, signature) = (text(&TIMESTAMP), text(&SIGNATURE));
    let checked = signature::verify(secret, "GET", &path(key), timestamp, signature, &body, now)
        .map_err(|error: SignatureError| error.to_string())
        .and_then(|()| Package::open(body).map_err(|error: PackageError| error.to_string()));
    match checked {
        Ok(package) if is_of(&package, key) => Pulled::Package(package),
        Ok(_) => Pulled::Trouble("the control plane answered another environment".to_owned()),
        Err(error) => Pulled::Trouble(format!("the control plane's answer: {error}")),
    }
}

fn is_of(package: &Package, key: &KeyRef<'_>) -> bool {
    let meta = package.meta();
    match *key {
        KeyRef::Client(key) => meta.environment_key == key,
        KeyRef::Server(hash) => meta.server_keys.iter().any(|of| of == hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"secret";
    const KEY: KeyRef<'static> = KeyRef::Client("a b/\u{e9}");
    const NOW: Timestamp = Timestamp::from_secs(1_795_357_662);

    fn after(micros: i64) -> Timestamp {
        Timestamp(NOW.micros() + micros)
    }

    fn answer(key: &KeyRef<'_>, package: &Package, secret: &[u8]) -> Pulled {
        let signed = signature::sign(secret, "GET", &path(key), NOW.secs(), &package.bytes());
        let mut headers = HeaderMap::new();
        headers.insert(&TIMESTAMP, NOW.secs().into());
        headers.insert(&SIGNATURE, signed.parse().unwrap());
        let body = package.bytes();
        receive(SECRET, key, (StatusCode::OK, &headers), body, NOW)
    }

    #[test]
    fn a_question_is_signed_and_names_its_key() {
        let question = request("http://home:8000/x/", SECRET, &KEY, NOW).unwrap();
        let path = "/api/v1/edge/environments/a%20b%2F%C3%A9/package/";
        assert_eq!(
            question.uri().to_string(),
            format!("http://home:8000/x{path}")
        );
        let text = |name| question.headers()[name].to_str().ok();
        let (timestamp, signature) = (text(&TIMESTAMP), text(&SIGNATURE));
        signature::verify(SECRET, "GET", path, timestamp, signature, b"", NOW).unwrap();
        assert_eq!(
            super::path(&KeyRef::Server("ab12")),
            "/api/v1/edge/environments/by-server-key/ab12/package/"
        );
    }

    #[test]
    fn an_answer_is_believed_when_it_is_signed_and_of_that_key() {
        let package = Package::tombstone("a b/\u{e9}", 1, 1);
        assert!(matches!(answer(&KEY, &package, SECRET), Pulled::Package(_)));
        let other = Package::tombstone("other", 1, 1);
        for (package, secret) in [(&package, &b"other"[..]), (&other, SECRET)] {
            assert!(matches!(answer(&KEY, package, secret), Pulled::Trouble(_)));
        }
        let by_hash = KeyRef::Server("00");
        assert!(matches!(
            answer(&by_hash, &package, SECRET),
            Pulled::Trouble(_)
        ));
        let status = |status| receive(SECRET, &KEY, (status, &HeaderMap::new()), Bytes::new(), NOW);
        assert!(matches!(status(StatusCode::NOT_FOUND), Pulled::Unknown));
        for other in [
            StatusCode::OK,
            StatusCode::UNAUTHORIZED,
            StatusCode::BAD_GATEWAY,
        ] {
            assert!(matches!(status(other), Pulled::Trouble(_)), "{other}");
        }
    }

    #[test]
    fn a_miss_is_remembered_briefly_and_for_its_side_alone() {
        let mut gate = Gate::default();
        let (key, same_text) = (KeyRef::Client("k"), KeyRef::Server("k"));
        assert_eq!(gate.leave(&key, NOW), Leave::Ask);
        gate.learn(&key, &Pulled::Unknown, NOW);
        assert_eq!(gate.leave(&key, after(MISS - 1)), Leave::Unknown);
        assert_eq!(gate.leave(&same_text, NOW), Leave::Ask);
        assert_eq!(gate.leave(&key, after(MISS)), Leave::Ask);
        // A clock that was set back an hour.
        assert_eq!(gate.leave(&key, after(-3_600_000_000)), Leave::Ask);
    }

    #[test]
    fn a_shared_gate_lets_one_ask_of_a_key_at_a_time() {
        let other = KeyRef::Client("other");
        let again = |gate: &Gate, now| Gate::from_bytes(&gate.to_bytes(now), 4);
        let mut gate = Gate::with_room(4);
        assert_eq!(gate.claim(&KEY, NOW), Leave::Ask);
        let mut gate = again(&gate, NOW);
        assert_eq!(gate.claim(&KEY, NOW), Leave::Wait);
        assert_eq!(gate.claim(&other, NOW), Leave::Ask);
        gate.learn(&other, &Pulled::Unknown, NOW);
        let mut gate = again(&gate, NOW);
        assert_eq!(gate.claim(&other, NOW), Leave::Unknown);
        assert_eq!(gate.claim(&KEY, NOW), Leave::Wait);
        // Who claimed it has died.
        assert_eq!(gate.claim(&KEY, after(CLAIM)), Leave::Ask);
        gate.learn(&KEY, &Pulled::Trouble(String::new()), after(CLAIM));
        let mut gate = again(&gate, after(CLAIM));
        assert_eq!(gate.claim(&KEY, after(CLAIM)), Leave::Later);
        // Somebody else's clock may be behind, or may have been read before.
        let mut gate = Gate::with_room(4);
        assert_eq!(gate.claim(&KEY, NOW), Leave::Ask);
        assert_eq!(gate.claim(&KEY, after(-1)), Leave::Wait);
        gate.learn(&KEY, &Pulled::Unknown, NOW);
        assert_eq!(gate.claim(&KEY, after(-1_000_000)), Leave::Unknown);
        // A clock that was set back does not keep a claim.
        let mut gate = Gate::with_room(1);
        assert_eq!(gate.claim(&KEY, NOW), Leave::Ask);
        assert_eq!(gate.claim(&KEY, after(-3_600_000_000)), Leave::Ask);
    }

    #[test]
    fn a_shared_gate_is_small_and_keeps_its_rations() {
        let mut gate = Gate::with_room(64);
        let mut asked = 0;
        for number in 0..1_000 {
            let key = number.to_string();
            let mut next = Gate::from_bytes(&gate.to_bytes(NOW), 64);
            if next.claim(&KeyRef::Client(&key), NOW) == Leave::Ask {
                asked += 1;
                next.learn(&KeyRef::Client(&key), &Pulled::Unknown, NOW);
            }
            gate = next;
        }
        assert_eq!(asked, 100);
        assert!(gate.to_bytes(NOW).len() <= 16 + 64 * 16);
        assert_eq!(gate.to_bytes(after(MISS)).len(), 16);
        assert_eq!(Gate::from_bytes(b"damaged", 1).to_bytes(NOW).len(), 16);
    }

    #[test]
    fn questions_are_rationed() {
        let mut gate = Gate::with_room(1);
        let ask = |gate: &mut Gate, number: i64, now| {
            let key = number.to_string();
            let leave = gate.leave(&KeyRef::Client(&key), now);
            if leave == Leave::Ask {
                gate.learn(&KeyRef::Client(&key), &Pulled::Unknown, now);
            }
            leave == Leave::Ask
        };
        let asked = |gate: &mut Gate, now| (0..1_000).filter(|of| ask(gate, *of, now)).count();
        assert_eq!(asked(&mut gate, NOW), 100);
        assert_eq!(asked(&mut gate, NOW), 0);
        assert_eq!(asked(&mut gate, after(EACH * 5)), 5);
        // A clock that was set back by more than can be saved up.
        assert_eq!(asked(&mut gate, after(-3_600_000_000)), 100);
    }

    #[test]
    fn a_control_plane_in_trouble_is_left_alone_for_a_moment() {
        let mut gate = Gate::default();
        gate.learn(&KEY, &Pulled::Trouble(String::new()), NOW);
        assert_eq!(gate.leave(&KeyRef::Client("other"), NOW), Leave::Later);
        assert_eq!(gate.leave(&KEY, after(TROUBLE)), Leave::Ask);
    }
}
