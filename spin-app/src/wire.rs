//! Between WASI's HTTP and whole messages in memory: what is asked here and answered, and what this component asks of
//! others ([`crate::outbound`]).
//!
//! This is done without the SDK's conversions: they carry bodies of every kind, cost 13 of 285 KB, and make more calls out.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use yardarm_core::edge;

/// What follows a body: that it was whole, or why not.
type End = FutureReader<Result<Option<Trailers>, ErrorCode>>;

/// How many bytes are asked for first, and at least.
const CHUNK: usize = 16 << 10;

/// A body that is too long, or that was cut off.
#[derive(Debug)]
pub(crate) struct NotWhole;

/// The request as the core reads it: its other headers are left out.
pub(crate) async fn receive(
    request: Request,
    room: usize,
) -> Result<Result<http::Request<Bytes>, NotWhole>, ErrorCode> {
    let mut received = http::Request::new(Bytes::new());
    *received.method_mut() = http::Method::try_from(request.get_method())
        .map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
    let target = request.get_path_with_query().unwrap_or_default();
    *received.uri_mut() = Uri::try_from(target).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let names: [&[HeaderName]; 3] = [
        &edge::READ_HEADERS,
        &edge::usage::LABEL_HEADERS,
        &[CONTENT_LENGTH],
    ];
    *received.headers_mut() = headers(&request.get_headers(), &names);
    // WASI has the host beside the headers.
    if let Some(host) = request.get_authority().and_then(|host| host.parse().ok()) {
        received.headers_mut().insert(HOST, host);
    }
    // Reading a body takes several calls, even where there is none.
    let is_bare = matches!(*received.method(), http::Method::GET | http::Method::HEAD)
        && !received.headers().contains_key(CONTENT_LENGTH);
    if !is_bare {
        let (read, told) = wit_future::new(|| Ok(()));
        let (stream, end) = Request::consume_body(request, told);
        match read_whole(stream, end, room).await {
            Ok(body) => *received.body_mut() = body,
            Err(not_whole) => return Ok(Err(not_whole)),
        }
        drop(read);
    }
    Ok(Ok(received))
}

/// The reply as it leaves. Its length is stated: without it Spin answers in chunks, which waits for the client's
/// delayed acknowledgement.
pub(crate) fn reply(mut reply: http::Response<Bytes>) -> Result<Response, ErrorCode> {
    let bodiless = matches!(
        reply.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !bodiless && !reply.headers().contains_key(CONTENT_LENGTH) {
        let length = HeaderValue::from(reply.body().len());
        reply.headers_mut().insert(CONTENT_LENGTH, length);
    }
    let (head, body) = reply.into_parts();
    let (stream, end) = outgoing(body);
    let (response, _) = Response::new(fields(&head.headers)?, Some(stream), end);
    // A status is one of HTTP's.
    let _ = response.set_status_code(head.status.as_u16());
    Ok(response)
}

/// Those of the headers that have one of the names.
pub(crate) fn headers(fields: &Fields, names: &[&[HeaderName]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.copy_all() {
        let mut names = names.iter().copied().flatten();
        let name = names.find(|known| known.as_str().eq_ignore_ascii_case(&name));
        if let Some(name) = name
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// All the headers.
pub(crate) fn fields(headers: &HeaderMap) -> Result<Fields, ErrorCode> {
    let fields: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&fields).map_err(|_| ErrorCode::InternalError(None))
}

/// A body to be sent, which a task of its own does.
pub(crate) fn outgoing(body: Bytes) -> (StreamReader<u8>, End) {
    let (mut writer, stream) = wit_stream::new();
    // What the other side is told of a task that ended before its body did.
    let (whole, end) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    spawn(async move {
        writer.write_all(body.into()).await;
        drop(writer);
        // Who does not want the end does not need it.
        let _ = whole.write(Ok(None)).await;
    });
    (stream, end)
}

/// Reads a body to its end.
pub(crate) async fn read_whole(
    mut stream: StreamReader<u8>,
    end: End,
    room: usize,
) -> Result<Bytes, NotWhole> {
    let mut body = Vec::new();
    loop {
        if body.len() == body.capacity() {
            body.reserve(CHUNK);
        }
        let (result, read) = stream.read(body).await;
        body = read;
        if body.len() > room {
            return Err(NotWhole);
        }
        if let StreamResult::Dropped = result {
            break;
        }
    }
    match end.await {
        Ok(_) => Ok(body.into()),
        Err(_) => Err(NotWhole),
    }
}
