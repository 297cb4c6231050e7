//! `/traits/`, `/traits/bulk/` and `/traits/increment-value/`: changing what is stored of identities
//! (flagsmith-observed.md 3.5).

use std::collections::HashMap;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::asker::{self, write_scalar};
use super::body;
use super::error::{Errors, Refusal};
use super::field::{self, Checked, MAX_IDENTIFIER, MAX_TRAIT_KEY};
use super::identity_record::{ChangeError, TraitChange, TraitScalar};
use super::json::Json;
use super::json_text;
use super::ports::Host;
use super::reply;
use super::route::{IDENTITY_TRAIT, TRAITS, TRAITS_BULK, TRAITS_INCREMENT};

const NOT_STORING: Refusal = Refusal::Denied("Organisation is not authorised to store traits.");

/// What one identity's traits become.
type Changes = Vec<(String, Option<TraitScalar>)>;

/// One trait to set.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    identifier: String,
    key: String,
    value: TraitScalar,
}

/// `POST /traits/`.
pub(super) async fn post<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<Bytes>, Refusal> {
    check_storing(access)?;
    let setting = check(&body::read(&head.headers, body)?)?;
    check_client(access)?;
    let change = TraitChange::Merge(vec![(setting.key.clone(), Some(setting.value.clone()))]);
    asker::change(host, &access.snapshot, &setting.identifier, change).await?;
    let mut out = Vec::new();
    write(&mut out, &setting);
    Ok(reply::json(&TRAITS, StatusCode::OK, out.into()))
}

/// `PUT /traits/bulk/`: a list; an item without a value deletes. Deletions come first, as in
/// Flagsmith; of several values for one trait the last is stored. Nothing is changed on a 400.
pub(super) async fn put_bulk<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<Bytes>, Refusal> {
    check_storing(access)?;
    if !access.may_set_traits() {
        return Err(Refusal::Bad(
            "Unable to set traits with client key.".to_owned(),
        ));
    }
    let invalid = || Refusal::Bad("Invalid request data".to_owned());
    let Json::List(items) = body::read(&head.headers, body)? else {
        return Err(invalid());
    };
    if items.iter().any(|item| !matches!(item, Json::Dict(_))) {
        return Err(invalid());
    }
    let is_deletion = |item: &&Json| matches!(item.field("trait_value"), None | Some(Json::Null));
    let (deletions, settings): (Vec<&Json>, Vec<&Json>) = items.iter().partition(is_deletion);
    let settings = check_all(&settings, check)?;
    let deletions = check_all(&deletions, check_deletion)?;

    let mut order: Vec<(&str, Changes)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let deleted = deletions
        .iter()
        .map(|(identifier, key)| (identifier, key, None));
    let set = settings
        .iter()
        .map(|set| (&set.identifier, &set.key, Some(set.value.clone())));
    for (identifier, key, value) in deleted.chain(set) {
        let place = *places.entry(identifier).or_insert_with(|| {
            order.push((identifier, Vec::new()));
            order.len() - 1
        });
        order[place].1.push((key.clone(), value));
    }
    for (identifier, changes) in order {
        let change = TraitChange::Merge(changes);
        asker::change(host, &access.snapshot, identifier, change).await?;
    }

    let mut out = vec![b'['];
    for (index, setting) in settings.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, setting);
    }
    out.push(b']');
    Ok(reply::json(&TRAITS_BULK, StatusCode::OK, out.into()))
}

/// `POST /traits/increment-value/`.
pub(super) async fn post_increment<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
    body: &Bytes,
) -> Result<Response<Bytes>, Refusal> {
    check_storing(access)?;
    let body = body::read(&head.headers, body)?;
    field::dictionary(&body)?;
    let mut checked = Checked::default();
    let key = checked.take(
        "trait_key",
        field::name(body.field("trait_key"), MAX_TRAIT_KEY),
    );
    let by = checked.take("increment_by", field::integer(body.field("increment_by")));
    let identifier = checked.take(
        "identifier",
        field::name(body.field("identifier"), MAX_IDENTIFIER),
    );
    let (Some(key), Some(by), Some(identifier)) = (key, by, identifier) else {
        return Err(checked.into_errors().into());
    };
    check_client(access)?;
    let change = TraitChange::Increment {
        key: key.clone(),
        by,
    };
    let record = host
        .change_identity(&access.snapshot, &identifier, &change)
        .await?
        .map_err(|error: ChangeError| Errors::message(error.to_string()))?;
    let mut out = br#"{"trait_key":"#.to_vec();
    json_text::string(&mut out, &key);
    out.extend_from_slice(br#","trait_value":"#);
    match record.get(&key) {
        Some(value) => write_scalar(&mut out, value),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","identifier":"#);
    json_text::string(&mut out, &identifier);
    out.push(b'}');
    Ok(reply::json(&TRAITS_INCREMENT, StatusCode::OK, out.into()))
}

/// `POST /identities/<identifier>/traits/<key>`, deprecated.
pub(super) async fn post_deprecated<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
    body: &Bytes,
    (identifier, key): (&str, &str),
) -> Result<Response<Bytes>, Refusal> {
    check_storing(access)?;
    let body = body::read(&head.headers, body)?;
    field::dictionary(&body)?;
    field::check_identifier(identifier)?;
    let mut checked = Checked::default();
    let value = checked.take("trait_value", check_value(body.field("trait_value")));
    let Some(value) = value else {
        return Err(checked.into_errors().into());
    };
    if field::is_longer(key, MAX_TRAIT_KEY) {
        let most = format!("Ensure this field has no more than {MAX_TRAIT_KEY} characters.");
        return Err(Errors::field("trait_key", Errors::message(most)).into());
    }
    check_client(access)?;
    let change = TraitChange::Merge(vec![(key.to_owned(), Some(value.clone()))]);
    let record = asker::change(host, &access.snapshot, identifier, change).await?;
    let stored = record.traits.iter().find(|stored| stored.key == key);
    let mut out = br#"{"id":"#.to_vec();
    match stored.and_then(|stored| stored.id) {
        Some(id) => json_text::integer(&mut out, id),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","trait_key":"#);
    json_text::string(&mut out, key);
    out.extend_from_slice(br#","trait_value":"#);
    write_scalar(&mut out, &value);
    out.extend_from_slice(br#","transient":false}"#);
    Ok(reply::json(&IDENTITY_TRAIT, StatusCode::OK, out.into()))
}

fn check_storing(access: &Access) -> Result<(), Refusal> {
    if access.settings.persist_trait_data {
        Ok(())
    } else {
        Err(NOT_STORING)
    }
}

fn check_client(access: &Access) -> Result<(), Refusal> {
    if access.may_set_traits() {
        Ok(())
    } else {
        Err(Errors::whole("Setting traits not allowed with client key.").into())
    }
}

fn check_value(value: Option<&Json>) -> Result<TraitScalar, Errors> {
    let value = value.ok_or_else(|| Errors::message("This field is required."))?;
    let value = field::trait_value(value)?;
    field::storable(&value)?;
    Ok(value)
}

fn check_identity(value: Option<&Json>) -> Result<String, Errors> {
    let identity = match value {
        None => return Err(Errors::message("This field is required.")),
        Some(Json::Null) => return Err(Errors::message("This field may not be null.")),
        Some(identity) => identity,
    };
    field::dictionary(identity)?;
    field::name(identity.field("identifier"), MAX_IDENTIFIER)
        .map_err(|errors| Errors::field("identifier", errors))
}

fn check(body: &Json) -> Result<Setting, Errors> {
    field::dictionary(body)?;
    let mut checked = Checked::default();
    let identifier = checked.take("identity", check_identity(body.field("identity")));
    let value = checked.take("trait_value", check_value(body.field("trait_value")));
    let key = checked.take(
        "trait_key",
        field::name(body.field("trait_key"), MAX_TRAIT_KEY),
    );
    match (identifier, value, key) {
        (Some(identifier), Some(value), Some(key)) => Ok(Setting {
            identifier,
            key,
            value,
        }),
        _ => Err(checked.into_errors()),
    }
}

/// Identifier and name of a trait to delete.
fn check_deletion(item: &Json) -> Result<(String, String), Errors> {
    let mut checked = Checked::default();
    let identifier = checked.take("identity", check_identity(item.field("identity")));
    let key = checked.take(
        "trait_key",
        field::name(item.field("trait_key"), MAX_TRAIT_KEY),
    );
    match (identifier, key) {
        (Some(identifier), Some(key)) => Ok((identifier, key)),
        _ => Err(checked.into_errors()),
    }
}

fn check_all<T>(
    items: &[&Json],
    check: impl Fn(&Json) -> Result<T, Errors>,
) -> Result<Vec<T>, Errors> {
    let mut values = Vec::with_capacity(items.len());
    let mut errors = Vec::with_capacity(items.len());
    for item in items {
        match check(item) {
            Ok(value) => {
                values.push(value);
                errors.push(Errors::Fields(Vec::new()));
            }
            Err(error) => errors.push(error),
        }
    }
    if values.len() == items.len() {
        Ok(values)
    } else {
        Err(Errors::Items(errors))
    }
}

fn write(out: &mut Vec<u8>, setting: &Setting) {
    out.extend_from_slice(br#"{"identity":{"identifier":"#);
    json_text::string(out, &setting.identifier);
    out.extend_from_slice(br#"},"trait_value":"#);
    write_scalar(out, &setting.value);
    out.extend_from_slice(br#","trait_key":"#);
    json_text::string(out, &setting.key);
    out.push(b'}');
}
