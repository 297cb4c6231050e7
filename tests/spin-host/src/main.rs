//! A small Spin of our own: runs the real component under Spin's rules where no `spin` command can
//! be had, so that tests drive the very bytes that get deployed.
//!
//! It is a test host and not a server: one component, one route, no TLS.
//! What it copies from Spin 4.1, because answers depend on it: how long an instance lives
//! ([`instances`]), what the key-value store promises and refuses ([`store`]), which variables
//! exist, and whom it may call ([`network`]). What a component imports beyond that links, and traps when called ([`component`]).

mod component;
mod instances;
mod key_value;
mod network;
mod server;
mod store;
mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use wasmtime::error::Context as _;

use crate::network::{AllowedHost, Network};

/// Runs a Spin component on 127.0.0.1 under Spin's own rules.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The component (wasm32-wasip2, WASI 0.3 HTTP).
    #[arg(long)]
    component: PathBuf,
    /// Where to listen; port 0 takes a free one. The address is printed as the first line.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Directory that keeps the key-value store across restarts; without it, memory only.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Directory for compiled code; without it, beside the component.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// A variable of the component, as `name=value`; repeat for more. As with Spin, variables also
    /// come from the environment: `SPIN_VARIABLE_NAME=value`.
    #[arg(long, value_parser = name_and_value)]
    variable: Vec<(String, String)>,
    /// Whom the component may call, as `http://host:port`, like an entry of Spin's `allowed_outbound_hosts`; repeat
    /// for more.
    #[arg(long)]
    allow: Vec<AllowedHost>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("expected name=value, got {text:?}"))
}

fn variables_of_environment() -> BTreeMap<String, String> {
    std::env::vars()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("SPIN_VARIABLE_")?;
            Some((name.to_lowercase(), value))
        })
        .collect()
}

#[tokio::main]
async fn main() -> wasmtime::Result<()> {
    let arguments = Arguments::parse();
    let store = match &arguments.state {
        Some(directory) => store::Store::open(directory)
            .with_context(|| format!("key-value state in {}", directory.display()))?,
        None => store::Store::in_memory(),
    };
    let mut variables = variables_of_environment();
    variables.extend(arguments.variable);
    let component = component::load(&arguments.component, arguments.cache.as_deref())?;
    let service = component.service(
        Arc::new(store),
        Arc::new(variables),
        Network(arguments.allow.into()),
    )?;
    server::serve(arguments.listen, service).await
}
