# Real workerd with the built Worker, on one machine, without Node.js. tests/workerd/serve starts it and
# sets the address, the state directory and the environment.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "kv", worker = .kv),
    (name = "cache", worker = .cache),
    # Upstream and the control plane of a test are on this machine.
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "state", disk = (path = "/nonexistent", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);

const date :Text = "2026-04-01";

const edge :Workerd.Worker = (
  compatibilityDate = .date,
  modules = [
    (name = "index.js", esModule = embed "../../build/worker/index.js"),
    (name = "index_bg.wasm", wasm = embed "../../build/worker/index_bg.wasm"),
  ],
  bindings = [
    (name = "SNAPSHOTS", kvNamespace = "kv"),
    (name = "ENVIRONMENTS", durableObjectNamespace = "Environments"),
    (name = "IDENTITIES", durableObjectNamespace = "Identity"),
    (name = "STREAMS", durableObjectNamespace = "Streams"),
    (name = "PULLS", durableObjectNamespace = "Pulls"),
    (name = "PUBLISHING_SECRET", fromEnvironment = "PUBLISHING_SECRET"),
    (name = "ENVIRONMENT_KEY_PAIRS", fromEnvironment = "ENVIRONMENT_KEY_PAIRS"),
    (name = "UPSTREAM_URL", fromEnvironment = "UPSTREAM_URL"),
    (name = "API_POLL_FREQUENCY_SECONDS", fromEnvironment = "API_POLL_FREQUENCY_SECONDS"),
    (name = "GRACE_SECONDS", fromEnvironment = "GRACE_SECONDS"),
    (name = "REVALIDATE_SECONDS", fromEnvironment = "REVALIDATE_SECONDS"),
    (name = "MAX_STALE_SECONDS", fromEnvironment = "MAX_STALE_SECONDS"),
    (name = "STREAM_SHARDS", fromEnvironment = "STREAM_SHARDS"),
    (name = "STREAMS_PER_SHARD", fromEnvironment = "STREAMS_PER_SHARD"),
    (name = "HEARTBEAT_SECONDS", fromEnvironment = "HEARTBEAT_SECONDS"),
    (name = "IDENTITY_MEMORY_SECONDS", fromEnvironment = "IDENTITY_MEMORY_SECONDS"),
    (name = "OUTBOX", durableObjectNamespace = "Outbox"),
    (name = "CONTROL_PLANE_URL", fromEnvironment = "CONTROL_PLANE_URL"),
    (name = "DELIVERY_SECONDS", fromEnvironment = "DELIVERY_SECONDS"),
    (name = "OUTBOX_SHARDS", fromEnvironment = "OUTBOX_SHARDS"),
    (name = "USAGE", fromEnvironment = "USAGE"),
  ],
  durableObjectNamespaces = [
    (className = "Environments", uniqueKey = "yardarm-environments", enableSql = true),
    (className = "Identity", uniqueKey = "yardarm-identities", enableSql = true),
    (className = "Streams", uniqueKey = "yardarm-streams", enableSql = true),
    (className = "Outbox", uniqueKey = "yardarm-outbox", enableSql = true),
    (className = "Pulls", uniqueKey = "yardarm-pulls", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "state"),
  cacheApiOutbound = "cache",
);

# What Cloudflare's KV and cache answer over HTTP, as far as the Worker asks.
const kv :Workerd.Worker = (
  compatibilityDate = .date,
  modules = [(name = "kv.mjs", esModule = embed "kv.mjs")],
  bindings = [(name = "VALUES", durableObjectNamespace = "Values")],
  durableObjectNamespaces = [(className = "Values", uniqueKey = "yardarm-kv", enableSql = true)],
  durableObjectStorage = (localDisk = "state"),
);

const cache :Workerd.Worker = (
  compatibilityDate = .date,
  modules = [(name = "cache.mjs", esModule = embed "cache.mjs")],
);
