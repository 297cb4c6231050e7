//! What a package holds, in words, for people.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::document::{Document, FeatureState, Rule};
use super::{Package, Side, Snapshot};
use crate::time::Timestamp;

/// Describes a package: whose it is, how large its parts are, its features, segments, overrides and
/// server-side keys. Text for people; its form may change.
pub fn inspect(package: &Package) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_package(package, &mut out);
    out
}

fn write_package(package: &Package, out: &mut String) -> fmt::Result {
    let meta = package.meta();
    let Ok(snapshot) = Snapshot::open(package.snapshot()) else {
        return writeln!(out, "not a package");
    };
    let changed = Timestamp(meta.updated_at_micros).http_date();
    writeln!(out, "environment   {}", meta.environment_key)?;
    writeln!(out, "version       {}", meta.version)?;
    writeln!(out, "changed       {changed}")?;
    writeln!(out, "content hash  {}", meta.content_hash)?;
    if meta.gone {
        return writeln!(
            out,
            "tombstone     the environment is gone; its key is refused"
        );
    }
    write_sizes(package, &snapshot, out)?;
    write_server_keys(&snapshot, out)?;
    match serde_json::from_slice::<Document>(&package.document()) {
        Ok(document) => write_document(&document, out),
        Err(error) => writeln!(out, "\nthe document is no environment document: {error}"),
    }
}

fn write_sizes(package: &Package, snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    let meta = package.meta();
    let buckets: Vec<usize> = (0..meta.override_buckets)
        .filter_map(|bucket| package.override_bucket(bucket))
        .map(|bucket| bucket.len())
        .collect();
    let (client, server) = (
        snapshot.flags(Side::Client).0,
        snapshot.flags(Side::Server).0,
    );
    let (snapshot, document) = (package.snapshot().len(), package.document().len());
    writeln!(out, "\nsize          {} bytes", package.bytes().len())?;
    writeln!(out, "  snapshot    {snapshot}")?;
    writeln!(
        out,
        "    /flags/   {} for client keys, {} for server keys",
        client.len(),
        server.len()
    )?;
    writeln!(out, "  document    {document}")?;
    let largest = buckets.iter().max().copied().unwrap_or_default();
    let (count, sum) = (buckets.len(), buckets.iter().sum::<usize>());
    writeln!(
        out,
        "  overrides   {sum} in {count} buckets, the largest {largest}"
    )
}

fn write_server_keys(snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    let keys = snapshot.server_keys();
    writeln!(out, "\nserver keys   {}", keys.len())?;
    for (hash, is_active, expires_at) in keys {
        // Enough to tell keys apart; the whole hash helps nobody who reads this.
        let hash = &crate::hex::encode(hash)[..12];
        let state = if is_active { "active" } else { "revoked" };
        match expires_at {
            Some(moment) => writeln!(out, "  {hash}…  {state}, expires {}", moment.http_date())?,
            None => writeln!(out, "  {hash}…  {state}")?,
        }
    }
    Ok(())
}

fn write_document(document: &Document, out: &mut String) -> fmt::Result {
    let project = &document.project;
    let server_only = &project.server_key_only_feature_ids;
    writeln!(
        out,
        "\n{} / {} / {}",
        project.organisation.name, project.name, document.name
    )?;
    for (is_set, words) in [
        (
            project.organisation.stop_serving_flags,
            "the organisation is stopped from serving flags",
        ),
        (
            !project.organisation.persist_trait_data,
            "traits are not stored",
        ),
        (
            !document.allow_client_traits,
            "client keys may not set traits",
        ),
        (document.hide_sensitive_data, "sensitive data is hidden"),
        (
            document
                .hide_disabled_flags
                .unwrap_or(project.hide_disabled_flags),
            "disabled flags are hidden",
        ),
        (
            !document.use_identity_composite_key_for_hashing,
            "buckets are hashed by identity ids",
        ),
    ] {
        if is_set {
            writeln!(out, "  {words}")?;
        }
    }

    writeln!(out, "\nfeatures      {}", document.feature_states.len())?;
    for state in &document.feature_states {
        let kind = state
            .feature
            .kind
            .as_deref()
            .unwrap_or("STANDARD")
            .to_lowercase();
        let only = if server_only.contains(&state.feature.id) {
            ", server keys only"
        } else {
            ""
        };
        write!(out, "  {} ({kind}{only}): ", state.feature.name)?;
        write_state(state, out)?;
    }

    writeln!(out, "\nsegments      {}", project.segments.len())?;
    for segment in &project.segments {
        writeln!(out, "  {} (id {})", segment.name, segment.id)?;
        match segment.rules.as_slice() {
            [] => writeln!(out, "    matches nobody: it has no rules")?,
            rules => {
                for rule in rules {
                    write_rule(rule, 4, out)?;
                }
            }
        }
        for state in &segment.feature_states {
            let priority = state.feature_segment.as_ref().and_then(|of| of.priority);
            let priority = priority.map_or_else(|| "last".to_owned(), |n| n.to_string());
            write!(
                out,
                "    overrides {} (priority {priority}): ",
                state.feature.name
            )?;
            write_state(state, out)?;
        }
    }

    let identities = &document.identity_overrides;
    let states: usize = identities
        .iter()
        .map(|identity| identity.identity_features.len())
        .sum();
    writeln!(
        out,
        "\nidentities    {} with {states} overrides in the document",
        identities.len()
    )
}

fn write_state(state: &FeatureState, out: &mut String) -> fmt::Result {
    let on = if state.enabled { "on" } else { "off" };
    write!(out, "{on}, {}", short(&state.feature_state_value))?;
    for value in &state.multivariate_feature_state_values {
        let option = &value.multivariate_feature_option;
        write!(
            out,
            " | {}% {}",
            value.percentage_allocation,
            short(&option.value)
        )?;
        if let Some(key) = &option.key {
            write!(out, " ({key})")?;
        }
    }
    writeln!(out)
}

fn write_rule(rule: &Rule, indent: usize, out: &mut String) -> fmt::Result {
    let quantifier = match rule.kind.as_str() {
        "ALL" => "all of",
        "ANY" => "any of",
        "NONE" => "none of",
        _ => "nobody (unknown quantifier):",
    };
    writeln!(out, "{:indent$}{quantifier}", "")?;
    let inner = indent + 2;
    for condition in &rule.conditions {
        let property = condition
            .property
            .as_deref()
            .filter(|name| !name.is_empty());
        let operator = condition.operator.to_lowercase().replace('_', " ");
        let value = match condition.operator.as_str() {
            "IS_SET" | "IS_NOT_SET" => String::new(),
            _ => format!(" {}", short(&condition.value)),
        };
        let property = property.unwrap_or("the identity");
        writeln!(out, "{:inner$}{property} {operator}{value}", "")?;
    }
    for rule in &rule.rules {
        write_rule(rule, inner, out)?;
    }
    Ok(())
}

/// A value on one short line.
fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}
