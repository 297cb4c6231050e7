//! Signatures of the publication routes: HMAC-SHA-256 over method, path, time and body.
//!
//! What is signed is `METHOD \n path \n timestamp \n lower-case-hex(sha256(body))`, where the path is
//! as the request target has it (percent-encoded) and without its query. A signature that is
//! replayed within the allowed skew can only repeat a `PUT` whose version is already held, so
//! nothing beyond the clock is remembered (DESIGN.md, "publication").

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::time::Timestamp;

/// Unix seconds at which the request was signed.
pub const TIMESTAMP_HEADER: &str = "yardarm-timestamp";
/// The signature, 64 lower-case hex digits.
pub const SIGNATURE_HEADER: &str = "yardarm-signature";
/// SHA-256 of the body, lower-case hex: lets an edge judge the signature before it takes the body in.
pub const CONTENT_HEADER: &str = "yardarm-content-sha256";
/// How far the two clocks may differ, in seconds, either way.
pub const MAX_SKEW_SECONDS: i64 = 300;

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or is not what it should look like.
    #[error("Missing or malformed signature.")]
    Missing,
    /// The clocks differ by more than [`MAX_SKEW_SECONDS`].
    #[error("Timestamp is out of bounds.")]
    Skew,
    /// Signed with another secret, or over something else.
    #[error("Invalid signature.")]
    Wrong,
}

/// Signs a request; the answer is the value of `Yardarm-Signature`.
///
/// `path` is percent-encoded as sent and has no query; `unix_seconds` is what `Yardarm-Timestamp`
/// says.
pub fn sign(secret: &[u8], method: &str, path: &str, unix_seconds: i64, body: &[u8]) -> String {
    sign_content(secret, method, path, unix_seconds, &content_hash(body))
}

/// The same by the [`content_hash`] of a body.
pub fn sign_content(
    secret: &[u8],
    method: &str,
    path: &str,
    unix_seconds: i64,
    content: &str,
) -> String {
    let tag = authenticate(secret, method, path, &unix_seconds.to_string(), content);
    hex::encode(&tag.finalize().into_bytes())
}

/// The value of `Yardarm-Content-SHA256`.
pub fn content_hash(body: &[u8]) -> String {
    hex::encode(&Sha256::digest(body))
}

/// Checks a request's two headers against what arrived, in constant time, at `now`.
pub fn verify(
    secret: &[u8],
    method: &str,
    path: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), SignatureError> {
    let content = || Some(content_hash(body));
    check(secret, method, path, timestamp, signature, content, now)
}

/// Checks a request by its headers alone, `content` being what `Yardarm-Content-SHA256` says. Whoever
/// takes such a request's body in has to [`verify`] that it is the one that was signed.
pub fn verify_head(
    secret: &[u8],
    method: &str,
    path: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    content: Option<&str>,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let content = || content.map(str::to_owned);
    check(secret, method, path, timestamp, signature, content, now)
}

fn check(
    secret: &[u8],
    method: &str,
    path: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    content: impl FnOnce() -> Option<String>,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(SignatureError::Missing);
    };
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::Missing)?;
    let claimed = hex::decode::<32>(signature).ok_or(SignatureError::Missing)?;
    if now.secs().abs_diff(seconds) > MAX_SKEW_SECONDS.unsigned_abs() {
        return Err(SignatureError::Skew);
    }
    let content = content().ok_or(SignatureError::Missing)?;
    authenticate(secret, method, path, timestamp, &content)
        .verify_slice(&claimed)
        .map_err(|_| SignatureError::Wrong)
}

fn authenticate(
    secret: &[u8],
    method: &str,
    path: &str,
    timestamp: &str,
    content: &str,
) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key length");
    for part in [method, path, timestamp] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac.update(content.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"publishing secret";
    const PATH: &str = "/edge/v1/environments/k%2F1";
    const AT: i64 = 1_795_357_662;

    fn verified(
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: i64,
    ) -> Result<(), SignatureError> {
        verify(
            SECRET,
            "PUT",
            PATH,
            Some(timestamp),
            Some(signature),
            body,
            Timestamp::from_secs(now),
        )
    }

    #[test]
    fn is_hmac_sha256_of_the_four_lines() {
        // python3: hmac.new(b"publishing secret", b"PUT\n/edge/v1/environments/k%2F1\n1795357662\n"
        //          + sha256(b"body").hexdigest().encode(), "sha256").hexdigest()
        assert_eq!(
            sign(SECRET, "PUT", PATH, AT, b"body"),
            "77f31de6ff99b84cee66fdf633c3433219c28f7f37a3aa980f958a0a16b0d723"
        );
    }

    #[test]
    fn what_was_signed_verifies_within_the_skew() {
        let signature = sign(SECRET, "PUT", PATH, AT, b"body");
        let at = AT.to_string();
        for now in [AT - MAX_SKEW_SECONDS, AT, AT + MAX_SKEW_SECONDS] {
            assert_eq!(verified(&at, &signature, b"body", now), Ok(()));
        }
        for now in [
            AT - MAX_SKEW_SECONDS - 1,
            AT + MAX_SKEW_SECONDS + 1,
            i64::MIN / 1_000_000,
        ] {
            assert_eq!(
                verified(&at, &signature, b"body", now),
                Err(SignatureError::Skew)
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let signature = sign(SECRET, "PUT", PATH, AT, b"body");
        let at = AT.to_string();
        assert_eq!(
            verified(&at, &signature, b"bodY", AT),
            Err(SignatureError::Wrong)
        );
        let later = (AT + 1).to_string();
        assert_eq!(
            verified(&later, &signature, b"body", AT),
            Err(SignatureError::Wrong)
        );
        let other = sign(b"other", "PUT", PATH, AT, b"body");
        assert_eq!(
            verified(&at, &other, b"body", AT),
            Err(SignatureError::Wrong)
        );
        let get = sign(SECRET, "GET", PATH, AT, b"body");
        assert_eq!(verified(&at, &get, b"body", AT), Err(SignatureError::Wrong));
        for malformed in ["", "zz", &signature[1..], &signature.to_uppercase()] {
            assert_eq!(
                verified(&at, malformed, b"body", AT),
                Err(SignatureError::Missing)
            );
        }
        for malformed in ["", "now", "1.5", "99999999999999999999"] {
            assert_eq!(
                verified(malformed, &signature, b"body", AT),
                Err(SignatureError::Missing)
            );
        }
        let now = Timestamp::from_secs(AT);
        let none = verify(SECRET, "PUT", PATH, None, Some(&signature), b"body", now);
        assert_eq!(none, Err(SignatureError::Missing));
        let none = verify(SECRET, "PUT", PATH, Some(&at), None, b"body", now);
        assert_eq!(none, Err(SignatureError::Missing));
    }

    #[test]
    fn a_head_is_judged_without_its_body() {
        let signature = sign(SECRET, "PUT", PATH, AT, b"body");
        let (at, now) = (AT.to_string(), Timestamp::from_secs(AT));
        let judge = |content: Option<&str>| {
            let (at, signature) = (Some(at.as_str()), Some(signature.as_str()));
            verify_head(SECRET, "PUT", PATH, at, signature, content, now)
        };
        assert_eq!(judge(Some(&content_hash(b"body"))), Ok(()));
        let other = content_hash(b"bodY");
        assert_eq!(judge(Some(&other)), Err(SignatureError::Wrong));
        assert_eq!(judge(Some("")), Err(SignatureError::Wrong));
        assert_eq!(judge(None), Err(SignatureError::Missing));
    }
}
