//! The signed requests to an edge: put a package, ask what it holds.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use serde::Deserialize;
use yardarm_core::edge::delivery::IdentityChange;
use yardarm_core::edge::{MissingParts, signature};
use yardarm_core::snapshot::Package;

use crate::outbound::{Answer, OperatorClient};

/// Why a package was not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// The edge cannot be reached or does not accept us: everything else would fail as well.
    #[error("{0}")]
    Edge(String),
    /// The edge refuses this very package.
    #[error("{0}")]
    Package(String),
}

/// An environment as an edge lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HeldVersion {
    /// The client-side key.
    pub(crate) environment_key: String,
    /// The version.
    pub(crate) version: u64,
}

#[derive(Deserialize)]
struct HeldList {
    environments: Vec<HeldVersion>,
}

/// Where an edge is and what it and we sign with.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// How many requests with parts of one package are on their way at once.
const BATCHES_AT_ONCE: usize = 4;
/// How often an edge is asked what it still lacks. More than once only where parts that it had went
/// meanwhile.
const ROUNDS: usize = 3;

/// What an edge says to a package.
enum Put {
    /// It is at least at this version.
    Confirmed,
    /// It lacks these parts.
    Lacks(Vec<u32>),
}

/// Puts a package: a small one whole, of a large one the snapshot and the parts that the edge lacks.
pub(crate) async fn put(
    http: &OperatorClient,
    to: &Address,
    api_key: &str,
    package: &Package,
) -> Result<(), PushError> {
    if !can_stand_in_a_path(api_key) {
        return Err(PushError::Package(
            "such a key cannot stand in a path".to_owned(),
        ));
    }
    let path = format!("/edge/v1/environments/{}", encode(api_key));
    let path = path.as_str();
    let mut said = put_once(http, to, path, package.opening()).await?;
    for _ in 0..ROUNDS {
        let Put::Lacks(missing) = said else {
            return Ok(());
        };
        let mut sending = stream::iter(package.batches(&missing))
            .map(|batch| put_once(http, to, path, batch.bytes()))
            .buffer_unordered(BATCHES_AT_ONCE);
        while let Some(sent) = sending.next().await {
            if matches!(sent?, Put::Confirmed) {
                return Ok(());
            }
        }
        said = put_once(http, to, path, package.snapshot()).await?;
    }
    match said {
        Put::Confirmed => Ok(()),
        Put::Lacks(missing) => Err(PushError::Package(format!(
            "lacks {} parts after they were sent {ROUNDS} times",
            missing.len()
        ))),
    }
}

/// Stored, already held, and "a newer one is held" all mean that the edge is at least at this version.
async fn put_once(
    http: &OperatorClient,
    to: &Address,
    path: &str,
    body: Bytes,
) -> Result<Put, PushError> {
    let answer = exchange(http, to, Method::PUT, path, body).await?;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::CONFLICT => {
            Ok(Put::Confirmed)
        }
        StatusCode::ACCEPTED => {
            let said: MissingParts = serde_json::from_slice(&answer.body).map_err(|error| {
                PushError::Edge(format!("the list of what it lacks is damaged: {error}"))
            })?;
            Ok(Put::Lacks(said.missing))
        }
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(PushError::Package(describe(&answer))),
        _ => Err(PushError::Edge(describe(&answer))),
    }
}

/// What an edge did with changes of identities.
#[derive(Debug)]
pub(crate) enum Told {
    /// They are stored.
    Taken,
    /// It does not take these: it lacks the environment, say. Others it may take.
    Refused(String),
}

/// Tells an edge what has changed of identities of one environment.
pub(crate) async fn tell(
    http: &OperatorClient,
    to: &Address,
    api_key: &str,
    changes: &[IdentityChange],
) -> anyhow::Result<Told> {
    #[derive(serde::Serialize)]
    struct Handed<'a> {
        identities: &'a [IdentityChange],
    }
    if !can_stand_in_a_path(api_key) {
        return Ok(Told::Refused(
            "such a key cannot stand in a path".to_owned(),
        ));
    }
    let path = format!("/edge/v1/environments/{}/identities", encode(api_key));
    let body = serde_json::to_vec(&Handed {
        identities: changes,
    })?;
    let answer = exchange(http, to, Method::POST, &path, body.into())
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    match answer.status {
        StatusCode::OK => Ok(Told::Taken),
        StatusCode::NOT_FOUND => Ok(Told::Refused("the edge does not hold it yet".to_owned())),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Ok(Told::Refused(describe(&answer)))
        }
        _ => anyhow::bail!(describe(&answer)),
    }
}

/// Asks an edge what it holds.
pub(crate) async fn held(
    http: &OperatorClient,
    to: &Address,
) -> Result<Vec<HeldVersion>, PushError> {
    let answer = exchange(http, to, Method::GET, "/edge/v1/environments", Bytes::new()).await?;
    if answer.status != StatusCode::OK {
        return Err(PushError::Edge(describe(&answer)));
    }
    let list: HeldList = serde_json::from_slice(&answer.body).map_err(|error| {
        PushError::Edge(format!("the list of what it holds is damaged: {error}"))
    })?;
    Ok(list.environments)
}

/// Every URL library on the way would take dots for a step up.
fn can_stand_in_a_path(api_key: &str) -> bool {
    !api_key.chars().all(|c| c == '.')
}

async fn exchange(
    http: &OperatorClient,
    to: &Address,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Answer, PushError> {
    let request =
        sign(to, method, path, now(), body).map_err(|e| PushError::Package(e.to_string()))?;
    // The chain of causes: "error sending request" alone helps nobody.
    http.send(request)
        .await
        .map_err(|error| PushError::Edge(format!("{error:#}")))
}

/// The computer's clock, as the edge compares the time of signing with its own.
fn now() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

fn sign(
    to: &Address,
    method: Method,
    path: &str,
    unix_seconds: i64,
    body: Bytes,
) -> anyhow::Result<Request<Bytes>> {
    let uri: Uri = format!("{}{path}", to.url.trim_end_matches('/')).parse()?;
    let content = signature::content_hash(&body);
    let signed = signature::sign_content(
        to.secret.as_bytes(),
        method.as_str(),
        uri.path(),
        unix_seconds,
        &content,
    );
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(signature::TIMESTAMP_HEADER, HeaderValue::from(unix_seconds));
    headers.insert(signature::SIGNATURE_HEADER, HeaderValue::from_str(&signed)?);
    headers.insert(signature::CONTENT_HEADER, HeaderValue::from_str(&content)?);
    Ok(request)
}

/// What the operator reads: the status, what it usually means here, and the edge's own words.
fn describe(answer: &Answer) -> String {
    let meaning = match answer.status {
        StatusCode::UNAUTHORIZED => {
            ": the secret differs, or a clock is more than five minutes off"
        }
        StatusCode::NOT_FOUND => ": no edge at this URL, or it has no publishing secret",
        status if status.is_redirection() => ": it redirects; give the URL it redirects to",
        _ => "",
    };
    let said: String = String::from_utf8_lossy(&answer.body)
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    format!(
        "answered {}{meaning}{}{said}",
        answer.status,
        if said.is_empty() { "" } else { " – " }
    )
}

/// A path segment: what is not unreserved in RFC 3986 as `%XX`.
fn encode(segment: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_path_segment() {
        assert_eq!(encode("Ab-9._~"), "Ab-9._~");
        assert_eq!(encode("a/b ?é"), "a%2Fb%20%3F%C3%A9");
        assert_eq!(encode(".."), "..");
    }

    #[test]
    fn a_request_is_signed_over_the_path_it_asks_for() {
        let to = Address {
            url: "http://edge.internal:8080/".to_owned(),
            secret: "s3cret".to_owned(),
        };
        let body = Bytes::from_static(b"package");
        let path = "/edge/v1/environments/a%2Fb";
        let request = sign(&to, Method::PUT, path, 1_795_358_606, body.clone()).expect("a request");
        assert_eq!(
            request.uri(),
            "http://edge.internal:8080/edge/v1/environments/a%2Fb"
        );
        assert_eq!(request.headers()["yardarm-timestamp"], "1795358606");
        let signature = signature::sign(b"s3cret", "PUT", path, 1_795_358_606, &body);
        assert_eq!(request.headers()["yardarm-signature"], signature.as_str());
        let content = signature::content_hash(&body);
        assert_eq!(
            request.headers()["yardarm-content-sha256"],
            content.as_str()
        );
    }

    #[test]
    fn refusals_are_told_in_words() {
        let answer = Answer {
            status: StatusCode::UNAUTHORIZED,
            body: b"{\"detail\":\"no\n\"}".to_vec(),
        };
        let told = describe(&answer);
        assert!(told.contains("401") && told.contains("secret differs") && told.contains("detail"));
        assert!(!told.contains('\n'));
    }
}
