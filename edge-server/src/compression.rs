//! Replies in the encoding that the client takes: gzip or brotli.
//!
//! Only bodies that stand there whole, are text and longer than [`LEAST`] are worth it. What many ask for
//! alike (a reply with an entity tag that caches may share) is packed well, once, and kept; anything else
//! is packed quickly. A packed reply's entity tag is weak, because its bytes are not those of the plain one.

use std::cell::RefCell;
use std::sync::LazyLock;

use ahash::RandomState;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use http::{Method, Response, StatusCode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// The shortest body that is packed, in bytes: below, headers outweigh what is saved.
const LEAST: usize = 1024;
/// The longest body that is packed where it is; longer ones take a thread of their own.
const QUICK: usize = 64 << 10;
/// How many bytes of packed bodies are kept.
const KEPT: u64 = 32 << 20;

const BY_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Encoding {
    Gzip,
    Brotli,
}

/// What a client takes, read from its request before that is consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    gzip: u16,
    brotli: u16,
    holds_weak_tag: bool,
    head_only: bool,
}

impl Accepted {
    /// Reads `Accept-Encoding` (RFC 9110, 12.5.3) and what else decides about packing.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut accepted = Self {
            holds_weak_tag: headers
                .get(IF_NONE_MATCH)
                .is_some_and(|tag| tag.as_bytes().starts_with(b"W/")),
            head_only: *method == Method::HEAD,
            ..Self::default()
        };
        let Some(value) = headers
            .get(ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
        else {
            return accepted;
        };
        let (mut gzip, mut brotli, mut other) = (None, None, 0);
        for item in value.split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight(parameters);
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip")
                    || name.eq_ignore_ascii_case("x-gzip") =>
                {
                    gzip = Some(weight);
                }
                name if name.eq_ignore_ascii_case("br") => brotli = Some(weight),
                "*" => other = weight,
                _ => {}
            }
        }
        accepted.gzip = gzip.unwrap_or(other);
        accepted.brotli = brotli.unwrap_or(other);
        accepted
    }

    /// The encoding it likes best; of two it likes alike, the one that suits the work.
    fn best(self, preferred: Encoding) -> Option<Encoding> {
        match self.gzip.cmp(&self.brotli) {
            _ if self.gzip == 0 && self.brotli == 0 => None,
            std::cmp::Ordering::Greater => Some(Encoding::Gzip),
            std::cmp::Ordering::Less => Some(Encoding::Brotli),
            std::cmp::Ordering::Equal => Some(preferred),
        }
    }
}

/// `q` in thousandths; 1000 where it is not given or not understood.
fn weight(parameters: &str) -> u16 {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    let Some(value) = value else { return 1000 };
    let Some((whole, fraction)) = value.split_once('.') else {
        return if value == "0" { 0 } else { 1000 };
    };
    if whole != "0" {
        return 1000;
    }
    let digits = fraction.bytes().chain(*b"000").take(3);
    digits
        .map(|digit| u16::from(digit.wrapping_sub(b'0').min(9)))
        .fold(0, |sum, digit| sum * 10 + digit)
}

/// Packs a reply if the client takes that and it pays.
pub async fn pack(accepted: Accepted, mut reply: Response<Bytes>) -> Response<Bytes> {
    if reply.status() == StatusCode::NOT_MODIFIED {
        if accepted.holds_weak_tag && accepted.best(Encoding::Gzip).is_some() {
            weaken_tag(reply.headers_mut());
        }
        return reply;
    }
    let length = if accepted.head_only {
        announced_length(reply.headers())
    } else {
        reply.body().len()
    };
    if length < LEAST || !is_packable(reply.headers()) {
        return reply;
    }
    let headers = reply.headers_mut();
    if !varies_by_encoding(headers) {
        headers.append(VARY, BY_ENCODING);
    }
    let is_kept = headers.contains_key(ETAG);
    let preferred = if is_kept {
        Encoding::Brotli
    } else {
        Encoding::Gzip
    };
    let Some(encoding) = accepted.best(preferred) else {
        return reply;
    };
    if !accepted.head_only {
        let body = std::mem::take(reply.body_mut());
        *reply.body_mut() = if is_kept {
            kept(encoding, body).await
        } else {
            aside(body, move |body| quickly(encoding, body)).await
        };
    }
    let headers = reply.headers_mut();
    headers.remove(CONTENT_LENGTH);
    let name = match encoding {
        Encoding::Gzip => "gzip",
        Encoding::Brotli => "br",
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    weaken_tag(headers);
    reply
}

fn announced_length(headers: &HeaderMap) -> usize {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Whether it is text that nobody has packed.
fn is_packable(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&[][..], HeaderValue::as_bytes);
    let is_text = [
        &b"application/json"[..],
        b"text/",
        b"application/javascript",
        b"image/svg",
    ]
    .iter()
    .any(|known| kind.starts_with(known));
    is_text && !headers.contains_key(CONTENT_ENCODING)
}

/// Whether it says so already, at the end of what it varies by, as core does.
fn varies_by_encoding(headers: &HeaderMap) -> bool {
    let vary = headers.get(VARY);
    vary.is_some_and(|vary| vary.as_bytes().ends_with(BY_ENCODING.as_bytes()))
}

fn weaken_tag(headers: &mut HeaderMap) {
    let strong = headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak = strong.map(|tag| [b"W/", tag.as_bytes()].concat());
    if let Some(weak) = weak.and_then(|weak| HeaderValue::try_from(weak).ok()) {
        headers.insert(ETAG, weak);
    }
}

/// A plain body and what it was packed to.
#[derive(Debug, Clone)]
struct Packed {
    plain: Bytes,
    packed: Bytes,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<(u64, Encoding), Packed> for ByBytes {
    fn weight(&self, _: &(u64, Encoding), value: &Packed) -> u64 {
        // The plain bytes are a part of a snapshot; while the snapshot serves they cost nothing, later they do.
        (value.plain.len() + value.packed.len()) as u64
    }
}

type Bodies = Cache<(u64, Encoding), Packed, ByBytes>;

static BODIES: LazyLock<(RandomState, Bodies)> =
    LazyLock::new(|| (RandomState::new(), Cache::with_weighter(256, KEPT, ByBytes)));

/// Packs well, or takes what was packed of the same body before.
async fn kept(encoding: Encoding, body: Bytes) -> Bytes {
    let (hashes, bodies) = &*BODIES;
    let key = (hashes.hash_one(&body[..]), encoding);
    if let Some(known) = bodies.get(&key).filter(|known| known.plain == body) {
        return known.packed;
    }
    let packed = aside(body.clone(), move |body| well(encoding, body)).await;
    let entry = Packed {
        plain: body,
        packed: packed.clone(),
    };
    bodies.insert(key, entry);
    packed
}

/// Does long work on a thread of its own; were that to fail, the body stays as it is, and is wrong: so it is
/// done here then.
async fn aside(body: Bytes, work: impl Fn(&[u8]) -> Bytes + Copy + Send + 'static) -> Bytes {
    if body.len() <= QUICK {
        return work(&body);
    }
    let copy = body.clone();
    let done = tokio::task::spawn_blocking(move || work(&copy)).await;
    done.unwrap_or_else(|_| work(&body))
}

fn well(encoding: Encoding, body: &[u8]) -> Bytes {
    match encoding {
        Encoding::Gzip => gzip(&mut Compress::new_gzip(Compression::new(7), WINDOW), body),
        Encoding::Brotli => brotli(body, if body.len() > QUICK { 5 } else { 9 }),
    }
}

fn quickly(encoding: Encoding, body: &[u8]) -> Bytes {
    thread_local! {
        /// Its tables take more time to make than a usual body to pack.
        static QUICK_GZIP: RefCell<Compress> =
            RefCell::new(Compress::new_gzip(Compression::fast(), WINDOW));
    }
    match encoding {
        Encoding::Gzip => QUICK_GZIP.with_borrow_mut(|compress| {
            compress.reset();
            gzip(compress, body)
        }),
        Encoding::Brotli => brotli(body, 1),
    }
}

/// Bits of gzip's window: all of it.
const WINDOW: u8 = 15;

fn gzip(compress: &mut Compress, body: &[u8]) -> Bytes {
    // JSON packs to a fraction; where it does not, there is another round.
    let mut out = Vec::with_capacity(body.len() / 2 + 64);
    loop {
        let rest = body.get(usize::try_from(compress.total_in()).unwrap_or(usize::MAX)..);
        let status =
            compress.compress_vec(rest.unwrap_or_default(), &mut out, FlushCompress::Finish);
        match status {
            Ok(flate2::Status::StreamEnd) | Err(_) => return out.into(),
            Ok(_) => out.reserve(body.len() / 2 + 64),
        }
    }
}

fn brotli(body: &[u8], quality: i32) -> Bytes {
    let settings = brotli::enc::BrotliEncoderParams {
        quality,
        size_hint: body.len(),
        ..Default::default()
    };
    let mut out = Vec::with_capacity(body.len() / 3 + 64);
    // Neither a slice nor a vector fails.
    let _ = brotli::BrotliCompress(&mut &body[..], &mut out, &settings);
    out.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn accepted(value: &'static str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        Accepted::of(&Method::GET, &headers)
    }

    #[test]
    fn the_client_decides() {
        use Encoding::{Brotli, Gzip};
        for (value, alike_gzip, alike_brotli) in [
            ("", None, None),
            ("identity", None, None),
            ("gzip", Some(Gzip), Some(Gzip)),
            ("GZip, deflate", Some(Gzip), Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Gzip), Some(Brotli)),
            ("br;q=1.0, gzip;q=0.8", Some(Brotli), Some(Brotli)),
            ("br;q=0.7,gzip;q=0.75", Some(Gzip), Some(Gzip)),
            ("gzip;q=0, br;q=0.0", None, None),
            ("*", Some(Gzip), Some(Brotli)),
            ("*;q=0", None, None),
            ("gzip;q=0, *", Some(Brotli), Some(Brotli)),
        ] {
            let accepted = accepted(value);
            assert_eq!(accepted.best(Gzip), alike_gzip, "{value}");
            assert_eq!(accepted.best(Brotli), alike_brotli, "{value}");
        }
    }

    fn unpack(reply: &Response<Bytes>) -> Vec<u8> {
        let mut out = Vec::new();
        let packed = &reply.body()[..];
        match reply
            .headers()
            .get(CONTENT_ENCODING)
            .map(HeaderValue::as_bytes)
        {
            Some(b"gzip") => flate2::read::GzDecoder::new(packed).read_to_end(&mut out),
            Some(b"br") => brotli::Decompressor::new(packed, 4096).read_to_end(&mut out),
            _ => return packed.to_vec(),
        }
        .unwrap();
        out
    }

    fn reply(body: Vec<u8>, etag: Option<&'static str>) -> Response<Bytes> {
        let mut reply = Response::new(Bytes::from(body));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(etag) = etag {
            headers.insert(ETAG, HeaderValue::from_static(etag));
        }
        reply
    }

    /// Text that packs badly, so that buffers have to grow.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[tokio::test]
    async fn what_is_packed_is_what_was_there() {
        for body in [
            b"{\"a\":1}".repeat(400),
            b"x".repeat(QUICK + 1),
            noise(LEAST),
            noise(200_000),
        ] {
            for value in ["gzip", "br", "gzip, br"] {
                for etag in [None, Some("\"tag\"")] {
                    // The second one may come from what is kept.
                    for _ in 0..2 {
                        let packed = pack(accepted(value), reply(body.clone(), etag)).await;
                        assert!(packed.headers().contains_key(CONTENT_ENCODING), "{value}");
                        assert_eq!(unpack(&packed), body, "{value} {etag:?} {}", body.len());
                        let tag = packed.headers().get(ETAG);
                        assert_eq!(tag.is_some(), etag.is_some());
                        assert!(tag.is_none_or(|tag| tag == "W/\"tag\""));
                        assert_eq!(packed.headers()[VARY], "Accept-Encoding");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_stays_as_it_is() {
        let all = || accepted("gzip, br");
        let short = pack(all(), reply(vec![b'a'; LEAST - 1], Some("\"t\""))).await;
        assert!(
            short.headers().get(CONTENT_ENCODING).is_none() && short.headers().get(VARY).is_none()
        );
        assert_eq!(short.headers()[ETAG], "\"t\"");
        let mut image = reply(vec![b'a'; 5000], None);
        image
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("image/png"));
        assert!(
            pack(all(), image)
                .await
                .headers()
                .get(CONTENT_ENCODING)
                .is_none()
        );
        let mut packed = reply(vec![b'a'; 5000], None);
        packed
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(pack(all(), packed).await.body().len(), 5000);
        let plain = pack(Accepted::default(), reply(vec![b'a'; 5000], Some("\"t\""))).await;
        assert_eq!(plain.body().len(), 5000);
        assert_eq!(plain.headers()[VARY], "Accept-Encoding");
        assert_eq!(plain.headers()[ETAG], "\"t\"");
    }

    #[tokio::test]
    async fn not_modified_names_the_tag_that_is_held() {
        for (held, encoding, expected) in [
            ("\"t\"", "gzip", "\"t\""),
            ("W/\"t\"", "gzip", "W/\"t\""),
            // Such a client was given no weak one.
            ("W/\"t\"", "identity", "\"t\""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(held));
            let mut reply = reply(Vec::new(), Some("\"t\""));
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            let reply = pack(Accepted::of(&Method::GET, &headers), reply).await;
            assert_eq!(reply.headers()[ETAG], expected);
        }
    }

    #[tokio::test]
    async fn head_tells_what_get_would() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        let mut reply = reply(Vec::new(), Some("\"t\""));
        reply
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(5000));
        let reply = pack(Accepted::of(&Method::HEAD, &headers), reply).await;
        assert_eq!(reply.headers()[CONTENT_ENCODING], "br");
        assert!(reply.headers().get(CONTENT_LENGTH).is_none() && reply.body().is_empty());
    }
}
