# The smallest Rust Worker, as scripts/bench.d/worker builds it.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "constant", worker = .constant)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "constant")],
);

const constant :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = [
    (name = "index.js", esModule = embed "../../../target/bench/worker-minimal/index.js"),
    (name = "index_bg.wasm", wasm = embed "../../../target/bench/worker-minimal/index_bg.wasm"),
  ],
  bindings = [(name = "BYTES", fromEnvironment = "BYTES")],
);
