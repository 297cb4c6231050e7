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
    let snapshot = package.opened();
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
    write_sizes(package, snapshot, out)?;
    write_server_keys(snapshot, out)?;
    let missing = package.missing().len();
    if missing > 0 {
        return writeln!(out, "\n{missing} of its parts are not in here");
    }
    match document(package) {
        Some(document) => write_document(&document, out),
        None => writeln!(out, "\nthe document is no environment document"),
    }
}

/// The document of a package, all of its pages.
fn document(package: &Package) -> Option<Document> {
    let mut whole: Option<Document> = None;
    for number in 0..package.opened().document_pages() {
        let page = package.document_page(number)?;
        let mut page: Document = serde_json::from_slice(&page).ok()?;
        match &mut whole {
            Some(whole) => whole
                .identity_overrides
                .append(&mut page.identity_overrides),
            None => whole = Some(page),
        }
    }
    whole
}

fn write_sizes(package: &Package, snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    let names: Vec<_> = (0..snapshot.parts())
        .filter_map(|number| snapshot.part_name(number))
        .map(|name| name.length)
        .collect();
    let first_bucket = names.len().saturating_sub(snapshot.buckets() as usize);
    let (document, buckets) = names.split_at(first_bucket);
    let (client, server) = (
        snapshot.flags(Side::Client).0,
        snapshot.flags(Side::Server).0,
    );
    writeln!(out, "\nsize          {} bytes", package.size())?;
    writeln!(out, "  snapshot    {}", snapshot.bytes().len())?;
    writeln!(
        out,
        "    /flags/   {} for client keys, {} for server keys",
        client.len(),
        server.len()
    )?;
    for (what, lengths) in [("document ", document), ("overrides", buckets)] {
        let sum: u64 = lengths.iter().copied().map(u64::from).sum();
        let largest = lengths.iter().max().copied().unwrap_or_default();
        let count = lengths.len();
        writeln!(
            out,
            "  {what}   {sum} in {count} parts, the largest {largest}"
        )?;
    }
    writeln!(out, "  pages       {}", snapshot.document_pages())
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
