//! The Worker's variables and secrets, read and checked once per isolate.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
#[cfg(feature = "upstream")]
use std::time::Duration;

use worker::{Env, console_error};
#[cfg(feature = "upstream")]
use yardarm_core::edge::upstream::{KeyPair, Root, read_key_pairs};

use crate::shelf::Ages;

/// How old a copy may be before a newer one is looked for in the background: `REVALIDATE_SECONDS`.
const REVALIDATE_SECONDS: i64 = 2;
/// For how long changes and counts are gathered before they are sent home: `DELIVERY_SECONDS`.
const DELIVERY_SECONDS: i64 = 10;
/// How many objects gather them: `OUTBOX_SHARDS`.
const OUTBOX_SHARDS: i64 = 4;
/// How old a copy may be before a request waits for that look: `MAX_STALE_SECONDS`.
const MAX_STALE_SECONDS: i64 = 30;
/// For how long an isolate may remember an identity without asking its object: `IDENTITY_MEMORY_SECONDS`.
const IDENTITY_MEMORY_SECONDS: i64 = 5;
/// Longest such time, in milliseconds: what runs after a reply has 30 seconds.
const MAX_IDENTITY_MEMORY: i64 = 20_000;

/// How many objects share the streams of an environment: `STREAM_SHARDS`.
const STREAM_SHARDS: i64 = 1;
/// How many streams one object holds: `STREAMS_PER_SHARD`.
const STREAMS_PER_SHARD: i64 = 2_000;
/// How long a stream is silent at most: `HEARTBEAT_SECONDS`.
const HEARTBEAT_SECONDS: i64 = 25;

thread_local! {
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
}

/// What a deployment can set.
#[derive(Debug)]
pub(crate) struct Config {
    /// The secret `PUBLISHING_SECRET`; without it nothing can be published here.
    pub(crate) publishing_secret: Option<Vec<u8>>,
    /// When copies in memory are looked at again.
    pub(crate) ages: Ages,
    /// For how long an identity is remembered, in milliseconds; 0 always asks its object.
    pub(crate) identity_memory: i64,
    /// How event streams are kept.
    pub(crate) streams: Streams,
    /// Where deliveries go, and who is asked for what is not held; nothing goes anywhere without.
    pub(crate) home: Option<HomeSettings>,
    /// The existing Flagsmith that this is an edge of, if it is one.
    #[cfg(feature = "upstream")]
    pub(crate) upstream: Option<UpstreamConfig>,
}

/// An existing Flagsmith: the secret `ENVIRONMENT_KEY_PAIRS`, and variables.
#[cfg(feature = "upstream")]
#[derive(Debug)]
pub(crate) struct UpstreamConfig {
    /// `UPSTREAM_URL`.
    pub(crate) root: Root,
    /// The environments.
    pub(crate) pairs: Vec<KeyPair>,
    /// `API_POLL_FREQUENCY_SECONDS`.
    pub(crate) interval: Duration,
    /// `API_POLL_TIMEOUT_SECONDS`.
    pub(crate) timeout: Duration,
    /// `GRACE_SECONDS`, by which `/health` says that an environment is stale; 0 never does.
    pub(crate) grace: Option<Duration>,
}

/// How event streams are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    /// How many objects share those of an environment, at least 1.
    pub(crate) shards: u8,
    /// How many of them one object holds.
    pub(crate) per_shard: u32,
    /// How long one is silent before a comment is sent, in milliseconds.
    pub(crate) heartbeat: u32,
}

/// The variable `CONTROL_PLANE_URL` and what belongs to it.
#[derive(Debug)]
pub(crate) struct HomeSettings {
    /// The control plane's URL without a slash at its end.
    pub(crate) url: String,
    /// For how long changes and counts are gathered, in milliseconds.
    pub(crate) every: i64,
    /// How many objects gather them.
    pub(crate) shards: u32,
    /// Whether requests and evaluations are counted: not with `USAGE` set to `off`.
    pub(crate) counts: bool,
}

impl Config {
    /// The isolate's configuration. A variable that makes no sense is reported once and its default
    /// used: a slip of the pen must not stop flags from being served.
    pub(crate) fn of(env: &Env) -> Rc<Self> {
        CONFIG.with(|config| Rc::clone(config.get_or_init(|| Rc::new(Self::read(env)))))
    }

    /// The URL and the secret of the control plane that is asked for what is not held, if it is to be asked.
    pub(crate) fn control_plane(&self) -> Option<(&str, &[u8])> {
        let home = self.home.as_ref()?;
        Some((&home.url, self.publishing_secret.as_deref()?))
    }

    fn read(env: &Env) -> Self {
        let secret = env
            .secret("PUBLISHING_SECRET")
            .map(|secret| secret.to_string());
        let revalidate = seconds(env, "REVALIDATE_SECONDS", REVALIDATE_SECONDS);
        Self {
            publishing_secret: secret
                .ok()
                .filter(|secret| !secret.is_empty())
                .map(String::into_bytes),
            ages: Ages {
                revalidate,
                max_stale: seconds(env, "MAX_STALE_SECONDS", MAX_STALE_SECONDS).max(revalidate),
            },
            identity_memory: seconds(env, "IDENTITY_MEMORY_SECONDS", IDENTITY_MEMORY_SECONDS)
                .min(MAX_IDENTITY_MEMORY),
            streams: Streams {
                shards: number(env, "STREAM_SHARDS", 1..=100, STREAM_SHARDS),
                per_shard: number(env, "STREAMS_PER_SHARD", 1..=100_000, STREAMS_PER_SHARD),
                heartbeat: number::<u32>(env, "HEARTBEAT_SECONDS", 1..=300, HEARTBEAT_SECONDS)
                    * 1_000,
            },
            home: HomeSettings::read(env),
            #[cfg(feature = "upstream")]
            upstream: UpstreamConfig::read(env),
        }
    }
}

impl HomeSettings {
    fn read(env: &Env) -> Option<Self> {
        let url = text(env, "CONTROL_PLANE_URL")?;
        let url = url.trim().trim_end_matches('/').to_owned();
        if url.is_empty() {
            return None;
        }
        Some(Self {
            url,
            every: seconds(env, "DELIVERY_SECONDS", DELIVERY_SECONDS).max(1_000),
            shards: number(env, "OUTBOX_SHARDS", 1..=1_000, OUTBOX_SHARDS),
            counts: text(env, "USAGE")
                .is_none_or(|usage| !usage.trim().eq_ignore_ascii_case("off")),
        })
    }
}

#[cfg(feature = "upstream")]
impl UpstreamConfig {
    /// What cannot be meant is told, and then there is no upstream.
    fn read(env: &Env) -> Option<Self> {
        let pairs = env.secret("ENVIRONMENT_KEY_PAIRS").ok()?.to_string();
        if pairs.trim().is_empty() {
            return None;
        }
        let url = text(env, "UPSTREAM_URL");
        let url = url
            .as_deref()
            .unwrap_or("https://edge.api.flagsmith.com/api/v1");
        let (root, pairs) = match (Root::parse(url), read_key_pairs(&pairs)) {
            (Ok(root), Ok(pairs)) => (root, pairs),
            (root, pairs) => {
                let told = pairs.err().unwrap_or_default();
                console_error!("no upstream: UPSTREAM_URL {url:?} ({root:?}) {told}");
                return None;
            }
        };
        let duration = |name, default| {
            let seconds = number::<u32>(env, name, 0..=3_600, default);
            Duration::from_secs(seconds.into())
        };
        let at_least = Duration::from_secs(1);
        Some(Self {
            root,
            pairs,
            interval: duration("API_POLL_FREQUENCY_SECONDS", 10).max(at_least),
            timeout: duration("API_POLL_TIMEOUT_SECONDS", 5).max(at_least),
            grace: Some(duration("GRACE_SECONDS", 30)).filter(|grace| !grace.is_zero()),
        })
    }
}

/// A variable that is not empty.
fn text(env: &Env, name: &str) -> Option<String> {
    let value = env.var(name).ok()?.to_string().trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// A variable in whole seconds, as milliseconds.
fn seconds(env: &Env, name: &str, default: i64) -> i64 {
    number::<i64>(env, name, 0..=3_600, default) * 1_000
}

/// A variable that is a whole number of a type that `range` and `default` are within.
fn number<N: TryFrom<i64> + Default>(
    env: &Env,
    name: &str,
    range: RangeInclusive<i64>,
    default: i64,
) -> N {
    let number = env.var(name).map_or(default, |value| {
        let value = value.to_string();
        parse(&value, &range).unwrap_or_else(|| {
            let (least, most) = (range.start(), range.end());
            console_error!("{name} is {value:?}; it takes {least} to {most}. Using {default}.");
            default
        })
    });
    N::try_from(number).unwrap_or_default()
}

fn parse(value: &str, range: &RangeInclusive<i64>) -> Option<i64> {
    let number = value.trim().parse().ok()?;
    range.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_whole_and_bounded() {
        assert_eq!(parse("1", &(0..=3_600)), Some(1));
        assert_eq!(parse(" 0 ", &(0..=3_600)), Some(0));
        assert_eq!(parse("3600", &(0..=3_600)), Some(3_600));
        for odd in ["", "-1", "1.5", "3601", "5s"] {
            assert_eq!(parse(odd, &(0..=3_600)), None, "{odd:?}");
        }
    }
}
