# The smallest Worker in JavaScript.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "constant", worker = .constant)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "constant")],
);

const constant :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = [(name = "constant.mjs", esModule = embed "constant.mjs")],
  bindings = [(name = "BYTES", fromEnvironment = "BYTES")],
);
