//! Who asks, as evaluation sees it: borrowed, and already validated by the caller.

/// A trait's value as evaluation sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TraitValue<'a> {
    /// JSON true or false.
    Bool(bool),
    /// JSON integer.
    Int(i64),
    /// JSON number with a fraction or exponent.
    Float(f64),
    /// JSON string.
    Text(&'a str),
}

/// A trait of the identity that asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trait<'a> {
    /// Name.
    pub key: &'a str,
    /// Value; a null trait is left out by the caller.
    pub value: TraitValue<'a>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The identifier, for `$.identity.identifier` and overrides.
    pub identifier: &'a str,
    /// What buckets are hashed by; `None` means `<api_key>_<identifier>`.
    pub hash_key: Option<&'a str>,
    /// Its traits, one entry a key.
    pub traits: &'a [Trait<'a>],
}
