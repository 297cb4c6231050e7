//! Turns `src/**/queries.sql` into constants and lists the migrations, so that a misspelled
//! statement, an undeclared parameter or a gap in the migrations is a compile error (ADR 0004).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=migrations-usage");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("sql.rs"), statements()).expect("OUT_DIR is writable");
    let lists = migrations("MIGRATIONS", "migrations") + &migrations("USAGE", "migrations-usage");
    fs::write(out.join("migrations.rs"), lists).expect("OUT_DIR is writable");
}

/// A tree of modules that mirrors the folders, with a constant a statement in each.
#[derive(Default)]
struct Module {
    constants: Vec<Statement>,
    children: BTreeMap<String, Module>,
}

struct Statement {
    name: String,
    parameters: Vec<String>,
    text: String,
}

fn statements() -> String {
    let mut root = Module::default();
    let mut all = Vec::new();
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    files.sort();
    for file in files {
        let folders: Vec<String> = file
            .parent()
            .expect("a file has a folder")
            .components()
            .skip(1)
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let module = folders.iter().fold(&mut root, |module, folder| {
            module.children.entry(folder.clone()).or_default()
        });
        let source = fs::read_to_string(&file).expect("the file was just listed");
        for statement in parse(&file, &source) {
            all.push((
                folders.join("."),
                statement.name.clone(),
                statement.text.clone(),
            ));
            module.constants.push(statement);
        }
    }
    let mut code = String::new();
    render(&root, "", &mut code);
    code.push_str("/// Every statement, by name: a test prepares each of them.\n");
    code.push_str("pub static ALL: &[(&str, &str)] = &[\n");
    for (folder, name, text) in all {
        writeln!(code, "    ({:?}, {text:?}),", format!("{folder}.{name}")).expect("a String");
    }
    code.push_str("];\n");
    code
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.file_name().is_some_and(|name| name == "queries.sql") {
            files.push(path);
        }
    }
}

fn render(module: &Module, folder: &str, code: &mut String) {
    for Statement {
        name,
        parameters,
        text,
    } in &module.constants
    {
        let full = format!("{folder}.{name}");
        let constant = name.to_uppercase();
        let count = parameters.len();
        writeln!(
            code,
            "/// `{full}({})`\npub(crate) const {constant}: crate::store::Sql<{count}> = crate::store::Sql {{ name: {full:?}, text: {text:?} }};",
            parameters.join(", ")
        )
        .expect("a String");
    }
    for (name, child) in &module.children {
        let folder = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}.{name}")
        };
        writeln!(code, "pub(crate) mod {name} {{").expect("a String");
        render(child, &folder, code);
        code.push_str("}\n");
    }
}

/// Reads `--! name (parameter, …)` headers; inside, `:parameter` stands for `$n`.
fn parse(file: &Path, source: &str) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    for block in source.split("--! ").skip(1) {
        let (header, body) = block.split_once('\n').unwrap_or((block, ""));
        let (name, parameters) = match header.split_once('(') {
            Some((name, rest)) => {
                let rest = rest
                    .trim()
                    .strip_suffix(')')
                    .unwrap_or_else(|| panic!("{}: `{header}`: a ) is missing", file.display()));
                let parameters: Vec<String> = rest
                    .split(',')
                    .map(|p| p.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect();
                (name.trim(), parameters)
            }
            None => (header.trim(), Vec::new()),
        };
        assert!(
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()),
            "{}: `{header}`: a statement's name is snake_case",
            file.display()
        );
        assert!(
            found.iter().all(|other| other.name != name),
            "{}: `{name}` appears twice",
            file.display()
        );
        let place = format!("{}: `{name}`", file.display());
        let text = number(&place, body, &parameters);
        let text = text.trim().trim_end_matches(';').to_owned();
        found.push(Statement {
            name: name.to_owned(),
            parameters,
            text,
        });
    }
    found
}

/// Replaces `:parameter` by its number; leaves casts (`::type`), literals and comments alone.
fn number(place: &str, body: &str, parameters: &[String]) -> String {
    let mut text = String::new();
    let mut used = vec![false; parameters.len()];
    let mut rest = body;
    let mut quoted = false;
    while let Some(next) = rest.chars().next() {
        if !quoted && rest.starts_with("--") {
            let end = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[end..];
            continue;
        }
        if next == '\'' {
            quoted = !quoted;
        }
        if !quoted && rest.starts_with("::") {
            text.push_str("::");
            rest = &rest[2..];
            continue;
        }
        if !quoted && next == ':' {
            let word: String = rest[1..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let index = parameters
                .iter()
                .position(|parameter| *parameter == word)
                .unwrap_or_else(|| panic!("{place}: `:{word}` is not among the parameters"));
            used[index] = true;
            write!(text, "${}", index + 1).expect("a String");
            rest = &rest[1 + word.len()..];
            continue;
        }
        text.push(next);
        rest = &rest[next.len_utf8()..];
    }
    for (parameter, used) in parameters.iter().zip(used) {
        assert!(used, "{place}: parameter `{parameter}` is not used");
    }
    text
}

/// A folder's `V0001__name.sql` files in order, without gaps.
fn migrations(name: &str, folder: &str) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is readable")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let mut code = format!("static {name}: &[Migration] = &[\n");
    for (index, file) in files.iter().enumerate() {
        let stem = file
            .file_stem()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let (version, name) = stem
            .strip_prefix('V')
            .and_then(|rest| rest.split_once("__"))
            .unwrap_or_else(|| panic!("{stem}: migrations are named V0001__what_it_does.sql"));
        let version: usize = version.parse().expect("the version is a number");
        assert_eq!(version, index + 1, "{stem}: versions count up without gaps");
        let path = fs::canonicalize(file).expect("the file was just listed");
        writeln!(
            code,
            "    Migration {{ version: {version}, name: {name:?}, sql: include_str!({:?}) }},",
            path.display().to_string()
        )
        .expect("a String");
    }
    code.push_str("];\n");
    code
}
