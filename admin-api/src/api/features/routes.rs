//! The operations on features (flagsmith-api.md C.5).

use axum::extract::{Path, State};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{CreateIn, Feature, FeatureIn, FeatureOut, UpdateIn};
use super::owners::{NO_OWNER, check_members, read_ids};
use super::queries::{self, Filter};
use super::rules::{self, InitialValue, MAX_NAME};
use super::tags::{self, TagFilter};
use crate::access::{self, CreateFeature, DeleteFeature, In, ViewProject};
use crate::api::feature_states::FlagValue;
use crate::api::multivariate::{self, ListedOption};
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Bool, Choice, Created, Fields, Mode, NoContent, Page, PageRequest,
    Params, Reply, Text,
};
use crate::sql::api::features as sql;
use crate::store::{Entry, Object, Queries as _, Write};

const TYPES: &[&str] = &["STANDARD", "MULTIVARIATE"];

/// The table of this resource's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(get_by_uuid))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "parameters are read one by one; this describes them"
)]
struct ListQuery {
    /// Fills `environment_feature_state` and the numbers of overrides; `is_enabled` and `value_search` need it.
    environment: Option<i64>,
    /// Fills `segment_feature_state`; features that the segment overrides come first.
    segment: Option<i64>,
    /// Features that the identity overrides come first.
    identity: Option<i64>,
    /// Part of the name.
    search: Option<String>,
    /// `created_date` or `name`.
    sort_field: Option<String>,
    /// `ASC` or `DESC`.
    sort_direction: Option<String>,
    /// Ids of tags with commas between them; empty for features without any.
    tags: Option<String>,
    /// `INTERSECTION` (of all those tags) or `UNION` (of any).
    tag_strategy: Option<String>,
    is_archived: Option<bool>,
    /// `STANDARD` or `MULTIVARIATE`.
    r#type: Option<String>,
    /// On or off in the environment.
    is_enabled: Option<bool>,
    /// Part of the value in the environment.
    value_search: Option<String>,
    /// Ids of users with commas between them.
    owners: Option<String>,
    /// Ids of groups with commas between them.
    group_owners: Option<String>,
}

/// Reads the query; none when nothing can fit it.
fn read_filter(mut params: Params) -> Result<Option<Filter>, ApiError> {
    let untagged = params.given("tags") == Some("");
    let tags = params.ids("tags", "Tag IDs must be integers.");
    let any = params.read("tag_strategy", Choice(&["INTERSECTION", "UNION"])) == Some("UNION");
    let groups = params.ids("group_owners", "Group IDs must be integers.");
    let mut filter = Filter {
        environment: params.id("environment"),
        segment: params.id("segment"),
        identity: params.id("identity"),
        search: params.text("search"),
        is_archived: params.read("is_archived", Bool),
        kind: params.read("type", Choice(TYPES)),
        is_enabled: params.read("is_enabled", Bool),
        value_search: params.text("value_search"),
        tags: tags
            .or(untagged.then(Vec::new))
            .map(|ids| TagFilter::new(ids, any)),
        owners: params.ids("owners", "User IDs must be integers."),
        sort_field: params
            .read("sort_field", Choice(&["created_date", "name"]))
            .unwrap_or("created_date"),
        descending: params.read("sort_direction", Choice(&["ASC", "DESC"])) == Some("DESC"),
    };
    params.finish()?;
    if filter.environment.is_none() {
        filter.is_enabled = None;
        filter.value_search = None;
    }
    // There are no groups yet that could own a feature.
    Ok(groups.is_none().then_some(filter))
}

/// The project's features.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/",
    operation_id = "projects_features_list", tag = "Features",
    params(("project_pk" = i64, Path), ListQuery, PageRequest),
    responses((status = 200, body = Page<FeatureOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    params: Params,
    page: PageRequest,
) -> Result<Reply<Page<FeatureOut>>, ApiError> {
    let Some(filter) = read_filter(params)? else {
        return Ok(Reply(page.page(0, Vec::new())?));
    };
    let (count, features) = queries::list(&app.db().await?, &project.it, &filter, &page).await?;
    Ok(Reply(page.page(count, features)?))
}

/// A new feature, with a state in every environment of the project.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/features/",
    operation_id = "projects_features_create", tag = "Features",
    params(("project_pk" = i64, Path)), request_body = CreateIn,
    responses((status = 201, body = FeatureOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    project: In<Project, CreateFeature>,
    body: Body,
) -> Result<Created<FeatureOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let new = New::read(&mut fields, &project.it);
    let mut db = app.db().await?;
    let tags = tags::read(&db, project.it.id, &mut fields).await?;
    fields.finish()?;
    if !new.options.is_empty() {
        require_admin(&project)?;
    }
    let owners = match new.owners.as_deref() {
        Some(owners) => {
            check_members(&db, &project.it, owners).await?;
            owners.to_vec()
        }
        None => vec![project.actor.user_id],
    };
    if project.it.enforce_feature_owners && owners.is_empty() {
        return Err(ApiError::field("owners", NO_OWNER));
    }

    let tx = db.write(Some(&project.actor)).await?;
    let feature = insert(&tx, &project.it, new, &owners).await?;
    tags::set(&tx, feature.id, &tags.unwrap_or_default()).await?;
    let shown = queries::show_one(&*tx, feature.clone(), None, None).await?;
    let log = format!("New Flag / Remote Config created: {}", feature.name);
    tx.commit(entry_with(&project.it, &feature, log).publish_project(project.it.id))
        .await?;
    Ok(Created(shown.created()))
}

/// One feature.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/{id}/",
    operation_id = "projects_features_retrieve", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path),
        ("environment" = Option<i64>, Query), ("segment" = Option<i64>, Query)),
    responses((status = 200, body = FeatureOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
    mut params: Params,
) -> Result<Reply<FeatureOut>, ApiError> {
    let (environment, segment) = (params.id("environment"), params.id("segment"));
    params.finish()?;
    let db = app.db().await?;
    let feature = queries::find(&db, project.it.id, &path.1).await?;
    Ok(Reply(
        queries::show_one(&*db, feature, environment, segment).await?,
    ))
}

/// A feature by its uuid.
#[utoipa::path(get, path = "/api/v1/features/get-by-uuid/{uuid}/",
    operation_id = "features_get_by_uuid_retrieve", tag = "Features", params(("uuid" = Uuid, Path)),
    responses((status = 200, body = FeatureOut)), security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<FeatureOut>, ApiError> {
    let uuid: Uuid = uuid.parse().map_err(|_| MISSING)?;
    let db = app.db().await?;
    let id: i64 = db.maybe(sql::ID_BY_UUID, [&uuid]).await?.ok_or(MISSING)?;
    let feature = queries::get(&*db, id).await?.ok_or(MISSING)?;
    access::project::<ViewProject>(&db, &actor, feature.project_id).await?;
    Ok(Reply(
        queries::show_one(&*db, feature, None, None)
            .await?
            .by_uuid(),
    ))
}

/// Changes a feature. Its name and what it starts with stay; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/projects/{project_pk}/features/{id}/",
    operation_id = "projects_features_update", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = UpdateIn,
    responses((status = 200, body = FeatureOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    project: In<Project, CreateFeature>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<FeatureOut>, ApiError> {
    Ok(Reply(change(&app, &project, &path.1, body).await?))
}

/// Changes some of a feature.
#[utoipa::path(patch, path = "/api/v1/projects/{project_pk}/features/{id}/",
    operation_id = "projects_features_partial_update", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = UpdateIn,
    responses((status = 200, body = FeatureOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    project: In<Project, CreateFeature>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<FeatureOut>, ApiError> {
    Ok(Reply(
        change(&app, &project, &path.1, body).await?.patched(),
    ))
}

/// Deletes a feature with its states in every environment.
#[utoipa::path(delete, path = "/api/v1/projects/{project_pk}/features/{id}/",
    operation_id = "projects_features_destroy", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    project: In<Project, DeleteFeature>,
    Path(path): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let feature = queries::find(&db, project.it.id, &path.1).await?;
    let tx = db.write(Some(&project.actor)).await?;
    if tx.run(sql::DELETE, [&feature.id]).await? == 0 {
        return Err(MISSING);
    }
    let log = format!("Flag / Remote Config Deleted: {}", feature.name);
    tx.commit(entry_with(&project.it, &feature, log).publish_project(project.it.id))
        .await?;
    Ok(NoContent)
}

const MISSING: ApiError = ApiError::NotFound("Feature");

/// What a caller says about a new feature.
struct New {
    name: String,
    kind: &'static str,
    default_enabled: bool,
    initial_value: Option<String>,
    rest: FeatureIn,
    owners: Option<Vec<i64>>,
    options: Vec<ListedOption>,
}

impl New {
    fn read(fields: &mut Fields, project: &Project) -> Self {
        let name = fields.required("name", Text::max(MAX_NAME));
        if !fields.has_error("name")
            && let Err(message) = rules::check_name(&name, project.feature_name_regex.as_deref())
        {
            fields.error("name", message);
        }
        let mut options = multivariate::read_list(fields).unwrap_or_default();
        for option in &mut options {
            option.id = None;
        }
        Self {
            name,
            kind: fields.optional("type", Choice(TYPES)).unwrap_or(TYPES[0]),
            default_enabled: fields.optional("default_enabled", Bool).unwrap_or_default(),
            initial_value: fields.nullable("initial_value", InitialValue).into_option(),
            rest: FeatureIn::read(fields),
            owners: fields
                .raw("owners")
                .is_some()
                .then(|| read_ids(fields, "owners"))
                .flatten(),
            options,
        }
    }
}

/// Writes a new feature, its owners, its states and its options.
async fn insert(
    tx: &Write<'_>,
    project: &Project,
    new: New,
    owners: &[i64],
) -> Result<Feature, ApiError> {
    let New {
        name,
        kind,
        default_enabled,
        initial_value,
        rest,
        owners: _,
        options,
    } = new;
    let mut feature = Feature {
        id: 0,
        uuid: Uuid::nil(),
        project_id: project.id,
        name,
        kind: kind.to_owned(),
        default_enabled,
        initial_value,
        description: None,
        is_archived: false,
        is_server_key_only: false,
        created_at: tx.now(),
    };
    rest.apply(&mut feature);
    tx.run(sql::LOCK_PROJECT, [&project.id]).await?;
    let id: i64 = tx
        .one(
            sql::INSERT,
            [
                &feature.project_id,
                &feature.name,
                &feature.kind,
                &feature.default_enabled,
                &feature.initial_value,
                &feature.description,
                &feature.is_archived,
                &feature.is_server_key_only,
                &feature.created_at,
            ],
        )
        .await?;
    tx.run(sql::ADD_OWNERS, [&id, &owners]).await?;
    let (enabled, value) = rules::defaults(
        project.prevent_flag_defaults,
        default_enabled,
        feature.initial_value.as_deref(),
    );
    let FlagValue {
        kind,
        string,
        integer,
        boolean,
    } = value;
    tx.run(
        sql::INSERT_STATES,
        [
            &id,
            &project.id,
            &enabled,
            &kind.name(),
            &string,
            &integer,
            &boolean,
            &tx.now(),
        ],
    )
    .await?;
    if !options.is_empty() {
        multivariate::apply_list(tx, id, options).await?;
    }
    queries::get(&**tx, id).await?.ok_or(MISSING)
}

async fn change(
    app: &App,
    project: &In<Project, CreateFeature>,
    id: &str,
    body: Body,
) -> Result<FeatureOut, ApiError> {
    let mut fields = body.fields(Mode::Partial)?;
    let said = FeatureIn::read(&mut fields);
    let options = multivariate::read_list(&mut fields);
    let mut db = app.db().await?;
    let feature = queries::find(&db, project.it.id, id).await?;
    let tags = tags::read(&db, project.it.id, &mut fields).await?;
    fields.finish()?;
    let touches_options = match &options {
        None => false,
        Some(options) => !options.is_empty() || feature.kind != TYPES[0],
    };

    let tx = db.write(Some(&project.actor)).await?;
    let mut feature: Feature = tx.maybe(sql::LOCK, [&feature.id]).await?.ok_or(MISSING)?;
    let before = feature.clone();
    said.apply(&mut feature);
    let mut changed = feature != before;
    if changed {
        tx.run(
            sql::UPDATE,
            [
                &feature.id,
                &feature.description,
                &feature.is_archived,
                &feature.is_server_key_only,
            ],
        )
        .await?;
    }
    if let Some(options) = options.filter(|_| touches_options)
        && multivariate::apply_list(&tx, feature.id, options).await?
    {
        // A dashboard sends the options back as they were; only changing them asks for more.
        require_admin(project)?;
        changed = true;
    }
    let retagged = match tags {
        Some(tags) => tags::set(&tx, feature.id, &tags).await?,
        None => false,
    };
    let id = feature.id;
    let feature = queries::get(&*tx, id).await?.ok_or(MISSING)?;
    let shown = queries::show_one(&*tx, feature.clone(), None, None).await?;
    let entry = entry(&project.it, &feature, "updated");
    if changed {
        tx.commit(entry.publish_project(project.it.id)).await?;
    } else if retagged {
        tx.commit(entry).await?;
    }
    Ok(shown)
}

/// Options are for the project's admins.
fn require_admin(project: &In<Project, CreateFeature>) -> Result<(), ApiError> {
    if project.standing.is_admin() {
        return Ok(());
    }
    let message = "User must be project admin to modify / create MV options.";
    Err(ApiError::ForbiddenBecause(message.to_owned()))
}

/// An entry about a feature.
pub(super) fn entry(project: &Project, feature: &Feature, what: &str) -> Entry {
    entry_with(
        project,
        feature,
        format!("Flag / Remote Config {what}: {}", feature.name),
    )
}

fn entry_with(project: &Project, feature: &Feature, log: String) -> Entry {
    Entry::new(Object::Feature, feature.id, log)
        .uuid(feature.uuid)
        .in_project(project.organisation_id, project.id)
}
