# The Worker three times over the same stores, each in an isolate of its own, as it is on Cloudflare:
# what is published through one must show at the others. For tests/workerd/check.
using Workerd = import "/workerd/workerd.capnp";
using Main = import "config.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = Main.edge),
    (name = "elsewhere", worker = .other),
    (name = "cold", worker = .other),
    (name = "orphan", worker = .orphan),
    (name = "away", worker = .away),
    (name = "kv", worker = Main.kv),
    (name = "cache", worker = Main.cache),
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "state", disk = (path = "/nonexistent", writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (), service = "edge"),
    (name = "elsewhere", address = "127.0.0.1:0", http = (), service = "elsewhere"),
    (name = "cold", address = "127.0.0.1:0", http = (), service = "cold"),
    (name = "kv", address = "127.0.0.1:0", http = (), service = "kv"),
    (name = "orphan", address = "127.0.0.1:0", http = (), service = "orphan"),
  ],
);

const other :Workerd.Worker = (
  compatibilityDate = Main.date,
  modules = [
    (name = "index.js", esModule = embed "../../build/worker/index.js"),
    (name = "index_bg.wasm", wasm = embed "../../build/worker/index_bg.wasm"),
  ],
  bindings = [
    (name = "SNAPSHOTS", kvNamespace = "kv"),
    (name = "ENVIRONMENTS", durableObjectNamespace = (className = "Environments", serviceName = "edge")),
    (name = "IDENTITIES", durableObjectNamespace = (className = "Identity", serviceName = "edge")),
    (name = "STREAMS", durableObjectNamespace = (className = "Streams", serviceName = "edge")),
    (name = "PULLS", durableObjectNamespace = (className = "Pulls", serviceName = "edge")),
    (name = "PUBLISHING_SECRET", fromEnvironment = "PUBLISHING_SECRET"),
    (name = "REVALIDATE_SECONDS", fromEnvironment = "REVALIDATE_SECONDS"),
    (name = "MAX_STALE_SECONDS", fromEnvironment = "MAX_STALE_SECONDS"),
    (name = "STREAM_SHARDS", fromEnvironment = "STREAM_SHARDS"),
    (name = "STREAMS_PER_SHARD", fromEnvironment = "STREAMS_PER_SHARD"),
    (name = "HEARTBEAT_SECONDS", fromEnvironment = "HEARTBEAT_SECONDS"),
    (name = "IDENTITY_MEMORY_SECONDS", fromEnvironment = "IDENTITY_MEMORY_SECONDS"),
    (name = "OUTBOX", durableObjectNamespace = (className = "Outbox", serviceName = "edge")),
    (name = "CONTROL_PLANE_URL", fromEnvironment = "CONTROL_PLANE_URL"),
    (name = "DELIVERY_SECONDS", fromEnvironment = "DELIVERY_SECONDS"),
    (name = "OUTBOX_SHARDS", fromEnvironment = "OUTBOX_SHARDS"),
    (name = "USAGE", fromEnvironment = "USAGE"),
  ],
  cacheApiOutbound = "cache",
);

# An isolate whose objects do not answer.
const orphan :Workerd.Worker = (
  compatibilityDate = Main.date,
  modules = [
    (name = "index.js", esModule = embed "../../build/worker/index.js"),
    (name = "index_bg.wasm", wasm = embed "../../build/worker/index_bg.wasm"),
  ],
  bindings = [
    (name = "SNAPSHOTS", kvNamespace = "kv"),
    (name = "ENVIRONMENTS", durableObjectNamespace = (className = "Away", serviceName = "away")),
    (name = "IDENTITIES", durableObjectNamespace = (className = "Away", serviceName = "away")),
    (name = "PUBLISHING_SECRET", fromEnvironment = "PUBLISHING_SECRET"),
    (name = "REVALIDATE_SECONDS", fromEnvironment = "REVALIDATE_SECONDS"),
    (name = "MAX_STALE_SECONDS", fromEnvironment = "MAX_STALE_SECONDS"),
  ],
  cacheApiOutbound = "cache",
);

const away :Workerd.Worker = (
  compatibilityDate = Main.date,
  modules = [(name = "away.mjs", esModule = embed "away.mjs")],
  durableObjectNamespaces = [(className = "Away", uniqueKey = "yardarm-away", enableSql = true)],
  durableObjectStorage = (localDisk = "state"),
);
