//! Looks at an existing Flagsmith: what the feature `upstream` adds. Reading and compiling documents takes a third of a module
//! that has it, so that who publishes does without.

use yardarm_core::edge::Unavailable;
use yardarm_core::edge::upstream::{End, KeyPair, PullError, Step, Verdict, Watch};

use super::{Pulls, ROOM, Watched, now};
use crate::config::UpstreamConfig;
use crate::host::random;
use crate::outbound::ask;
use crate::snapshots::file;
use worker::console_warn;

/// How often it is written down that nothing has changed, in microseconds.
const REMEMBER: i64 = 60_000_000;

/// One look at one environment of upstream.
pub(super) async fn look(
    pulls: &Pulls,
    upstream: &UpstreamConfig,
    pair: &KeyPair,
) -> Result<(), Unavailable> {
    let Watched {
        mut watch,
        written_at,
        ..
    } = pulls.watched(pair).await;
    let held = pulls.held(pair.client()).await?;
    let mut pull = watch.pull(&upstream.root, pair, held.as_ref(), ROOM, now());
    let end = loop {
        let answer = match ask(&pull.request(), pull.room(), upstream.timeout).await {
            Ok(answer) => answer,
            Err(error) => break End::Failed(PullError::Exchange(error)),
        };
        match pull.answer(answer.status, &answer.headers, &answer.body, now()) {
            Step::Ask(next) => pull = *next,
            Step::Done(end) => break end,
        }
    };
    let environment = pair.client();
    let verdict = watch.settle(end, pair, held.as_ref(), now());
    let is_news = !matches!(verdict, Verdict::Current);
    match verdict {
        Verdict::Current => {}
        Verdict::Keep(problem) => console_warn!("{environment}: {problem}"),
        Verdict::Install { package, warnings } => {
            for warning in warnings {
                console_warn!("{environment}: {warning}");
            }
            match file(&pulls.env, &package).await {
                Ok(()) => watch.installed(now()),
                Err(error) => watch.fail(error.to_string()),
            }
        }
    }
    let wait = watch.wait(upstream.interval, u64::from(random()[0]));
    let next_at = now().micros() + i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    let is_due = now().micros() - written_at >= REMEMBER;
    let mut watched = Watched {
        watch,
        next_at,
        written_at,
    };
    if is_news || is_due {
        write(pulls, pair, &watched.watch).await?;
        watched.written_at = now().micros();
    }
    pulls
        .watched
        .borrow_mut()
        .insert(environment.to_owned(), watched);
    Ok(())
}

async fn write(pulls: &Pulls, pair: &KeyPair, watch: &Watch) -> Result<(), Unavailable> {
    let json = serde_json::to_string(watch).unwrap_or_default();
    let put = pulls.state.storage().put(pair.client(), json).await;
    put.map_err(|error| Unavailable(format!("a look was not written down: {error}")))
}
