//! Every setting that a program reads is in the page of settings.
//!
//! Settings are found by how they are written: clap's `env = "NAME"`, the Worker's `(env, "NAME"` and the variables
//! in the deployment files of Workers and Spin.

/// Where they must be.
pub(crate) const PAGE: &str = "docs/settings.md";

/// Settings named in a file that `page` does not name, with their lines (1-based).
pub(crate) fn missing(path: &str, text: &str, page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let Some(name) = name(path, section, line) else {
            continue;
        };
        if !page.contains(&format!("`{name}`")) {
            found.push((number + 1, format!("the setting {name} is not in {PAGE}")));
        }
    }
    found
}

fn name<'a>(path: &str, section: &str, line: &'a str) -> Option<&'a str> {
    if path.starts_with("admin-api/src/") || path.starts_with("edge-server/src/") {
        quoted_after(line, "env = \"")
    } else if path.starts_with("edge-worker/src/") {
        quoted_after(line, "(env, \"").or_else(|| quoted_after(line, ".secret(\""))
    } else if path == "wrangler.toml" && section == "[vars]" {
        // Those that most deployments leave out are shown in comments.
        key(line.strip_prefix("# ").unwrap_or(line)).filter(|name| is_variable(name))
    } else if path == "spin.toml" && section == "[variables]" {
        key(line)
    } else {
        None
    }
}

fn quoted_after<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once('"').map(|(name, _)| name)
}

fn key(line: &str) -> Option<&str> {
    line.split_once(" = ").map(|(name, _)| name)
}

fn is_variable(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::missing;

    fn names(path: &str, text: &str) -> Vec<usize> {
        let found = missing(path, text, "| `KNOWN` | and `known` |");
        found.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn flags_of_clap() {
        let text = "#[arg(long, env = \"KNOWN\")]\n    env = \"NEW\",\n";
        assert_eq!(names("admin-api/src/config/server.rs", text), [2]);
        assert_eq!(names("tests/soak/src/main.rs", text), [0; 0]);
    }

    #[test]
    fn variables_of_workers() {
        let text = "name = \"x\"\n[vars]\nKNOWN = \"1\"\n# a = sign\n# NEW = \"1\"\n[other]\nELSE = \"1\"\n";
        assert_eq!(names("wrangler.toml", text), [5]);
        let text = "number(env, \"NEW\", 1)\nnumber(env, \"KNOWN\", 1)\n";
        assert_eq!(names("edge-worker/src/config.rs", text), [1]);
        assert_eq!(names("edge-worker/src/config.rs", ".secret(\"NEW\")"), [1]);
    }

    #[test]
    fn variables_of_spin() {
        let text = "[variables]\nknown = { default = \"\" }\nnew = { default = \"\" }\n[[trigger.http]]\nroute = \"/\"\n";
        assert_eq!(names("spin.toml", text), [3]);
    }
}
