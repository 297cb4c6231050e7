//! The grammar of RFC 9535.

use serde_json::{Number, Value};

use super::filter::{Comparison, Filter, Operand, Source, TextTest};
use super::{Query, Segment, Selector};

/// How deep parentheses, filters and function calls may nest.
const DEPTH: u32 = 32;
/// The largest integer that JSON readers agree on (RFC 9535, 2.1).
const LARGEST: i64 = (1 << 53) - 1;

/// Parses a whole query.
pub(super) fn parse(text: &str) -> Option<Query> {
    let mut parser = Parser {
        rest: text,
        depth: DEPTH,
    };
    parser.eat("$").then_some(())?;
    let segments = parser.segments()?;
    parser.rest.is_empty().then_some(Query { segments })
}

struct Parser<'t> {
    rest: &'t str,
    depth: u32,
}

impl<'t> Parser<'t> {
    fn eat(&mut self, token: &str) -> bool {
        let tail = self.rest.strip_prefix(token);
        self.rest = tail.unwrap_or(self.rest);
        tail.is_some()
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
    }

    fn eat_after_blanks(&mut self, token: &str) -> bool {
        self.skip_blanks();
        self.eat(token)
    }

    /// Runs a part of the grammar that may contain itself.
    fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth = self.depth.checked_sub(1)?;
        let parsed = part(self);
        self.depth += 1;
        parsed
    }

    fn segments(&mut self) -> Option<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            // Blanks may stand before a segment, and only there.
            let before = self.rest;
            self.skip_blanks();
            let descendant = self.eat("..");
            let selectors = if self.eat("[") {
                self.bracketed()?
            } else if descendant || self.eat(".") {
                vec![self.shorthand()?]
            } else {
                self.rest = before;
                return Some(segments);
            };
            segments.push(Segment {
                descendant,
                selectors,
            });
        }
    }

    fn shorthand(&mut self) -> Option<Selector> {
        if self.eat("*") {
            return Some(Selector::Wildcard);
        }
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let is_other = |c: char| is_first(c) || c.is_ascii_digit() || c == '-';
        self.rest.starts_with(is_first).then_some(())?;
        let name = self.take_while(is_other);
        Some(Selector::Name(name.to_owned()))
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn bracketed(&mut self) -> Option<Vec<Selector>> {
        let mut selectors = Vec::new();
        loop {
            self.skip_blanks();
            selectors.push(self.selector()?);
            self.skip_blanks();
            if self.eat("]") {
                return Some(selectors);
            }
            self.eat(",").then_some(())?;
        }
    }

    fn selector(&mut self) -> Option<Selector> {
        if self.eat("*") {
            return Some(Selector::Wildcard);
        }
        if self.eat("?") {
            self.skip_blanks();
            return self.nested(Self::or).map(Selector::Filter);
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted().map(Selector::Name);
        }
        let start = self.index()?;
        if !self.eat_after_blanks(":") {
            return start.map(Selector::Index);
        }
        self.skip_blanks();
        let end = self.index()?;
        let step = if self.eat_after_blanks(":") {
            self.skip_blanks();
            self.index()?.unwrap_or(1)
        } else {
            1
        };
        Some(Selector::Slice { start, end, step })
    }

    /// An integer, or none; `None` where digits are no integer.
    #[expect(
        clippy::option_option,
        reason = "nothing there, and something wrong there, differ"
    )]
    fn index(&mut self) -> Option<Option<i64>> {
        let text = self.take_while(|c| c.is_ascii_digit() || c == '-');
        if text.is_empty() {
            return Some(None);
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_canonical = text == "0" || !digits.starts_with('0');
        let number: i64 = text.parse().ok()?;
        (is_canonical && number.abs() <= LARGEST).then_some(Some(number))
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        self.rest = &self.rest[1..];
        let mut text = String::new();
        loop {
            let character = self.rest.chars().next()?;
            self.rest = &self.rest[character.len_utf8()..];
            match character {
                '\\' => text.push(self.escaped(quote)?),
                '\0'..='\u{1f}' => return None,
                _ if character == quote => return Some(text),
                _ => text.push(character),
            }
        }
    }

    fn escaped(&mut self, quote: char) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(match character {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '/' | '\\' => character,
            'u' => {
                let unit = self.code_unit()?;
                let (0xd800..0xdc00, true) = (unit, self.rest.starts_with("\\u")) else {
                    return char::from_u32(unit);
                };
                self.rest = &self.rest[2..];
                char::decode_utf16([
                    u16::try_from(unit).ok()?,
                    u16::try_from(self.code_unit()?).ok()?,
                ])
                .next()?
                .ok()?
            }
            _ if character == quote => quote,
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then_some(())?;
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }

    fn or(&mut self) -> Option<Filter> {
        let mut filters = vec![self.and()?];
        while self.eat_after_blanks("||") {
            self.skip_blanks();
            filters.push(self.and()?);
        }
        Some(one_or(filters, Filter::Or))
    }

    fn and(&mut self) -> Option<Filter> {
        let mut filters = vec![self.basic()?];
        while self.eat_after_blanks("&&") {
            self.skip_blanks();
            filters.push(self.basic()?);
        }
        Some(one_or(filters, Filter::And))
    }

    fn basic(&mut self) -> Option<Filter> {
        if self.eat("!") {
            self.skip_blanks();
            let tested = match self.parenthesised() {
                Some(filter) => filter?,
                None => self.test()?,
            };
            return Some(Filter::Not(Box::new(tested)));
        }
        match self.parenthesised() {
            Some(filter) => filter,
            None => self.test_or_comparison(),
        }
    }

    /// `None` where there is no parenthesis, `Some(None)` where what is in it is not well-formed.
    #[expect(
        clippy::option_option,
        reason = "nothing there, and something wrong there, differ"
    )]
    fn parenthesised(&mut self) -> Option<Option<Filter>> {
        self.eat("(").then(|| {
            self.skip_blanks();
            let filter = self.nested(Self::or)?;
            self.eat_after_blanks(")").then_some(filter)
        })
    }

    /// An existence or a text test.
    fn test(&mut self) -> Option<Filter> {
        match self.text_test() {
            Some(test) => test.map(Filter::Test),
            None => self.source().map(Filter::Exists),
        }
    }

    fn test_or_comparison(&mut self) -> Option<Filter> {
        if let Some(test) = self.text_test() {
            return test.map(Filter::Test);
        }
        if self.rest.starts_with(['@', '$']) {
            let source = self.source()?;
            return match self.comparison() {
                None => Some(Filter::Exists(source)),
                Some(comparison) => {
                    let left = source.is_singular().then_some(Operand::Singular(source))?;
                    Some(Filter::Compare(left, comparison, self.operand()?))
                }
            };
        }
        let left = self.operand()?;
        let comparison = self.comparison()?;
        Some(Filter::Compare(left, comparison, self.operand()?))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        self.skip_blanks();
        let comparison = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ]
        .into_iter()
        .find(|(token, _)| self.eat(token))
        .map(|(_, comparison)| comparison)?;
        self.skip_blanks();
        Some(comparison)
    }

    #[expect(
        clippy::option_option,
        reason = "nothing there, and something wrong there, differ"
    )]
    fn text_test(&mut self) -> Option<Option<TextTest>> {
        let whole = self.eat("match(");
        (whole || self.eat("search(")).then(|| {
            let text = self.argument()?;
            self.eat_after_blanks(",").then_some(())?;
            let pattern = self.argument()?;
            self.eat_after_blanks(")").then_some(TextTest {
                whole,
                text,
                pattern,
            })
        })
    }

    fn argument(&mut self) -> Option<Operand> {
        self.skip_blanks();
        self.nested(Self::operand)
    }

    fn source(&mut self) -> Option<Source> {
        let from_root = self.eat("$");
        (from_root || self.eat("@")).then_some(())?;
        let segments = self.nested(Self::segments)?;
        Some(Source {
            from_root,
            query: Query { segments },
        })
    }

    fn operand(&mut self) -> Option<Operand> {
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.eat(word) {
                return Some(Operand::Literal(value));
            }
        }
        if self.eat("length(") {
            let of = self.argument()?;
            return self
                .eat_after_blanks(")")
                .then(|| Operand::Length(Box::new(of)));
        }
        let is_count = self.eat("count(");
        if is_count || self.eat("value(") {
            self.skip_blanks();
            let source = self.source()?;
            let operand = if is_count {
                Operand::Count
            } else {
                Operand::Value
            };
            return self.eat_after_blanks(")").then(|| operand(source));
        }
        match self.rest.chars().next()? {
            '\'' | '"' => self.quoted().map(|text| Operand::Literal(text.into())),
            '@' | '$' => {
                let source = self.source()?;
                source.is_singular().then_some(Operand::Singular(source))
            }
            _ => self.number().map(|number| Operand::Literal(number.into())),
        }
    }

    /// A JSON number; `-0` is one too.
    fn number(&mut self) -> Option<Number> {
        let text =
            self.take_while(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
        serde_json::from_str(text).ok()
    }
}

fn one_or(mut filters: Vec<Filter>, more: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match filters.pop() {
        Some(only) if filters.is_empty() => only,
        last => {
            filters.extend(last);
            more(filters)
        }
    }
}
