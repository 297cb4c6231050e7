//! `/flags/`: the environment's flags without an identity (flagsmith-observed.md 3.3).

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::asker::{self, Asker};
use super::conditional;
use super::error::Refusal;
use super::field;
use super::identities::write_without_variants;
use super::ports::Host;
use super::query;
use super::reply;
use super::route::{FLAGS, OPTIONS};

/// `GET /flags/`, and one flag with `?feature=`.
pub(super) fn get(access: &Access, head: &Parts) -> Response<Bytes> {
    let snapshot = &access.snapshot;
    let (all, etag) = snapshot.flags(access.side);
    let feature = query::last(head.uri.query(), "feature");
    let body = match &feature {
        None => Some(all),
        Some(name) => snapshot.flag(access.side, name),
    };
    let Some(body) = body else {
        return feature_not_found();
    };
    let mut reply = reply::flags(snapshot, access.side, etag, body);
    if feature.is_some() {
        reply.headers_mut().remove(&reply::UPDATED_AT);
    }
    // The tag of all flags serves for one of them: it cannot change without them.
    if conditional::has_etag(&head.headers, etag) {
        return reply::empty(reply, StatusCode::NOT_MODIFIED);
    }
    reply
}

fn feature_not_found() -> Response<Bytes> {
    let body = reply::detail("Given feature not found");
    let mut reply = reply::json(&FLAGS, StatusCode::NOT_FOUND, body);
    reply::vary_as_flagsmith(&mut reply, &FLAGS);
    reply
}

/// `GET /flags/<identifier>`, deprecated: an identity's flags without `variant`, and with the
/// control value of multivariate ones.
pub(super) async fn get_of_identity<H: Host>(
    host: &H,
    access: &Access,
    identifier: &str,
    query: Option<&str>,
) -> Result<Response<Bytes>, Refusal> {
    let snapshot = &access.snapshot;
    field::check_identifier(identifier)?;
    let record = asker::find_or_create(host, snapshot, identifier).await?;
    let overrides = asker::overrides(host, snapshot, identifier).await?;
    let asker = Asker::known(identifier, Some(&record), overrides);
    let mut flags = Vec::with_capacity(asker.expected_length(snapshot, access.side));
    let feature = query::last(query, "feature").filter(|name| !name.is_empty());
    let found = asker.evaluate(access.settings, |identity, overrides| {
        let feature = feature.as_deref();
        snapshot.write_identity_controls(access.side, identity, overrides, feature, &mut flags)
    });
    if !found {
        return Ok(feature_not_found());
    }
    let mut out = Vec::with_capacity(flags.len());
    write_without_variants(&flags, &mut out);
    let mut reply = reply::json(&FLAGS, StatusCode::OK, out.into());
    reply::vary_as_flagsmith(&mut reply, &FLAGS);
    Ok(reply)
}

/// `GET /flags/<feature id>/multivariate-options/`.
pub(super) fn multivariate_options(
    access: &Access,
    feature: i64,
) -> Result<Response<Bytes>, Refusal> {
    let body = access.snapshot.multivariate_options(access.side, feature);
    let body = body.ok_or(Refusal::NotFound("No Feature matches the given query."))?;
    Ok(reply::json(&OPTIONS, StatusCode::OK, body))
}
