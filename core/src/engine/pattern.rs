//! Python's `re.match` on `regex-lite`: anchored at the start, open at the end.
//!
//! Both dialects agree on what segments use; where they do not, the pattern is rewritten if that is
//! a matter of spelling (`\Z`, `$`, a literal `{`, a `[` inside a class). What `regex-lite` cannot do
//! (look-around, back-references) makes the pattern unreadable, and an unreadable pattern matches
//! nothing; `compile` warns about it. docs/compatibility.md lists the differences.

use std::sync::OnceLock;

use regex_lite::{Regex, RegexBuilder};

/// A pattern whose program would be larger is refused.
const SIZE_LIMIT: usize = 1 << 20;

/// The pattern, respelled and anchored, as [`Patterns`] compiles it; `None` where it is unreadable.
pub(crate) fn prepare(pattern: &str) -> Option<String> {
    let respelled = respell(pattern);
    // On its own first: wrapped, an unbalanced `a)|(b` would become readable.
    compile(&respelled)?;
    let anchored = format!(r"\A(?:{respelled})");
    if compile(&anchored).is_some() {
        return Some(anchored);
    }
    // In verbose mode a comment at the end swallows the parenthesis.
    let anchored = format!("\\A(?:{respelled}\n)");
    compile(&anchored).map(|_| anchored)
}

/// Whether Python's `re.match(pattern, text)` finds something. An unreadable pattern never does.
pub fn matches_start(pattern: &str, text: &str) -> bool {
    prepare(pattern)
        .and_then(|pattern| compile(&pattern))
        .is_some_and(|regex| regex.is_match(text))
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(SIZE_LIMIT)
        .build()
        .ok()
}

/// Spells in `regex-lite`'s dialect what Python spells differently.
fn respell(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // Inside `[…]`: how many characters of the class have been read.
    let mut class: Option<usize> = None;
    while let Some(character) = rest.chars().next() {
        let (piece, tail) = rest.split_at(character.len_utf8());
        rest = tail;
        if character == '\\' {
            let escaped = rest.chars().next();
            let (name, tail) = rest.split_at(escaped.map_or(0, char::len_utf8));
            rest = tail;
            match name {
                "Z" if class.is_none() => out.push_str(r"\z"),
                "b" if class.is_some() => out.push_str(r"\x08"),
                "0" => out.push_str(r"\x00"),
                // Plain characters in Python; word boundaries, or refused, here.
                "<" | ">" => out.push_str(name),
                name if !name.is_ascii() => out.push_str(name),
                _ => {
                    out.push('\\');
                    out.push_str(name);
                }
            }
            class = class.map(|read| read + 1);
            continue;
        }
        class = match (class, character) {
            (None, '[') => {
                out.push('[');
                if let Some(tail) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = tail;
                }
                Some(0)
            }
            // In Python the end is also just before a line feed that ends the text.
            (None, '$') => {
                out.push_str(r"(?:$|\n\z)");
                None
            }
            (None, '(') if rest.starts_with("?#") => {
                out.push_str("(?:)");
                rest = rest.split_once(')').map_or("", |(_, rest)| rest);
                None
            }
            (None, '{') if !starts_repetition(rest) => {
                out.push_str(r"\{");
                None
            }
            (None, '{') if rest.starts_with(',') => {
                out.push_str("{0");
                None
            }
            // A bracket that comes first is part of the class.
            (Some(0), ']') => {
                out.push_str(r"\]");
                Some(1)
            }
            (Some(_), ']') => {
                out.push(']');
                None
            }
            (Some(read), '[' | '&' | '~') => {
                out.push('\\');
                out.push(character);
                Some(read + 1)
            }
            (state, _) => {
                out.push_str(piece);
                state.map(|read| read + 1)
            }
        };
    }
    out
}

/// Whether what follows `{` makes it a repetition: `3}`, `3,}`, `,3}`, `,}` or `3,5}`.
fn starts_repetition(rest: &str) -> bool {
    let Some((bounds, _)) = rest.split_once('}') else {
        return false;
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match bounds.split_once(',') {
        Some((low, high)) => all_digits(low) && all_digits(high),
        None => !bounds.is_empty() && all_digits(bounds),
    }
}

/// The compiled patterns of one plan, each made when it is first needed and then kept.
#[derive(Debug, Default)]
pub(crate) struct Patterns(OnceLock<Box<[Pattern]>>);

/// One of them; `None` where it turned out to be unreadable.
type Pattern = OnceLock<Option<Regex>>;

impl Patterns {
    /// Whether pattern number `index` of `total`, spelled `pattern`, matches at the start of `text`.
    pub(crate) fn is_match(&self, index: u32, total: u32, pattern: &[u8], text: &str) -> bool {
        let all = self
            .0
            .get_or_init(|| (0..total).map(|_| OnceLock::new()).collect());
        let Some(cell) = all.get(index as usize) else {
            return false;
        };
        cell.get_or_init(|| compile(str::from_utf8(pattern).ok()?))
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_at_the_start_only() {
        assert!(matches_start("b+", "bbc"));
        assert!(!matches_start("b+", "abb"));
        assert!(matches_start("a|b", "bx"));
        assert!(matches_start("", ""));
        assert!(matches_start("^a$", "a"));
        assert!(!matches_start("^a$", "ab"));
    }

    #[test]
    fn unreadable_patterns_match_nothing() {
        for pattern in [
            "(", "[a", "a)|(b", "*", "(?=a)", r"(a)\1", "(?P=x)", "a{2,1}",
        ] {
            assert!(!matches_start(pattern, "a"), "{pattern}");
        }
    }

    #[test]
    fn spells_as_python_does() {
        for (pattern, text) in [
            (r"a\Z", "a"),
            ("a{", "a{"),
            ("a{x}", "a{x}"),
            ("a{,2}$", "aa"),
            ("{}", "{}"),
            ("[[]", "["),
            ("[]]", "]"),
            ("[^]]", "a"),
            ("[a&&b]", "&"),
            (r"\<\>\/\@\-", "<>/@-"),
            (r"[\]]", "]"),
            ("(?i)AbC", "aBc"),
            ("(?P<year>[0-9]{4})-", "2026-"),
            ("(?x)a # comment", "a"),
            ("(?#comment)a", "a"),
            ("a$", "a\n"),
            ("(?m)a$", "a\nb"),
            ("a{,}b", "aab"),
            (r"[\b]", "\u{8}"),
            (r"\0", "\0"),
        ] {
            assert!(matches_start(pattern, text), "{pattern} on {text}");
        }
        assert!(!matches_start("[a&&b]", "c"));
        assert!(!matches_start(r"a\Z", "ab"));
        assert!(!matches_start(r"a\Z", "a\n"));
        assert!(!matches_start("a$", "a\n\n"));
    }

    #[test]
    fn large_programs_are_refused() {
        assert!(!matches_start("((a{1000}){1000}){1000}", "a"));
    }
}
