//! The house rules, each a plain function from a file's text to its breaches.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::settings;

/// Longest Rust or script file, in lines, tests included.
const MAX_LINES: usize = 500;

/// One breach: line (1-based) and what is wrong.
type Breach = (usize, String);

/// Runs every rule over every tracked file.
pub(crate) fn run() -> ExitCode {
    let listing = match Command::new("git").args(["ls-files", "-z"]).output() {
        Ok(output) if output.status.success() => output.stdout,
        _ => {
            eprintln!("tidy: git ls-files failed; run it inside the checkout");
            return ExitCode::FAILURE;
        }
    };
    let listing = String::from_utf8_lossy(&listing);
    let page = std::fs::read_to_string(settings::PAGE).unwrap_or_default();
    let mut files = 0_usize;
    let mut breaches = 0_usize;
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // A tracked file that is not text or not there (a deletion under way) has nothing to read.
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        files += 1;
        let undocumented = settings::missing(path, &text, &page);
        for (line, what) in check(path, &text).into_iter().chain(undocumented) {
            eprintln!("{path}:{line}: {what}");
            breaches += 1;
        }
    }
    println!("tidy: {files} files, {breaches} breaches");
    if breaches == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Every rule on one file.
fn check(path: &str, text: &str) -> Vec<Breach> {
    let mut found = machine_paths(path, text);
    found.extend(trailing_space(path, text));
    if has_extension(path, "rs") {
        found.extend(length(text));
        found.extend(module_doc(text));
        found.extend(unowned_notes(text));
        found.extend(layers(path, text));
    }
    found
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// A file has one subject and fits in a head.
fn length(text: &str) -> Vec<Breach> {
    let count = text.lines().count();
    if count > MAX_LINES {
        vec![(
            count,
            format!("{count} lines, more than {MAX_LINES}: give a part a room of its own"),
        )]
    } else {
        Vec::new()
    }
}

/// Every module says what it is.
fn module_doc(text: &str) -> Vec<Breach> {
    let first = text
        .lines()
        .find(|line| !line.is_empty() && !line.starts_with("#!["));
    match first {
        Some(line) if line.starts_with("//!") => Vec::new(),
        _ => vec![(1, "starts without a //! that says what it is".to_owned())],
    }
}

/// Work left open belongs in an issue.
fn unowned_notes(text: &str) -> Vec<Breach> {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    lines(text)
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(number, _)| {
            (
                number,
                "open work in the code; finish it or file an issue".to_owned(),
            )
        })
        .collect()
}

/// In core an upper room uses a lower one, never the other way.
fn layers(path: &str, text: &str) -> Vec<Breach> {
    let forbidden: &[&str] = if path.starts_with("core/src/engine/") {
        &["crate::snapshot", "crate::edge"]
    } else if path.starts_with("core/src/snapshot/") {
        &["crate::edge"]
    } else {
        &[]
    };
    lines(text)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            forbidden
                .iter()
                .filter(move |room| line.contains(**room))
                .map(move |room| (number, format!("{room} is an upper room")))
        })
        .collect()
}

/// Nothing of the machine it was written on.
fn machine_paths(path: &str, text: &str) -> Vec<Breach> {
    if path.starts_with("scripts/xtask/") {
        return Vec::new();
    }
    lines(text)
        .filter(|(_, line)| line.contains("/root/") || line.contains("/work/"))
        .map(|(number, _)| (number, "a path of one machine".to_owned()))
        .collect()
}

fn trailing_space(path: &str, text: &str) -> Vec<Breach> {
    if has_extension(path, "md") || has_extension(path, "snap") {
        return Vec::new();
    }
    lines(text)
        .filter(|(_, line)| line.ends_with(' ') || line.ends_with('\t'))
        .map(|(number, _)| (number, "trailing space".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    fn breaches(path: &str, text: &str) -> Vec<String> {
        check(path, text)
            .into_iter()
            .map(|(_, what)| what)
            .collect()
    }

    #[test]
    fn a_plain_module_passes() {
        assert!(breaches("core/src/engine/a.rs", "//! What it is.\nfn a() {}\n").is_empty());
    }

    #[test]
    fn a_long_file_is_told() {
        let text = format!("//! Long.\n{}", "fn a() {}\n".repeat(500));
        assert_eq!(breaches("a.rs", &text).len(), 1);
    }

    #[test]
    fn a_module_without_doc_is_told() {
        assert_eq!(breaches("a.rs", "fn a() {}\n").len(), 1);
    }

    #[test]
    fn a_lower_room_must_not_use_an_upper_one() {
        let text = "//! X.\nuse crate::snapshot::Snapshot;\n";
        assert_eq!(
            breaches("core/src/engine/a.rs", text),
            ["crate::snapshot is an upper room"]
        );
        assert!(breaches("core/src/edge/a.rs", text).is_empty());
    }
}
