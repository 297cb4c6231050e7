//! `create-segment-override/`: an override and its state in one go.

use axum::extract::{Path, State};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{OverrideIn, OverrideOut};
use super::rows;
use crate::access::{In, ManageSegmentOverrides};
use crate::api::environments::Environment;
use crate::api::feature_states::{self, Change, Form, NewState};
use crate::api::features;
use crate::app::App;
use crate::http::{ApiError, Body, Created, FieldErrors, Fields, Id, Int, Mode};

/// The table of these operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A new override of a feature for the members of a segment.
#[utoipa::path(post,
    path = "/api/v1/environments/{environment_api_key}/features/{feature_pk}/create-segment-override/",
    operation_id = "environments_features_create_segment_override_create", tag = "Feature segments",
    params(("environment_api_key" = String, Path), ("feature_pk" = i64, Path)),
    request_body = OverrideIn, responses((status = 201, body = OverrideOut)),
    security(("token" = [])))]
async fn create(
    State(app): State<App>,
    environment: In<Environment, ManageSegmentOverrides>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Created<OverrideOut>, ApiError> {
    let mut db = app.db().await?;
    let (it, actor) = (environment.it, environment.actor);
    let feature = features::find(&db, it.project_id, &path.1).await?;
    let start = feature_states::initial_value(&db, &it, feature.id)
        .await?
        .unwrap_or_default();
    let options: Vec<i64> = feature_states::options(&*db, feature.id)
        .await?
        .iter()
        .map(|option| option.id)
        .collect();

    let mut fields = body.fields(Mode::Full)?;
    if fields.raw("feature_state_value").is_none() {
        return Err(ApiError::field(
            "feature_state_value",
            "This field is required.",
        ));
    }
    let change = Change::read(&mut fields, Form::Nested, start, &options)?;
    let (mut place, segment_id, priority) = read_place(&fields)?;
    if !place.has_error("segment") {
        rows::check_segment(&*db, &it, feature.id, segment_id, &mut place).await?;
    }
    if let Err(errors) = place.into_result() {
        fields.set_error("feature_segment", errors.into_value());
    }
    fields.finish()?;

    let tx = db.write(Some(&actor)).await?;
    let place = rows::insert(&tx, it.id, feature.id, segment_id, priority).await?;
    let new = NewState {
        environment_id: it.id,
        feature_id: feature.id,
        feature_segment_id: Some(place.id),
        identity_id: None,
        enabled: change.enabled.unwrap_or_default(),
        value: change.value,
        shares: change.shares,
    };
    let id = feature_states::insert(&tx, new).await?;
    let (state, weights) = feature_states::get(&*tx, id)
        .await?
        .ok_or(ApiError::NotFound("FeatureState"))?;
    tx.commit(feature_states::entries(&it, None, &state, false))
        .await?;
    Ok(Created(OverrideOut::new(&place, &state, &weights)))
}

/// The segment and the priority, in the fields of their own that errors go to.
fn read_place(fields: &Fields) -> Result<(Fields, i64, Option<i32>), ApiError> {
    let Some(said) = fields.raw("feature_segment").filter(|said| !said.is_null()) else {
        return Err(ApiError::field(
            "feature_segment",
            "This field is required.",
        ));
    };
    let mut place = Fields::of(Value::clone(said), Mode::Full).map_err(|errors| {
        let mut nested = FieldErrors::default();
        nested.set("feature_segment", errors.into_value());
        nested
    })?;
    let segment_id = place.required("segment", Id);
    let priority = place
        .nullable("priority", Int::between(0, i32::MAX))
        .into_option();
    Ok((place, segment_id, priority))
}
