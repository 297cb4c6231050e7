//! A field that a body may leave out, set to null, or set.

/// What a body says about a nullable field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// Nothing: the field keeps its value.
    Absent,
    /// It becomes null.
    Null,
    /// It becomes this.
    Value(T),
}

impl<T> Patch<T> {
    /// Changes `field` to what the body says.
    pub(crate) fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *field = None,
            Self::Value(value) => *field = Some(value),
        }
    }

    /// The value, for something new that has none yet.
    pub(crate) fn into_option(self) -> Option<T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// Changes `field` where a body names a new value.
pub(crate) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
