//! Checks a running host over HTTP, whichever it is: native, Worker or Spin.
//!
//! [`returns`] is about what comes home to a control plane ([`home`] stands in for one);
//! [`checks`] are about publication and parallel writes, [`events`] about event streams; the request-to-reply table is core's
//! (`core/tests/conformance/*.json`), the same that core runs against its in-memory host.

pub mod checks;
pub mod environment;
pub mod estate;
pub mod events;
pub mod handed;
pub mod home;
pub mod overrides;
mod report;
pub mod returns;
mod server;
pub mod table;
mod target;

pub use report::Report;
pub use server::serve;
pub use target::{Handed, Target, publication_path, sha256_hex, unix_seconds};

/// Which checks to run besides the table.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The control plane that the server sends its deliveries to.
    pub home: Option<home::Home>,
    /// Whether to change one identity from 200 requests at once.
    pub parallel_traits: bool,
    /// How many identity overrides to publish in one environment; 0 leaves that out.
    pub overrides: usize,
    /// How many environments to publish; 0 leaves that out.
    pub environments: usize,
}

/// Runs everything against a server.
pub async fn run(target: &Target, options: Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    table::play(target, &mut report).await?;
    report.add("publishes", checks::publishes(target).await);
    report.add(
        "never goes backwards",
        checks::never_goes_backwards(target).await,
    );
    report.add(
        "newest of a race wins",
        checks::newest_of_a_race_wins(target).await,
    );
    report.add(
        "refuses wrong signatures",
        checks::refuses_wrong_signatures(target).await,
    );
    report.add(
        "refuses damaged packages",
        checks::refuses_damaged_packages(target).await,
    );
    report.add("tells of changes", events::tells_of_changes(target).await);
    let kept = handed::keeps_the_later_change(target).await;
    report.add("keeps the later change", kept);
    if options.parallel_traits {
        report.add("loses no trait", checks::loses_no_trait(target).await);
    }
    if let Some(home) = &options.home {
        let all = returns::brings_all_home(target, home).await;
        report.add("brings all home", all);
        let echo = returns::sends_no_echo(target, home).await;
        report.add("sends no echo", echo);
    }
    if options.overrides > 0 {
        let outcome = overrides::answers_very_many_overrides(target, options.overrides).await;
        report.add("answers very many overrides", outcome);
    }
    if options.environments > 0 {
        let outcome = estate::holds_very_many_environments(target, options.environments).await;
        report.add("holds very many environments", outcome);
    }
    Ok(report)
}
