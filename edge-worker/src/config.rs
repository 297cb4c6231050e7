//! The Worker's variables and secrets, read and checked once per isolate.

use std::cell::OnceCell;
use std::rc::Rc;

use worker::{Env, console_error};

use crate::shelf::Ages;

/// How old a copy may be before a newer one is looked for in the background: `REVALIDATE_SECONDS`.
const REVALIDATE_SECONDS: i64 = 2;
/// How old a copy may be before a request waits for that look: `MAX_STALE_SECONDS`.
const MAX_STALE_SECONDS: i64 = 30;

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
}

impl Config {
    /// The isolate's configuration. A variable that makes no sense is reported once and its default
    /// used: a slip of the pen must not stop flags from being served.
    pub(crate) fn of(env: &Env) -> Rc<Self> {
        CONFIG.with(|config| Rc::clone(config.get_or_init(|| Rc::new(Self::read(env)))))
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
        }
    }
}

/// A variable in whole seconds, as milliseconds.
fn seconds(env: &Env, name: &str, default: i64) -> i64 {
    let Ok(value) = env.var(name) else {
        return default * 1_000;
    };
    let value = value.to_string();
    parse_seconds(&value).unwrap_or_else(|| {
        console_error!("{name} is {value:?}; it takes 0 to 3600 whole seconds. Using {default}.");
        default * 1_000
    })
}

fn parse_seconds(value: &str) -> Option<i64> {
    let seconds: i64 = value.trim().parse().ok()?;
    (0..=3_600).contains(&seconds).then_some(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::parse_seconds;

    #[test]
    fn seconds_are_whole_and_bounded() {
        assert_eq!(parse_seconds("1"), Some(1_000));
        assert_eq!(parse_seconds(" 0 "), Some(0));
        assert_eq!(parse_seconds("3600"), Some(3_600_000));
        for odd in ["", "-1", "1.5", "3601", "5s"] {
            assert_eq!(parse_seconds(odd), None, "{odd:?}");
        }
    }
}
