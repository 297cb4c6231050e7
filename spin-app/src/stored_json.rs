//! Values of the store that are JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use yardarm_core::edge::{Unavailable, read_json};

/// The value at `place`, which is named when the value is damaged.
pub(crate) fn read<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, Unavailable> {
    read_json(bytes).map_err(|why| Unavailable(format!("damaged value of {place}: {why}")))
}

/// The bytes to store.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, Unavailable> {
    serde_json::to_vec(value).map_err(|error| Unavailable(error.to_string()))
}
