//! `/analytics/flags/`: how often SDKs evaluated flags (flagsmith-observed.md 3.9). Counted by the
//! host, after the reply.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::body;
use super::error::{Errors, Refusal};
use super::field::{self, Checked, MAX_IDENTIFIER};
use super::json::Json;
use super::route::{ANALYTICS, ANALYTICS_V2};
use super::usage::Origin;
use super::{Effect, Evaluation, Outcome, reply};

/// Most characters of a feature's name.
const MAX_FEATURE_NAME: usize = 2_000;

/// `POST /api/v1/analytics/flags/`: a dictionary of counts. What is no count of a known feature is
/// dropped in silence.
pub(super) fn post(access: &Access, head: &Parts, body: &Bytes) -> Result<Outcome, Refusal> {
    let Json::Dict(counts) = body::read(&head.headers, body)? else {
        return Err(Errors::whole("Expected a JSON object.").into());
    };
    let rows = counts
        .into_iter()
        .filter_map(|(feature, count)| match count {
            Json::Int(count) if access.snapshot.has_feature(&feature.text) => Some(Evaluation {
                feature_name: feature.text,
                identity_identifier: None,
                enabled_when_evaluated: None,
                count,
            }),
            _ => None,
        });
    let rows = rows.collect();
    Ok(outcome(
        access,
        head,
        reply::uncached(&ANALYTICS, StatusCode::OK, Bytes::new()),
        rows,
    ))
}

/// `POST /api/v2/analytics/flags/`: rows that may name an identity. Rows of unknown features are
/// dropped; one that is wrong in itself refuses all.
pub(super) fn post_v2(access: &Access, head: &Parts, body: &Bytes) -> Result<Outcome, Refusal> {
    let body = body::read(&head.headers, body)?;
    field::dictionary(&body)?;
    let evaluations = body
        .field("evaluations")
        .ok_or_else(|| Errors::message("This field is required."))
        .and_then(check_rows)
        .map_err(|errors| Errors::field("evaluations", errors))?;
    let known = |row: &Evaluation| access.snapshot.has_feature(&row.feature_name);
    let rows = evaluations.into_iter().filter(known).collect();
    Ok(outcome(
        access,
        head,
        reply::uncached(&ANALYTICS_V2, StatusCode::NO_CONTENT, Bytes::new()),
        rows,
    ))
}

fn check_rows(value: &Json) -> Result<Vec<Evaluation>, Errors> {
    let items = field::list(value)?;
    let mut rows = Vec::with_capacity(items.len());
    let mut errors = Vec::with_capacity(items.len());
    for item in items {
        match check_row(item) {
            Ok(row) => {
                rows.push(row);
                errors.push(Errors::Fields(Vec::new()));
            }
            Err(error) => errors.push(error),
        }
    }
    if rows.len() == items.len() {
        Ok(rows)
    } else {
        Err(Errors::Items(errors))
    }
}

fn check_row(item: &Json) -> Result<Evaluation, Errors> {
    field::dictionary(item)?;
    let mut checked = Checked::default();
    let feature = checked.take(
        "feature_name",
        field::name(item.field("feature_name"), MAX_FEATURE_NAME),
    );
    let identity = match item.field("identity_identifier") {
        None => Ok(None),
        identity => field::name(identity, MAX_IDENTIFIER).map(Some),
    };
    let identity = checked.take("identity_identifier", identity);
    let enabled = checked.take(
        "enabled_when_evaluated",
        field::required_boolean(item.field("enabled_when_evaluated")),
    );
    let count = checked.take("count", field::integer(item.field("count")));
    match (feature, identity, enabled, count) {
        (Some(feature_name), Some(identity_identifier), Some(enabled), Some(count)) => {
            Ok(Evaluation {
                feature_name,
                identity_identifier,
                enabled_when_evaluated: Some(enabled),
                count,
            })
        }
        _ => Err(checked.into_errors()),
    }
}

fn outcome(
    access: &Access,
    head: &Parts,
    reply: Response<Bytes>,
    rows: Vec<Evaluation>,
) -> Outcome {
    let environment_key = access.snapshot.environment_key().to_owned();
    let effects = if rows.is_empty() {
        Vec::new()
    } else {
        vec![Effect::Evaluations {
            environment_key,
            labels: Origin::of(head).to_labels(),
            rows,
        }]
    };
    Outcome {
        effects,
        ..reply.into()
    }
}
