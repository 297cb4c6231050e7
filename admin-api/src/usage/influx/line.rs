//! Counts as line protocol: pure.
//!
//! A point is known by its measurement, its tags and its time, and written again it takes the place of itself. So the time within
//! the minute is made of the batch's id: a batch that comes twice counts once, and two edges do not write over each other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::delivery::{Labels, Resource};

use super::super::counts::{Counts, RESOURCES};

const MINUTE_NANOS: u64 = 60_000_000_000;

/// SDKs by the numbers that Flagsmith writes for them as `user_agent`.
const SDKS: [&str; 13] = [
    "flagsmith-dotnet-sdk",
    "flagsmith-elixir-sdk",
    "flagsmith-flutter-sdk",
    "flagsmith-go-sdk",
    "flagsmith-java-sdk",
    "flagsmith-js-sdk",
    "flagsmith-kotlin-android-sdk",
    "flagsmith-nodejs-sdk",
    "flagsmith-php-sdk",
    "flagsmith-python-sdk",
    "flagsmith-ruby-sdk",
    "flagsmith-rust-sdk",
    "flagsmith-swift-ios-sdk",
];
/// The one version that it knows by a number, one after its SDK's.
const JS: &str = "flagsmith-js-sdk/9.3.1";
const JS_NUMBER: usize = 50_001;

/// A line a series and minute.
pub(super) fn lines(batch: &str, counts: &Counts) -> Vec<String> {
    let mut points: BTreeMap<(String, DateTime<Utc>), i64> = BTreeMap::new();
    for row in &counts.requests {
        let place = &row.place;
        let mut series = "api_call".to_owned();
        // In the order of names, as InfluxDB likes them.
        tags(&mut series, &row.labels, |series| {
            tag(series, "environment", &place.environment);
            tag(series, "environment_id", &place.environment_id.to_string());
            tag(series, "host", &row.host);
            let organisation = format!("{}-{}", place.organisation_id, place.organisation);
            tag(series, "organisation", &organisation);
            tag(
                series,
                "organisation_id",
                &place.organisation_id.to_string(),
            );
            tag(series, "project", &place.project);
            tag(series, "project_id", &place.project_id.to_string());
            tag(series, "resource", name(row.resource));
        });
        *points.entry((series, row.minute)).or_default() += row.count;
    }
    for row in &counts.evaluations {
        let mut series = "feature_evaluation".to_owned();
        tags(&mut series, &row.labels, |series| {
            tag(
                series,
                "environment_id",
                &row.place.environment_id.to_string(),
            );
            // Its name, as in Flagsmith.
            tag(series, "feature_id", &row.feature_name);
        });
        *points.entry((series, row.minute)).or_default() += row.count;
    }
    let within = within_the_minute(batch);
    let line = |((series, minute), count): ((String, DateTime<Utc>), i64)| {
        let nanos = i128::from(minute.timestamp()) * 1_000_000_000 + i128::from(within);
        format!("{series} request_count={count}i {nanos}")
    };
    points.into_iter().map(line).collect()
}

fn within_the_minute(batch: &str) -> u64 {
    let digest = Sha256::digest(batch.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first) % MINUTE_NANOS
}

/// Labels come before and after the rest, by their names.
fn tags(series: &mut String, labels: &Labels, rest: impl FnOnce(&mut String)) {
    let text = |label: &Option<String>| label.clone().unwrap_or_default();
    tag(
        series,
        "client_application_name",
        &text(&labels.client_application_name),
    );
    tag(
        series,
        "client_application_version",
        &text(&labels.client_application_version),
    );
    rest(series);
    if let Some(agent) = &labels.user_agent {
        tag(series, "user_agent", &agent_tag(agent));
    }
}

/// Writes a tag; an empty one is none.
fn tag(series: &mut String, name: &str, value: &str) {
    // A backslash at the end would swallow what separates the next.
    let value = value.trim_end_matches('\\');
    if value.is_empty() {
        return;
    }
    series.push(',');
    series.push_str(name);
    series.push('=');
    for character in value.chars() {
        match character {
            ',' | '=' | ' ' => {
                series.push('\\');
                series.push(character);
            }
            // A line is a point.
            '\n' | '\r' | '\t' => series.push_str("\\ "),
            other => series.push(other),
        }
    }
}

/// A user agent as it is written: its number where Flagsmith has one for it.
pub(super) fn agent_tag(agent: &str) -> String {
    if agent == JS {
        return JS_NUMBER.to_string();
    }
    let known = agent
        .strip_suffix("/unknown")
        .and_then(|sdk| SDKS.iter().position(|known| *known == sdk));
    known.map_or_else(|| agent.to_owned(), |place| (place * 10_000).to_string())
}

/// The user agent that a tag stands for.
pub(super) fn agent(tag: &str) -> String {
    match tag.parse::<usize>() {
        Ok(JS_NUMBER) => JS.to_owned(),
        Ok(number) if number % 10_000 == 0 && number / 10_000 < SDKS.len() => {
            format!("{}/unknown", SDKS[number / 10_000])
        }
        _ => tag.to_owned(),
    }
}

fn name(resource: Resource) -> &'static str {
    match resource {
        Resource::Flags => "flags",
        Resource::Identities => "identities",
        Resource::Traits => "traits",
        Resource::EnvironmentDocument => "environment-document",
    }
}

/// The resource of a name.
pub(super) fn resource(tag: &str) -> Option<Resource> {
    RESOURCES
        .into_iter()
        .find(|resource| name(*resource) == tag)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::counts::{Evaluations, Place, Requests};
    use super::*;

    fn place() -> Arc<Place> {
        Arc::new(Place {
            environment_id: 3,
            api_key: "key".to_owned(),
            environment: "Dev, new".to_owned(),
            project_id: 2,
            project: "a=b\\".to_owned(),
            organisation_id: 1,
            organisation: "Acme Inc".to_owned(),
        })
    }

    fn counts() -> Counts {
        let minute = "2026-01-02T03:04:00Z".parse().unwrap();
        let labels = Labels {
            client_application_name: Some("web\nshop".to_owned()),
            client_application_version: None,
            user_agent: Some("flagsmith-go-sdk/unknown".to_owned()),
        };
        let evaluations = |identifier: &str, count| Evaluations {
            place: place(),
            feature_name: "banner".to_owned(),
            identity_identifier: Some(identifier.to_owned()),
            enabled_when_evaluated: None,
            labels: Labels::default(),
            minute,
            count,
        };
        Counts {
            requests: vec![Requests {
                place: place(),
                resource: Resource::EnvironmentDocument,
                host: String::new(),
                labels,
                minute,
                count: 5,
            }],
            evaluations: vec![evaluations("alice", 2), evaluations("bob", -1)],
        }
    }

    #[test]
    fn a_line_is_as_flagsmith_writes_it() {
        let lines = lines("batch", &counts());
        let at = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
        assert_eq!(
            lines.iter().map(|line| at(line)).collect::<Vec<_>>(),
            [
                "api_call,client_application_name=web\\ shop,environment=Dev\\,\\ new,environment_id=3,\
                 organisation=1-Acme\\ Inc,organisation_id=1,project=a\\=b,project_id=2,\
                 resource=environment-document,user_agent=30000 request_count=5i",
                "feature_evaluation,environment_id=3,feature_id=banner request_count=1i",
            ]
        );
    }

    #[test]
    fn a_batch_has_its_own_time_within_the_minute_and_always_the_same() {
        let time = |batch: &str| -> i64 {
            let line = lines(batch, &counts()).remove(0);
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let minute = 1_767_323_040_000_000_000;
        assert_eq!(time("one"), time("one"));
        assert_ne!(time("one"), time("two"));
        for batch in ["one", "two", "three"] {
            assert!((minute..minute + 60_000_000_000).contains(&time(batch)));
        }
    }

    #[test]
    fn user_agents_have_numbers_where_flagsmith_has_them() {
        for (text, tag) in [
            ("flagsmith-dotnet-sdk/unknown", "0"),
            ("flagsmith-swift-ios-sdk/unknown", "120000"),
            ("flagsmith-js-sdk/9.3.1", "50001"),
            ("flagsmith-js-sdk/10.0.0", "flagsmith-js-sdk/10.0.0"),
            ("other/unknown", "other/unknown"),
        ] {
            assert_eq!(agent_tag(text), tag);
            assert_eq!(agent(tag), text);
        }
        assert_eq!(agent("130000"), "130000");
    }
}
