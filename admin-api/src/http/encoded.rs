//! Bodies of requests that come packed (`Content-Encoding`, RFC 9110 8.4).

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::ApiError;

/// The body as it was before it was packed with gzip, if it was: at most `limit` bytes, whatever it says of itself.
/// Another coding, or several, is 415; what is longer is 413 and is not unpacked further.
pub(crate) fn unpacked(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let (coding, other) = (codings.next(), codings.next());
    let named = coding.map(|coding| String::from_utf8_lossy(coding.as_bytes()));
    match named.as_deref().map(str::trim) {
        _ if other.is_some() => return Err(ApiError::UnsupportedEncoding("several".to_owned())),
        None => return Ok(body),
        Some(coding) if coding.eq_ignore_ascii_case("identity") => return Ok(body),
        Some(coding)
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {}
        Some(coding) => return Err(ApiError::UnsupportedEncoding(coding.to_owned())),
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut plain = Vec::with_capacity(limit.min(body.len().saturating_mul(4)));
    MultiGzDecoder::new(&body[..])
        .take(most.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|error| ApiError::BadRequest(format!("gzip error - {error}")))?;
    if plain.len() > limit {
        return Err(ApiError::TooLarge);
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    fn packed(plain: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    fn unpack(codings: &[&'static str], body: &Bytes, limit: usize) -> Result<Bytes, ApiError> {
        let codings = codings.iter().copied().map(HeaderValue::from_static);
        let headers = codings.map(|coding| (CONTENT_ENCODING, coding)).collect();
        unpacked(&headers, body.clone(), limit)
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let plain = Bytes::from_static(b"{\"id\": 1}");
        let twice = [packed(b"{\"id\":"), packed(b" 1}")].concat().into();
        for (codings, body) in [
            (&[][..], &plain),
            (&["identity"], &plain),
            (&["gzip"], &packed(&plain)),
            (&["x-GZip"], &twice),
        ] {
            assert_eq!(unpack(codings, body, 9).unwrap(), plain, "{codings:?}");
        }
        for other in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &[""]] {
            let refused = unpack(other, &plain, 100);
            assert!(
                matches!(refused, Err(ApiError::UnsupportedEncoding(_))),
                "{other:?}"
            );
        }
    }

    #[test]
    fn what_is_damaged_or_a_bomb_is_refused() {
        // A megabyte in a kilobyte, again and again.
        let bomb: Bytes = packed(&vec![0; 1 << 20]).repeat(1_000).into();
        assert!(bomb.len() < 2 << 20);
        let refused = unpack(&["gzip"], &bomb, 1 << 20);
        assert!(matches!(refused, Err(ApiError::TooLarge)));
        let whole = packed(b"{\"id\": 1}");
        for damaged in [whole.slice(..whole.len() - 1), Bytes::new(), "{}".into()] {
            let refused = unpack(&["gzip"], &damaged, 100);
            assert!(matches!(refused, Err(ApiError::BadRequest(_))));
        }
    }
}
