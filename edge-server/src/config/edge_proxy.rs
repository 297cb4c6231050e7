//! The settings of Flagsmith's edge-proxy, as it reads them: a JSON file, and environment variables named like
//! its fields that win (flagsmith-api.md A.7).
//!
//! Names of variables do not depend on case; fields with parts of their own are JSON there, and an object is
//! laid over the file's. What means nothing here is told and does no harm.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use yardarm_core::edge::upstream::KeyPair;

/// Every field, the parts of those that have some, and the other names that edge-proxy takes for them.
const FIELDS: [(&str, &[&str]); 9] = [
    (PAIRS, &[]),
    ("api_url", &[]),
    (FREQUENCY, &[]),
    (TIMEOUT, &[]),
    ("endpoint_caches", &["flags", "identities"]),
    (
        "logging",
        &[
            "enable_access_log",
            "log_format",
            "log_level",
            "log_event_field_name",
            "colours",
            "colors",
            "override",
        ],
    ),
    (
        "server",
        &[
            "host",
            "port",
            "reload",
            "proxy_headers",
            "timeout_keep_alive",
        ],
    ),
    ("health_check", &["environment_update_grace_period_seconds"]),
    ("allow_origins", &[]),
];
const PAIRS: &str = "environment_key_pairs";
const FREQUENCY: &str = "api_poll_frequency_seconds";
const TIMEOUT: &str = "api_poll_timeout_seconds";
const OTHER_NAMES: [(&str, &str); 2] = [
    ("api_poll_frequency", FREQUENCY),
    ("api_poll_timeout", TIMEOUT),
];

/// What edge-proxy's settings say to this edge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EdgeProxy {
    pub(crate) pairs: Vec<KeyPair>,
    pub(crate) api_url: String,
    pub(crate) poll_frequency: Duration,
    pub(crate) poll_timeout: Duration,
    /// `None`: never stale.
    pub(crate) grace: Option<Duration>,
    pub(crate) allow_origins: Vec<String>,
    /// Host and port.
    pub(crate) listen: String,
    pub(crate) log_level: Level,
    pub(crate) log_json: bool,
    pub(crate) access_log: bool,
    /// What was ignored, in words.
    pub(crate) warnings: Vec<String>,
}

/// Python's levels, as far as they differ here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl EdgeProxy {
    /// Reads the settings from a file's content and the variables of the environment.
    pub(crate) fn read(
        file: Option<&str>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut warnings = Vec::new();
        let mut settings = Map::new();
        if let Some(file) = file {
            let file: Value = serde_json::from_str(file).context("not JSON")?;
            let Value::Object(file) = file else {
                bail!("not a JSON object");
            };
            for (name, value) in file {
                let name = canonical(&name);
                warn_of_unknown(name, &value, &mut warnings);
                lay_over(&mut settings, name, value);
            }
        }
        for (variable, text) in variables {
            let variable = variable.to_ascii_lowercase();
            let name = canonical(&variable);
            if !FIELDS.iter().any(|(field, _)| *field == name) {
                continue;
            }
            let value = match name {
                "api_url" | FREQUENCY | TIMEOUT => Value::String(text),
                // The text may hold keys; the error tells the place only.
                _ => serde_json::from_str(&text).with_context(|| {
                    format!("the variable {} is not JSON", variable.to_ascii_uppercase())
                })?,
            };
            warn_of_unknown(name, &value, &mut warnings);
            lay_over(&mut settings, name, value);
        }
        Self::of(&settings, warnings)
    }

    fn of(settings: &Map<String, Value>, mut warnings: Vec<String>) -> anyhow::Result<Self> {
        let part = |field: &str, name: &str| settings.get(field)?.get(name);
        let logging = |name| part("logging", name);
        let log_level = match logging("log_level").map(text).transpose()? {
            Some("CRITICAL" | "ERROR") => Level::Error,
            Some("WARNING") => Level::Warn,
            None | Some("INFO") => Level::Info,
            Some("DEBUG" | "NOTSET") => Level::Debug,
            Some(other) => bail!("logging.log_level: {other:?} is none of CRITICAL to NOTSET"),
        };
        let log_json = match logging("log_format").map(text).transpose()? {
            None | Some("generic") => false,
            Some("json") => true,
            Some(other) => bail!("logging.log_format: {other:?} is neither generic nor json"),
        };
        for (name, usual) in [("log_event_field_name", "message"), ("override", "")] {
            if logging(name).is_some_and(|value| value != usual) {
                warnings.push(format!("logging.{name} has no effect here"));
            }
        }
        let host = match part("server", "host") {
            None => "0.0.0.0",
            Some(host) => text(host).context("server.host")?,
        };
        let port = number(part("server", "port"), 8000).context("server.port")?;
        let port = u16::try_from(port).with_context(|| format!("server.port: {port} is none"))?;
        let grace = match part("health_check", "environment_update_grace_period_seconds") {
            Some(Value::Null) => None,
            given => Some(Duration::from_secs(
                number(given, 30)
                    .context("health_check.environment_update_grace_period_seconds")?,
            )),
        };
        let seconds = |name: &'static str, usual| {
            let seconds = number(settings.get(name), usual).context(name)?;
            anyhow::ensure!(seconds > 0, "{name} is zero");
            Ok(Duration::from_secs(seconds))
        };
        Ok(Self {
            pairs: settings.get(PAIRS).map_or(Ok(Vec::new()), pairs)?,
            api_url: match settings.get("api_url") {
                None => "https://edge.api.flagsmith.com/api/v1",
                Some(url) => text(url).context("api_url")?,
            }
            .to_owned(),
            poll_frequency: seconds(FREQUENCY, 10)?,
            poll_timeout: seconds(TIMEOUT, 5)?,
            grace,
            allow_origins: match settings.get("allow_origins") {
                None => vec!["*".to_owned()],
                Some(origins) => serde_json::from_value(origins.clone())
                    .context("allow_origins: expected a list of origins")?,
            },
            listen: match host.parse() {
                Ok(std::net::IpAddr::V6(host)) => format!("[{host}]:{port}"),
                Ok(std::net::IpAddr::V4(host)) => format!("{host}:{port}"),
                Err(_) => bail!("server.host: {host:?} is no IP address"),
            },
            log_level,
            log_json,
            access_log: logging("enable_access_log").map_or(Ok(false), boolean)?,
            warnings,
        })
    }
}

fn canonical(name: &str) -> &str {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    other.map_or(name, |(_, field)| field)
}

/// Objects are joined, all else is replaced.
fn lay_over(settings: &mut Map<String, Value>, name: &str, value: Value) {
    match (settings.get_mut(name), value) {
        (Some(Value::Object(below)), Value::Object(above)) => {
            for (part, value) in above {
                lay_over(below, &part, value);
            }
        }
        (_, value) => {
            settings.insert(name.to_owned(), value);
        }
    }
}

fn warn_of_unknown(name: &str, value: &Value, warnings: &mut Vec<String>) {
    let Some((_, parts)) = FIELDS.iter().find(|(field, _)| *field == name) else {
        warnings.push(format!("{name} is not known and has no effect"));
        return;
    };
    let given = value.as_object().into_iter().flat_map(Map::keys);
    for part in given.filter(|_| !parts.is_empty()) {
        if !parts.contains(&part.as_str()) {
            warnings.push(format!("{name}.{part} is not known and has no effect"));
        }
    }
}

fn pairs(value: &Value) -> anyhow::Result<Vec<KeyPair>> {
    let list = value
        .as_array()
        .context("environment_key_pairs: expected a list")?;
    let pair = |(number, pair): (usize, &Value)| {
        let key = |name| pair.get(name).and_then(Value::as_str).unwrap_or_default();
        KeyPair::new(key("server_side_key"), key("client_side_key"))
            .with_context(|| format!("environment_key_pairs[{number}]"))
    };
    list.iter().enumerate().map(pair).collect()
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value}: expected text"))
}

/// A whole number, also as text.
fn number(value: Option<&Value>, usual: u64) -> anyhow::Result<u64> {
    let Some(value) = value else {
        return Ok(usual);
    };
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    };
    number.with_context(|| format!("{value}: expected a whole number"))
}

fn boolean(value: &Value) -> anyhow::Result<bool> {
    let text = value.as_str().map(str::to_ascii_lowercase);
    match (value, text.as_deref()) {
        (Value::Bool(value), _) => Ok(*value),
        (_, Some("true" | "1" | "yes" | "on")) => Ok(true),
        (_, Some("false" | "0" | "no" | "off")) => Ok(false),
        _ => bail!("{value}: expected true or false"),
    }
}

#[cfg(test)]
mod tests;
