//! What this component asks of others: its control plane, an existing Flagsmith.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use spin_sdk::time::sleep;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response, Scheme};
use spin_sdk::wasip3::wit_future;
use yardarm_core::edge::ANSWER_HEADERS;

use crate::wire;

/// Asks, and reads at most `room` bytes of an answer that must be whole within `limit`. Of its headers only
/// [`ANSWER_HEADERS`] are there. Redirects are not followed: secrets go along. The error says what went wrong, and
/// names no header.
pub(crate) async fn send(
    request: http::Request<Bytes>,
    room: usize,
    limit: Duration,
) -> Result<http::Response<Bytes>, String> {
    match within(limit, exchange(request, room)).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(told(error)),
        None => Err("no answer in time".to_owned()),
    }
}

/// What a future comes to, unless that takes longer than `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut alarm) = (pin!(future), pin!(sleep(limit)));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}

async fn exchange(
    request: http::Request<Bytes>,
    room: usize,
) -> Result<http::Response<Bytes>, ErrorCode> {
    let (head, body) = request.into_parts();
    let fields = wire::fields(&head.headers)?;
    let request = if body.is_empty() {
        // With a stream, even one without a byte, it would be sent in chunks.
        let (_, end) = wit_future::new(|| Ok(None));
        Request::new(fields, None, end, None).0
    } else {
        let (stream, end) = wire::outgoing(body);
        Request::new(fields, Some(stream), end, None).0
    };
    address(&request, &head.method, &head.uri).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = client::send(request).await?;
    let mut answer = http::Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::from_u16(response.get_status_code())
        .map_err(|_| ErrorCode::HttpProtocolError)?;
    *answer.headers_mut() = wire::headers(&response.get_headers(), &[&ANSWER_HEADERS]);
    let (read, told) = wit_future::new(|| Ok(()));
    let (stream, end) = Response::consume_body(response, told);
    let whole = wire::read_whole(stream, end, room).await;
    *answer.body_mut() = whole.map_err(|_| ErrorCode::HttpResponseBodySize(None))?;
    drop(read);
    Ok(answer)
}

fn address(request: &Request, method: &http::Method, uri: &Uri) -> Result<(), ()> {
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        _ => Scheme::Https,
    };
    request.set_method(&method.into())?;
    request.set_scheme(Some(&scheme))?;
    request.set_authority(uri.authority().map(http::uri::Authority::as_str))?;
    request.set_path_with_query(uri.path_and_query().map(http::uri::PathAndQuery::as_str))
}

fn told(error: ErrorCode) -> String {
    let text = match error {
        ErrorCode::HttpRequestDenied => "not one of allowed_outbound_hosts",
        ErrorCode::HttpRequestUriInvalid => "not a URL to ask",
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout | ErrorCode::DestinationNotFound => {
            "no such host"
        }
        ErrorCode::ConnectionRefused | ErrorCode::DestinationUnavailable => "no connection",
        ErrorCode::HttpResponseBodySize(_) => "the answer is too long, or was cut off",
        ErrorCode::InternalError(Some(text)) => return text,
        _ => "the exchange failed",
    };
    text.to_owned()
}
