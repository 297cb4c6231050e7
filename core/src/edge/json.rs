//! JSON as Python's `json` module sees it: integers of any size apart from floats, text that may
//! hold a lone surrogate, the last of repeated keys.
//!
//! Requests that are plain and valid never come here (see [`super::submission`]); the exact answers
//! to everything else are made from this.

/// Text of a JSON string. A lone surrogate cannot be text in Rust: it is replaced by U+FFFD and
/// remembered, because Flagsmith's error names it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) surrogate: Option<u16>,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            surrogate: None,
        }
    }
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer past 64 bits, in decimal.
    BigInt(String),
    Float(f64),
    Text(Text),
    List(Vec<Json>),
    Dict(Vec<(Text, Json)>),
}

impl Json {
    /// The name of the type in Python, as it stands in error messages.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
        }
    }

    /// A field of a dictionary; nothing for any other value.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries
                .iter()
                .find(|(key, _)| key.text == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The first lone surrogate anywhere in the value.
    pub(super) fn surrogate(&self) -> Option<u16> {
        match self {
            Self::Text(text) => text.surrogate,
            Self::List(items) => items.iter().find_map(Self::surrogate),
            Self::Dict(entries) => entries
                .iter()
                .find_map(|(key, value)| key.surrogate.or_else(|| value.surrogate())),
            _ => None,
        }
    }
}

/// Sets a key as Python's `dict` does: a repeated one keeps its place and takes the new value.
pub(super) fn set(entries: &mut Vec<(Text, Json)>, key: Text, value: Json) {
    // Requests have a handful of keys; a body made of very many is cut off before this hurts.
    match entries.iter_mut().find(|(known, _)| *known == key) {
        Some(entry) => entry.1 = value,
        None => entries.push((key, value)),
    }
}
