//! Requests and replies between the platform's form and the core's.
//!
//! Only what the core reads is converted: the general conversions of the `worker` crate copy every
//! header and wrap bodies in streams, which costs more than the answer.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use worker::{Method, ResponseBuilder};

/// Headers the core reads.
const READ_HEADERS: [&str; 0] = [];

/// The request as the core takes it; `None` if its target is none.
pub(crate) async fn read(mut from: worker::Request) -> worker::Result<Option<Request<Bytes>>> {
    let url = from.inner().url();
    let Ok(target) = Uri::try_from(target(&url)) else {
        return Ok(None);
    };
    let method = from.method();
    let body = match method {
        Method::Get | Method::Head | Method::Options => Bytes::new(),
        _ => Bytes::from(from.bytes().await?),
    };
    let mut request = Request::new(body);
    *request.method_mut() = http_method(&method);
    *request.uri_mut() = target;
    for name in READ_HEADERS {
        if let Some(value) = from.headers().get(name)?
            && let Ok(value) = HeaderValue::try_from(value)
        {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(Some(request))
}

/// Path and query of an absolute URL.
fn target(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(after_scheme..).unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

fn http_method(method: &Method) -> http::Method {
    http::Method::from_bytes(method.as_ref().as_bytes()).unwrap_or_default()
}

/// The reply as the platform takes it.
pub(crate) fn write(reply: Response<Bytes>) -> worker::Result<worker::Response> {
    let (head, body) = reply.into_parts();
    let builder = ResponseBuilder::new().with_status(head.status.as_u16());
    let headers = worker::Headers::new();
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            headers.append(name.as_str(), value)?;
        }
    }
    let builder = builder.with_headers(headers);
    Ok(if body.is_empty() {
        builder.empty()
    } else {
        builder.fixed(body.into())
    })
}

/// The reply to a request that cannot be read.
pub(crate) fn bad_request() -> worker::Result<worker::Response> {
    worker::Response::error("Bad request.", 400)
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn target_is_path_and_query() {
        for (url, expected) in [
            (
                "https://edge.example/api/v1/flags/?feature=a",
                "/api/v1/flags/?feature=a",
            ),
            ("http://127.0.0.1:8787/", "/"),
            ("https://edge.example", "/"),
            ("https://u:p@edge.example/a%2Fb", "/a%2Fb"),
        ] {
            assert_eq!(target(url), expected);
        }
    }
}
