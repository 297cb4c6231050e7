//! Compiles an environment document and prints what the package holds.
//!
//! `cargo run -p yardarm-core --example inspect < environment-document.json`

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own, not the core"
)]

use std::io::{self, Read as _, Write as _};

use yardarm_core::snapshot::{Publication, compile, inspect};

fn main() -> io::Result<()> {
    let mut document = String::new();
    io::stdin().lock().read_to_string(&mut document)?;
    let publication = Publication {
        version: 1,
        updated_at_micros: 0,
        document: serde_json::from_str(&document)?,
        details: None,
        server_keys: Vec::new(),
    };
    let (package, warnings) = compile(&publication);
    let mut out = io::stdout().lock();
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    write!(out, "{}", inspect(&package))
}
