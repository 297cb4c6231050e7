//! JSON of our own: what edges and control plane send each other, and what hosts store. Bodies of SDKs
//! are read as Python reads them (`json_parser`).

use serde::de::DeserializeOwned;

/// Reads a value; the error says what is wrong and where. Use it rather than `serde_json` itself: each
/// kind of input that `serde_json` reads (text, bytes) makes a WebAssembly host 10 KB larger.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}
