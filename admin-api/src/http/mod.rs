//! What every endpoint shares: bodies and their errors in Flagsmith's words, replies, pages, the
//! caller, the headers of every reply. Nothing about any one resource.

mod actor;
mod ascii;
mod body;
mod cors;
mod encoded;
mod envelope;
mod error;
mod field;
mod openapi;
mod packed;
mod page;
mod patch;
mod query;
mod reply;
pub(crate) mod throttle;
mod time;

pub(crate) use actor::{Actor, token_sha256};
pub(crate) use body::{Body, Fields, Mode};
pub(crate) use cors::cors;
pub(crate) use encoded::unpacked;
pub(crate) use envelope::{Envelope, FLAGSMITH_VERSION, envelope, not_found};
pub(crate) use error::{ApiError, FieldErrors};
pub(crate) use field::{Bool, Choice, Email, Field, Float, Id, Int, Text, Timestamp, is_email};
pub(crate) use openapi::document;
pub(crate) use packed::packed;
pub(crate) use page::{Page, PageRequest};
pub(crate) use patch::{Patch, set};
pub(crate) use query::Params;
pub(crate) use reply::{Created, NoContent, Reply};
pub(crate) use time::ApiTime;
