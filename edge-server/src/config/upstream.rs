//! Settings of an edge for an existing Flagsmith.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, bail};
use clap::Args;
use yardarm_core::edge::upstream::{KeyPair, Root};
use yardarm_edge::UpstreamSettings;

use super::edge_proxy::EdgeProxy;

/// Where edge-proxy looks for its file.
const USUAL_FILE: &str = "config.json";
/// The variable that makes this an edge of an existing Flagsmith, as it does edge-proxy.
const PAIRS: &str = "ENVIRONMENT_KEY_PAIRS";

/// An existing Flagsmith to serve for, instead of a Yardarm control plane.
#[derive(Debug, Args)]
#[command(next_help_heading = "Edge for an existing Flagsmith")]
pub(crate) struct UpstreamFlags {
    /// Root of the Flagsmith API whose environments are served [default: what edge-proxy's settings say, or
    /// Flagsmith's own Edge API].
    #[arg(long, env = "UPSTREAM_URL")]
    upstream_url: Option<String>,

    /// An environment: its server-side and its client-side key, as `ser.KEY=CLIENT_KEY`; may be repeated. Where
    /// others can see this process's arguments, use the variable `ENVIRONMENT_KEY_PAIRS` or the file instead.
    #[arg(long = "environment", value_name = "PAIR", value_parser = pair)]
    environments: Vec<KeyPair>,

    /// Configuration file of Flagsmith's edge-proxy, read as it is. ./config.json is read without being asked
    /// for where it names environments.
    #[arg(long, env = "CONFIG_PATH", value_name = "FILE")]
    edge_proxy_config: Option<PathBuf>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct UpstreamConfig {
    pub(crate) settings: UpstreamSettings,
    /// The rest of edge-proxy's settings; where they were not used, its defaults.
    pub(crate) edge_proxy: EdgeProxy,
    /// Whether they were.
    pub(crate) is_edge_proxy: bool,
}

impl UpstreamFlags {
    /// The upstream, if there is one.
    pub(crate) fn read(&self) -> anyhow::Result<Option<UpstreamConfig>> {
        let file = self.file()?;
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let has_variable = variables
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(PAIRS));
        let is_edge_proxy = file.is_some() || has_variable;
        if !is_edge_proxy && self.environments.is_empty() {
            if self.upstream_url.is_some() {
                bail!("UPSTREAM_URL is set, but no environment: use --environment or {PAIRS}");
            }
            return Ok(None);
        }
        let content = file.as_ref().map(|(_, content)| content.as_str());
        let mut edge_proxy =
            EdgeProxy::read(content, variables.into_iter()).with_context(|| match &file {
                Some((path, _)) => {
                    format!("edge-proxy's settings ({} and variables)", path.display())
                }
                None => "edge-proxy's settings (variables)".to_owned(),
            })?;
        let mut pairs = std::mem::take(&mut edge_proxy.pairs);
        pairs.extend(self.environments.iter().cloned());
        if pairs.is_empty()
            && let Some(missing) = self.missing_file()
        {
            bail!("there is no file {}", missing.display());
        }
        check(&pairs)?;
        let url = self.upstream_url.as_ref().unwrap_or(&edge_proxy.api_url);
        let settings = UpstreamSettings {
            root: Root::parse(url).with_context(|| format!("upstream {url:?}"))?,
            pairs,
            interval: edge_proxy.poll_frequency,
            timeout: edge_proxy.poll_timeout,
            grace: edge_proxy.grace,
        };
        Ok(Some(UpstreamConfig {
            settings,
            edge_proxy,
            is_edge_proxy,
        }))
    }

    /// The file that was named, if it is not there.
    fn missing_file(&self) -> Option<&Path> {
        let named = self.edge_proxy_config.as_deref();
        named.filter(|path| !path.exists())
    }

    /// edge-proxy's file and what it says.
    fn file(&self) -> anyhow::Result<Option<(PathBuf, String)>> {
        if let Some(path) = &self.edge_proxy_config {
            let content = match fs::read_to_string(path) {
                // Variables may say it all.
                Err(error) if error.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
                content => content
                    .with_context(|| format!("edge-proxy's settings ({})", path.display()))?,
            };
            return Ok(Some((path.clone(), content)));
        }
        match fs::read_to_string(USUAL_FILE) {
            // Any program may have a file of this name where this one happens to be started.
            Ok(content) if content.contains("\"environment_key_pairs\"") => {
                Ok(Some((Path::new(USUAL_FILE).to_owned(), content)))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("edge-proxy's settings ({USUAL_FILE})"))
            }
        }
    }
}

fn pair(text: &str) -> Result<KeyPair, String> {
    let (server, client) = text.split_once('=').ok_or("expected ser.KEY=CLIENT_KEY")?;
    KeyPair::new(server, client).map_err(|error| error.to_string())
}

fn check(pairs: &[KeyPair]) -> anyhow::Result<()> {
    if pairs.is_empty() {
        bail!("an upstream, but no environment: use --environment, {PAIRS} or edge-proxy's file");
    }
    for (number, pair) in pairs.iter().enumerate() {
        let mut others = pairs[number + 1..].iter();
        if others.any(|other| other.client() == pair.client()) {
            bail!(
                "environment {} is given twice, by edge-proxy's settings or --environment",
                pair.client()
            );
        }
    }
    Ok(())
}
