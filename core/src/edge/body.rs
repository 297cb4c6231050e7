//! Reading request bodies: JSON, or a form.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::error::Refusal;
use super::json::{self, Json, Text};
use super::json_parser;
use super::query::form_decode;

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// There is none: the same as an empty dictionary, whatever its type.
    Nothing,
    Json,
    Form,
    Multipart,
}

/// Tells by `Content-Type`, or refuses with 415.
pub(super) fn media(headers: &HeaderMap, body: &Bytes) -> Result<Media, Refusal> {
    if body.is_empty() {
        return Ok(Media::Nothing);
    }
    let value = headers
        .get(CONTENT_TYPE)
        .map_or(&[][..], |value| value.as_bytes());
    if value == b"application/json" {
        return Ok(Media::Json);
    }
    let value = String::from_utf8_lossy(value);
    let name = value.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/json") {
        Ok(Media::Json)
    } else if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Media::Form)
    } else if name.eq_ignore_ascii_case("multipart/form-data") {
        Ok(Media::Multipart)
    } else {
        Err(Refusal::UnsupportedMediaType(value.into_owned()))
    }
}

/// Reads a body of either kind.
pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Json, Refusal> {
    parse(media(headers, body)?, headers, body)
}

/// Reads a body whose kind is known.
pub(super) fn parse(media: Media, headers: &HeaderMap, body: &Bytes) -> Result<Json, Refusal> {
    match media {
        Media::Nothing => Ok(Json::Dict(Vec::new())),
        Media::Json => json_parser::parse(body)
            .map_err(|error| Refusal::Bad(format!("JSON parse error - {error}"))),
        Media::Form => Ok(form(&String::from_utf8_lossy(body))),
        Media::Multipart => {
            let value = headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let boundary = value.and_then(|value| parameter(value, "boundary"));
            let boundary = boundary
                .filter(|boundary| !boundary.is_empty())
                .ok_or_else(|| {
                    Refusal::Bad(
                        "Multipart form parse error - Invalid boundary in multipart: None".into(),
                    )
                })?;
            Ok(multipart(&String::from_utf8_lossy(body), boundary))
        }
    }
}

/// Most fields a form may have; Django refuses more as well.
const MAX_FORM_FIELDS: usize = 1_000;

fn form(text: &str) -> Json {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    dictionary(pairs.map(|(name, value)| (form_decode(name), form_decode(value))))
}

/// A form in parts (RFC 7578). Files have no meaning here and are passed over.
fn multipart(text: &str, boundary: &str) -> Json {
    let delimiter = format!("--{boundary}");
    let parts = text.split(delimiter.as_str()).skip(1).filter_map(|part| {
        let (head, value) = part.strip_prefix("\r\n")?.split_once("\r\n\r\n")?;
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let (_, disposition) =
            lines.find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))?;
        let name = parameter(disposition, "name")?;
        let is_file = parameter(disposition, "filename").is_some();
        (!is_file).then_some((Cow::Borrowed(name), value.strip_suffix("\r\n")?.into()))
    });
    dictionary(parts)
}

/// A parameter of a header's value, without its quotes.
fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let parameters = value
        .split(';')
        .skip(1)
        .filter_map(|part| part.trim().split_once('='));
    let mut found = parameters.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found
        .next()
        .map(|(_, value)| value.trim().trim_matches('"'))
}

/// The dictionary that a form stands for: `traits[0]trait_key=…` is an item of a list and
/// `identity.identifier=…` a field of a dictionary, as in Django REST framework.
fn dictionary<'f>(pairs: impl Iterator<Item = (Cow<'f, str>, Cow<'f, str>)>) -> Json {
    let mut fields = Vec::new();
    for (name, value) in pairs.take(MAX_FORM_FIELDS) {
        let value = Json::Text((&*value).into());
        if let Some((list, index, item)) = list_item(&name) {
            let items = entry(&mut fields, list, || Json::List(Vec::new()));
            if let Json::List(items) = items {
                while items.len() <= index.min(MAX_FORM_FIELDS) {
                    items.push(Json::Dict(Vec::new()));
                }
                if let Some(Json::Dict(item_fields)) = items.get_mut(index) {
                    json::set(item_fields, item.into(), value);
                }
            }
        } else if let Some((dict, field)) = name.split_once('.') {
            if let Json::Dict(inner) = entry(&mut fields, dict, || Json::Dict(Vec::new())) {
                json::set(inner, field.into(), value);
            }
        } else {
            json::set(&mut fields, (&*name).into(), value);
        }
    }
    // Holes close up: the numbers only tell items apart and say their order.
    for (_, value) in &mut fields {
        if let Json::List(items) = value {
            items.retain(|item| *item != Json::Dict(Vec::new()));
        }
    }
    Json::Dict(fields)
}

/// `name[3]field` → `(name, 3, field)`.
fn list_item(name: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = name.split_once('[')?;
    let (index, field) = rest.split_once(']')?;
    Some((list, index.parse().ok()?, field))
}

fn entry<'e>(
    entries: &'e mut Vec<(Text, Json)>,
    name: &str,
    make: impl FnOnce() -> Json,
) -> &'e mut Json {
    let place = entries
        .iter()
        .position(|(key, _)| key.text == name)
        .unwrap_or_else(|| {
            entries.push((name.into(), make()));
            entries.len() - 1
        });
    &mut entries[place].1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content_type: Option<&'static str>) -> Result<Media, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        media(&headers, &Bytes::from_static(b"{}"))
    }

    #[test]
    fn media_types() {
        assert_eq!(kind(Some("application/json")), Ok(Media::Json));
        assert_eq!(
            kind(Some("Application/JSON; charset=utf-8")),
            Ok(Media::Json)
        );
        assert_eq!(
            kind(Some("application/x-www-form-urlencoded")),
            Ok(Media::Form)
        );
        assert_eq!(
            kind(Some("multipart/form-data; boundary=B")),
            Ok(Media::Multipart)
        );
        for (value, name) in [(Some("text/plain"), "text/plain"), (None, "")] {
            assert_eq!(
                kind(value),
                Err(Refusal::UnsupportedMediaType(name.to_owned()))
            );
        }
        assert_eq!(media(&HeaderMap::new(), &Bytes::new()), Ok(Media::Nothing));
    }

    #[test]
    fn forms() {
        let text = |text: &str| Json::Text(text.into());
        assert_eq!(
            form(
                "identifier=a+b&identifier=c&traits[1]trait_key=k&traits[1]trait_value=1&identity.identifier=x"
            ),
            Json::Dict(vec![
                ("identifier".into(), text("c")),
                (
                    "traits".into(),
                    Json::List(vec![Json::Dict(vec![
                        ("trait_key".into(), text("k")),
                        ("trait_value".into(), text("1")),
                    ])])
                ),
                (
                    "identity".into(),
                    Json::Dict(vec![("identifier".into(), text("x"))])
                ),
            ])
        );
        assert_eq!(form(""), Json::Dict(vec![]));
        let parts = "--B\r\nContent-Disposition: form-data; name=\"identifier\"\r\n\r\na b\r\n\
                     --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n1\r\n\
                     --B--\r\n";
        assert_eq!(
            multipart(parts, "B"),
            Json::Dict(vec![("identifier".into(), text("a b"))])
        );
        assert_eq!(multipart("anything", "B"), Json::Dict(vec![]));
        let Json::Dict(fields) = form("traits[99999999]trait_key=k") else {
            panic!()
        };
        assert_eq!(fields, [("traits".into(), Json::List(vec![]))]);
    }
}
