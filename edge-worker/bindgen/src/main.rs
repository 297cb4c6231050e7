//! `yardarm-worker-bindgen IN.wasm OUT_DIR`: writes `index.js` and `index_bg.wasm`, the Worker's
//! Rust side and its JavaScript bindings.
//!
//! The same as `wasm-bindgen --target module --no-typescript --out-name index
//! --experimental-reset-state-function --force-enable-abort-handler IN.wasm --out-dir OUT_DIR`, which
//! `worker-build` runs; here from the library, so that the lock file pins the version and a quarter of
//! the crates are built. Not a general replacement of that command.

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir] = arguments.as_slice() else {
        bail!("usage: yardarm-worker-bindgen IN.wasm OUT_DIR");
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .module(true)?
        .typescript(false)
        .out_name("index")
        // Lets the shim start over with fresh memory after a panic.
        .reset_state_function(true)
        .force_enable_abort_handler(true)
        // Stack traces keep their names only in the file beside the published one.
        .remove_name_section(std::env::var_os("KEEP_NAMES").is_none())
        .input_path(input)
        .generate(out_dir)
        .with_context(|| format!("cannot bind {input}"))
}
