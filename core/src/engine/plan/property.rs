//! How a property other than a plain trait is stored: a `$.` path (flagsmith-api.md B.4).
//!
//! Paths that do not lead to the identity are followed when the plan is compiled.

use serde_json::Value as Json;

use crate::engine::binary::{Pool, Span, Writer, f64_at, i128_at, u8_at, u32_at};
use crate::engine::value::Value;

/// Bytes a stored property takes up.
pub(super) const SIZE: usize = 32;

/// How a property's value is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PropertyKind<'a> {
    /// `$.identity.identifier`
    Identifier,
    /// `$.identity.key`
    Key,
    /// `$.identity.traits.<name>`: the property that trait is, and the name.
    Trait(u32, &'a str),
    /// The same for everyone: nothing.
    Nothing,
    /// The same for everyone.
    Bool(bool),
    /// The same for everyone.
    Int(i128),
    /// The same for everyone.
    Float(f64),
    /// The same for everyone.
    Text(&'a str),
    /// A path to be followed through the identity.
    Dynamic(&'a str),
}

/// How the compiler found out that a property's value is found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Resolved {
    Identifier,
    Key,
    Trait(u32, String),
    Constant(Option<Json>),
    Dynamic(String),
}

const IDENTIFIER: u8 = 1;
const KEY: u8 = 2;
const TRAIT: u8 = 3;
const NOTHING: u8 = 4;
const BOOL: u8 = 5;
const INT: u8 = 6;
const FLOAT: u8 = 7;
const TEXT: u8 = 8;
const DYNAMIC: u8 = 9;

/// The record of a property; `literal` is the trait named like the whole path.
pub(super) fn write(resolved: &Resolved, literal: u32, texts: &mut Pool, out: &mut Writer) {
    let mut text = Span::default();
    let mut payload = [0; 16];
    let kind = match resolved {
        Resolved::Identifier => IDENTIFIER,
        Resolved::Key => KEY,
        Resolved::Trait(property, name) => {
            payload[..4].copy_from_slice(&property.to_le_bytes());
            text = texts.add(name);
            TRAIT
        }
        Resolved::Dynamic(path) => {
            text = texts.add(path);
            DYNAMIC
        }
        Resolved::Constant(value) => {
            match value.as_ref().map_or(Value::Missing, Value::from_json) {
                Value::Pending | Value::Missing => NOTHING,
                Value::Bool(value) => {
                    payload[0] = u8::from(value);
                    BOOL
                }
                Value::Int(value) => {
                    payload = value.to_le_bytes();
                    INT
                }
                Value::Float(value) => {
                    payload[..8].copy_from_slice(&value.to_le_bytes());
                    FLOAT
                }
                Value::Text(value) => {
                    text = texts.add(value.as_ref());
                    TEXT
                }
            }
        }
    };
    out.u8(kind)
        .bytes(&[0; 3])
        .u32(literal)
        .span(text)
        .bytes(&payload);
}

/// A property as read from its record.
pub(super) fn read<'a>(record: &[u8; SIZE], texts: &'a [u8]) -> super::Path<'a> {
    let text = Span::read(record, 8);
    let kind = match u8_at(record, 0) {
        IDENTIFIER => PropertyKind::Identifier,
        KEY => PropertyKind::Key,
        TRAIT => PropertyKind::Trait(u32_at(record, 16), text.text(texts)),
        BOOL => PropertyKind::Bool(u8_at(record, 16) != 0),
        INT => PropertyKind::Int(i128_at(record, 16)),
        FLOAT => PropertyKind::Float(f64_at(record, 16)),
        TEXT => PropertyKind::Text(text.text(texts)),
        DYNAMIC => PropertyKind::Dynamic(text.text(texts)),
        _ => PropertyKind::Nothing,
    };
    super::Path {
        kind,
        literal: u32_at(record, 4),
    }
}
