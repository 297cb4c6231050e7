//! `/identities/`: the flags of one identity (flagsmith-api.md A.4, flagsmith-observed.md 3.4).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::anonymous;
use super::asker::{self, Asker};
use super::error::{Errors, Refusal};
use super::field;
use super::identity_record::{IdentityRecord, TraitChange};
use super::ports::Host;
use super::query;
use super::reply;
use super::route::{IDENTITIES, IDENTITY};
use super::submission::{self, Sent};
use crate::snapshot::Snapshot;

/// `GET /identities/?identifier=`, with `&transient=` and `&feature=`.
pub(super) async fn get<H: Host>(
    host: &H,
    access: &Access,
    query: Option<&str>,
) -> Result<Response<Bytes>, Refusal> {
    let identifier = query::last(query, "identifier").unwrap_or_default();
    if identifier.is_empty() {
        // Flagsmith answers 200, and SDKs show the text.
        let mut reply = reply::json(
            &IDENTITIES,
            StatusCode::OK,
            reply::detail("Missing identifier"),
        );
        reply::vary_as_flagsmith(&mut reply, &IDENTITIES);
        return Ok(reply);
    }
    field::check_identifier(&identifier)?;
    let snapshot = &access.snapshot;
    let record;
    // Any value makes it transient, `false` too, and then nothing stored counts.
    let transient = query::last(query, "transient").is_some_and(|value| !value.is_empty());
    let asker = if transient {
        Asker::stranger(&identifier)
    } else {
        record = asker::find_or_create(host, snapshot, &identifier).await?;
        let overrides = asker::overrides(host, snapshot, &identifier).await?;
        Asker::known(&identifier, Some(&record), overrides)
    };
    let feature = query::last(query, "feature").filter(|name| !name.is_empty());
    let mut reply = if let Some(feature) = feature {
        one_flag(access, &asker, &feature)
    } else {
        let body = asker.answer(snapshot, access.settings, access.side);
        reply::json(&IDENTITIES, StatusCode::OK, body.into())
    };
    reply::vary_as_flagsmith(&mut reply, &IDENTITIES);
    reply::updated_at(&mut reply, snapshot);
    Ok(reply)
}

fn one_flag(access: &Access, asker: &Asker<'_>, feature: &str) -> Response<Bytes> {
    let mut out = Vec::with_capacity(512);
    let found = asker.evaluate(access.settings, |identity, overrides| {
        let snapshot = &access.snapshot;
        snapshot.write_identity_flag(access.side, identity, overrides, feature, &mut out)
    });
    if found {
        reply::json(&IDENTITIES, StatusCode::OK, out.into())
    } else {
        let body = reply::detail("Given feature not found");
        reply::json(&IDENTITIES, StatusCode::NOT_FOUND, body)
    }
}

/// `POST /identities/`.
pub(super) async fn post<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<Bytes>, Refusal> {
    let mut submission = submission::read(&head.headers, body)?;
    if !access.may_set_traits() {
        // Without a word, as Flagsmith does: SDKs send traits whatever the environment allows.
        submission.traits.clear();
    }
    let sent = submission.traits;
    let snapshot = &access.snapshot;
    let record;
    let identifier;
    let asker = match submission.identifier {
        None => {
            identifier = Cow::Owned(anonymous::identifier(&sent, &|| host.random()));
            let mut asker = Asker::stranger(&identifier);
            asker.overlay(sent.iter(), true);
            asker
        }
        Some(named) => {
            identifier = named;
            let kept = if submission.transient {
                Kept::Nothing
            } else if access.settings.persist_trait_data {
                Kept::Traits
            } else {
                Kept::Identity
            };
            let at_hand = host
                .identity_at_hand(snapshot, &identifier)
                .filter(|held| kept != Kept::Traits || is_stored(&sent, held));
            record = if let Some(held) = at_hand {
                let mut set = sent.iter().filter(|sent| !sent.transient).peekable();
                if kept == Kept::Traits && set.peek().is_some() {
                    let mut set = set.map(|sent| &*sent.key);
                    host.sent_as_held(snapshot, &identifier, &held, &mut set);
                }
                Some(held)
            } else {
                keep(host, snapshot, &identifier, kept, &sent)
                    .await?
                    .map(Arc::new)
            };
            let overrides = asker::overrides(host, snapshot, &identifier).await?;
            let mut asker = Asker::known(&identifier, record.as_deref(), overrides);
            let unstored = sent
                .iter()
                .filter(|sent| kept != Kept::Traits || sent.transient);
            asker.overlay(unstored, kept == Kept::Nothing);
            asker
        }
    };
    let body = asker.answer(snapshot, access.settings, access.side);
    let mut reply = reply::json(&IDENTITIES, StatusCode::OK, body.into());
    reply::updated_at(&mut reply, snapshot);
    Ok(reply)
}

/// What a request leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Identity,
    Traits,
}

/// Stores what is to be kept of a request, and tells what is stored then.
async fn keep<H: Host>(
    host: &H,
    snapshot: &Snapshot,
    identifier: &str,
    kept: Kept,
    sent: &[Sent<'_>],
) -> Result<Option<IdentityRecord>, Refusal> {
    let change = match kept {
        Kept::Nothing => return Ok(host.identity(snapshot, identifier).await?),
        Kept::Identity => None,
        Kept::Traits => stored_part(sent)?,
    };
    let record = match change {
        None => asker::find_or_create(host, snapshot, identifier).await?,
        Some(change) => asker::change(host, snapshot, identifier, change).await?,
    };
    Ok(Some(record))
}

/// Whether storing these traits would change nothing and nothing is wrong with them: what an SDK asks for
/// that sends the same traits with every request. Only looked for in stored order, which finds those that
/// were sent in one request, and finds no trait twice; never says yes wrongly.
fn is_stored(sent: &[Sent<'_>], record: &IdentityRecord) -> bool {
    let mut stored = record.traits.iter();
    sent.iter().filter(|sent| !sent.transient).all(|sent| {
        let value = sent.value.as_ref();
        value.is_some_and(|value| {
            stored
                .find(|stored| stored.key == sent.key)
                .is_some_and(|stored| {
                    *value == stored.value && field::storable(&stored.value).is_ok()
                })
        })
    })
}

/// The change that the stored traits of a request make; nothing where it has none. What cannot be
/// stored is refused whole, also a trait that is set twice: Flagsmith answers 500 to these.
fn stored_part(sent: &[Sent<'_>]) -> Result<Option<TraitChange>, Errors> {
    let mut changes: Vec<(String, Option<_>)> = Vec::new();
    let mut errors = Vec::new();
    let mut refused = false;
    for sent in sent {
        let mut error = Errors::Fields(Vec::new());
        if !sent.transient {
            let value = sent.value.as_ref().map(submission::SentValue::to_scalar);
            let twice = changes
                .iter()
                .any(|(key, earlier)| *key == sent.key && earlier.is_some() && value.is_some());
            if twice {
                error = Errors::field("trait_key", Errors::message("This trait is set twice."));
            } else if let Some(Err(unstorable)) = value.as_ref().map(field::storable) {
                error = Errors::field("trait_value", unstorable);
            }
            changes.push((sent.key.clone().into_owned(), value));
        }
        refused |= error != Errors::Fields(Vec::new());
        errors.push(error);
    }
    if refused {
        return Err(Errors::field("traits", Errors::Items(errors)));
    }
    Ok((!changes.is_empty()).then_some(TraitChange::Merge(changes)))
}

/// `GET /identities/<identifier>/`, deprecated: flags without `variant` and with the control value of
/// multivariate ones, traits, and the segments the identity is in.
pub(super) async fn get_deprecated<H: Host>(
    host: &H,
    access: &Access,
    identifier: &str,
) -> Result<Response<Bytes>, Refusal> {
    let snapshot = &access.snapshot;
    field::check_identifier(identifier)?;
    let record = asker::find_or_create(host, snapshot, identifier).await?;
    let overrides = asker::overrides(host, snapshot, identifier).await?;
    let asker = Asker::known(identifier, Some(&record), overrides);
    let mut out = Vec::with_capacity(asker.expected_length(snapshot, access.side));
    out.extend_from_slice(b"{\"flags\":");
    asker.evaluate(access.settings, |identity, overrides| {
        let mut flags = Vec::with_capacity(out.capacity());
        snapshot.write_identity_controls(access.side, identity, overrides, None, &mut flags);
        write_without_variants(&flags, &mut out);
        out.extend_from_slice(b",\"traits\":");
        asker.write_traits(access.settings, &mut out);
        out.extend_from_slice(b",\"segments\":");
        snapshot.write_identity_segments(identity, &mut out);
    });
    out.push(b'}');
    Ok(reply::json(&IDENTITY, StatusCode::OK, out.into()))
}

/// Copies flags as they were before `variant` was added. In JSON an unescaped quote after a comma
/// begins a key, never a part of some text, so the bytes can be searched.
pub(super) fn write_without_variants(flags: &[u8], out: &mut Vec<u8>) {
    const KEY: &[u8] = b",\"variant\":";
    let mut rest = flags;
    while let Some(at) = rest.windows(KEY.len()).position(|window| window == KEY) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + KEY.len()..];
        let mut escaped = false;
        let end = rest.iter().enumerate().position(|(index, byte)| {
            let in_text = rest[0] == b'"';
            let ends = if in_text {
                index > 0 && *byte == b'"'
            } else {
                matches!(byte, b',' | b'}')
            };
            let ends = ends && !escaped;
            escaped = in_text && *byte == b'\\' && !escaped;
            ends
        });
        let end = end.map_or(rest.len(), |end| end + usize::from(rest[0] == b'"'));
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::super::identity_record::TraitScalar;
    use super::super::submission::SentValue;
    use super::*;
    use crate::time::Timestamp;

    fn sent(
        key: &'static str,
        value: Option<SentValue<'static>>,
        transient: bool,
    ) -> Sent<'static> {
        Sent {
            key: key.into(),
            value,
            transient,
        }
    }

    #[test]
    fn only_what_lasts_is_stored() {
        let sent = [
            sent("a", Some(SentValue::Int(1)), false),
            sent("a", Some(SentValue::Int(i64::MAX)), true),
            sent("b", None, false),
        ];
        let expected = vec![
            ("a".to_owned(), Some(TraitScalar::Int(1))),
            ("b".to_owned(), None),
        ];
        assert_eq!(stored_part(&sent), Ok(Some(TraitChange::Merge(expected))));
        assert_eq!(stored_part(&sent[1..2]), Ok(None));
    }

    #[test]
    fn what_is_stored_already_is_seen() {
        let stored = [
            ("a", TraitScalar::Int(1)),
            ("b", TraitScalar::Text("x".to_owned())),
            ("big", TraitScalar::Int(i64::MAX)),
        ];
        let stored = stored.map(|(key, value)| (key.to_owned(), Some(value)));
        let mut record = IdentityRecord::default();
        record
            .apply(&TraitChange::Merge(stored.into()), Timestamp::default())
            .unwrap();
        let a = || sent("a", Some(SentValue::Int(1)), false);
        let b = || sent("b", Some(SentValue::Text("x".into())), false);
        for (sent, expected) in [
            (vec![], true),
            (vec![a(), b()], true),
            (vec![b()], true),
            (
                vec![a(), sent("b", Some(SentValue::Int(7)), true), b()],
                true,
            ),
            // What follows could be told, too; storing it tells the same.
            (vec![b(), a()], false),
            (vec![sent("c", None, false)], false),
            (vec![a(), a()], false),
            (vec![sent("a", Some(SentValue::Int(2)), false)], false),
            (vec![sent("a", Some(SentValue::Float(1.0)), false)], false),
            (vec![sent("a", Some(SentValue::Bool(true)), false)], false),
            (vec![sent("a", None, false)], false),
            (vec![sent("new", Some(SentValue::Int(1)), false)], false),
            // Stored by whatever means, it is still refused.
            (
                vec![sent("big", Some(SentValue::Int(i64::MAX)), false)],
                false,
            ),
        ] {
            assert_eq!(is_stored(&sent, &record), expected, "{sent:?}");
            if expected && let Some(change) = stored_part(&sent).unwrap() {
                assert!(record.is_unchanged_by(&change), "{change:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused_at_its_place() {
        let sent = [
            sent("a", Some(SentValue::Int(1)), false),
            sent("b", Some(SentValue::Int(2_147_483_648)), false),
            sent("a", Some(SentValue::Int(2)), false),
        ];
        let body = Refusal::from(stored_part(&sent).unwrap_err()).body();
        assert_eq!(
            String::from_utf8(body.to_vec()).unwrap(),
            concat!(
                r#"{"traits":[{},{"trait_value":["Ensure this value is less than or equal to "#,
                r#"2147483647."]},{"trait_key":["This trait is set twice."]}]}"#
            )
        );
    }

    #[test]
    fn variants_are_left_out() {
        let flags = br#"[{"value":",\"variant\":1","variant":null},{"variant":"x","variant":"a\\\"},b","z":1}]"#;
        let mut out = Vec::new();
        write_without_variants(flags, &mut out);
        let expected = r#"[{"value":",\"variant\":1"},{"variant":"x","z":1}]"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
