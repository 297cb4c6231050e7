//! The questions, in Flux: pure.

use chrono::SecondsFormat;
use yardarm_core::edge::delivery::Labels;

use super::super::counts::LABELS;
use super::super::day::{EvaluationQuery, RequestQuery, Span};
use super::line::agent_tag;

/// Requests by resource, labels and day.
pub(super) fn requests(bucket: &str, asked: &RequestQuery) -> String {
    let mut filters = vec![
        is("_measurement", "api_call"),
        is("_field", "request_count"),
        is("organisation_id", &asked.organisation_id.to_string()),
    ];
    filters.extend(asked.project_id.map(|id| is("project_id", &id.to_string())));
    filters.extend(
        asked
            .environment_id
            .map(|id| is("environment_id", &id.to_string())),
    );
    let mut columns = vec!["resource"];
    columns.extend(LABELS.map(|(name, _)| name));
    question(bucket, asked.span, filters, &asked.labels, &columns)
}

/// Evaluations by labels and day.
pub(super) fn evaluations(bucket: &str, asked: &EvaluationQuery) -> String {
    let filters = vec![
        is("_measurement", "feature_evaluation"),
        is("_field", "request_count"),
        is("environment_id", &asked.environment_id.to_string()),
        is("feature_id", &asked.feature_name),
    ];
    let columns = LABELS.map(|(name, _)| name);
    question(bucket, asked.span, filters, &asked.labels, &columns)
}

fn question(
    bucket: &str,
    span: Span,
    mut filters: Vec<String>,
    labels: &Labels,
    columns: &[&str],
) -> String {
    let mut labels = labels.clone();
    for (name, label) in LABELS {
        if let Some(value) = label(&mut labels) {
            let value = if name == "user_agent" {
                agent_tag(value)
            } else {
                value.clone()
            };
            filters.push(is(name, &value));
        }
    }
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let filters: Vec<String> = filters
        .iter()
        .map(|filter| format!("  |> filter(fn: (r) => {filter})\n"))
        .collect();
    let columns: Vec<String> = columns.iter().map(|column| text(column)).collect();
    format!(
        "from(bucket: {})\n  |> range(start: {}, stop: {})\n{}  |> group(columns: [{}])\n  \
         |> aggregateWindow(every: 24h, fn: sum, createEmpty: false, timeSrc: \"_start\")\n",
        text(bucket),
        time(span.from),
        time(span.until),
        filters.concat(),
        columns.join(", "),
    )
}

fn is(column: &str, value: &str) -> String {
    format!("r[{}] == {}", text(column), text(value))
}

/// A string literal. What people name their features must not become part of the question.
pub(super) fn text(value: &str) -> String {
    let mut literal = String::from("\"");
    for character in value.chars() {
        match character {
            // `${…}` would be evaluated.
            '"' | '\\' | '$' => {
                literal.push('\\');
                literal.push(character);
            }
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span {
            from: "2026-01-01T00:00:00Z".parse().unwrap(),
            until: "2026-01-03T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn requests_of_an_organisation() {
        let asked = RequestQuery {
            organisation_id: 1,
            project_id: None,
            environment_id: Some(3),
            environments: vec![3],
            span: span(),
            labels: Labels {
                user_agent: Some("flagsmith-go-sdk/unknown".to_owned()),
                ..Labels::default()
            },
        };
        assert_eq!(
            requests("b_downsampled_15m", &asked),
            r#"from(bucket: "b_downsampled_15m")
  |> range(start: 2026-01-01T00:00:00Z, stop: 2026-01-03T00:00:00Z)
  |> filter(fn: (r) => r["_measurement"] == "api_call")
  |> filter(fn: (r) => r["_field"] == "request_count")
  |> filter(fn: (r) => r["organisation_id"] == "1")
  |> filter(fn: (r) => r["environment_id"] == "3")
  |> filter(fn: (r) => r["user_agent"] == "30000")
  |> group(columns: ["resource", "client_application_name", "client_application_version", "user_agent"])
  |> aggregateWindow(every: 24h, fn: sum, createEmpty: false, timeSrc: "_start")
"#
        );
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(text("a\"b\\c${d}\n"), r#""a\"b\\c\${d}\n""#);
        let asked = EvaluationQuery {
            environment_id: 3,
            feature_name: "x\") |> drop(\"".to_owned(),
            span: span(),
            labels: Labels::default(),
        };
        let flux = evaluations("b", &asked);
        assert!(
            flux.contains(r#"r["feature_id"] == "x\") |> drop(\"")"#),
            "{flux}"
        );
    }
}
