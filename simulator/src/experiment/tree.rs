//! A YAML file as a tree that can be changed and written again. Numbers stay as they were
//! written, so that nothing is rounded on the way; comments are lost, aliases are written out.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use crate::problem::Problem;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A number, a truth value or nothing, as it was written.
    Plain(String),
    /// Text.
    Text(String),
    /// Items.
    List(Vec<Node>),
    /// Fields, in the order in which they were written.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not well-formed.
    pub fn read(file: &str, text: &str) -> Result<Self, Problem> {
        let read: Spanned<Read> =
            serde_saphyr::from_str(text).map_err(|error| Problem::of_yaml(file, &error))?;
        Ok(node(read, text))
    }

    /// A single value as somebody wrote it on a command line.
    #[must_use]
    pub fn scalar(text: &str) -> Self {
        match is_plain(text) {
            true => Self::Plain(text.to_owned()),
            false => Self::Text(text.to_owned()),
        }
    }

    /// The value as text, if it is a single one.
    #[must_use]
    pub fn as_scalar(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Text(text) => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

impl fmt::Display for Node {
    /// YAML on a single line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Map(fields) => {
                let key = |key: &str| match is_plain(key) {
                    true => key.to_owned(),
                    false => quoted(key),
                };
                let field = |(name, value): &(String, Self)| format!("{}: {value}", key(name));
                let fields: Vec<String> = fields.iter().map(field).collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
        }
    }
}

/// Whether YAML takes this for a single value without quotes, wherever it stands.
fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes().skip_while(|b| matches!(b, b'-' | b'+' | b'.'));
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b'_' | b'/');
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(inside)
}

/// In quotes, as JSON has them and YAML understands them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The tree as it is read: values that YAML would convert are taken from the file's own text.
enum Read {
    Text(String),
    /// A number, a truth value or nothing.
    Converted,
    List(Vec<Spanned<Read>>),
    Map(Vec<(String, Spanned<Read>)>),
}

fn node(read: Spanned<Read>, source: &str) -> Node {
    match read.value {
        Read::Text(text) => Node::Text(text),
        Read::Converted => Node::Plain(written(&read.defined, source).to_owned()),
        Read::List(items) => Node::List(items.into_iter().map(|i| node(i, source)).collect()),
        Read::Map(fields) => {
            let field = |(name, value)| (name, node(value, source));
            Node::Map(fields.into_iter().map(field).collect())
        }
    }
}

fn written<'a>(at: &serde_saphyr::Location, source: &'a str) -> &'a str {
    let number = |n: u64| usize::try_from(n).ok();
    let span = at.span();
    let from = span.byte_offset().and_then(number);
    let length = span.byte_len().and_then(number);
    let range = from.zip(length).map(|(from, length)| from..from + length);
    range.and_then(|range| source.get(range)).unwrap_or("")
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadVisitor)
    }
}

struct ReadVisitor;

impl<'de> de::Visitor<'de> for ReadVisitor {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or fields")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Read, E> {
        Ok(Read::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Read, E> {
        Ok(Read::Converted)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Read, E> {
        Ok(Read::Converted)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Read, E> {
        Ok(Read::Converted)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Read, E> {
        Ok(Read::Converted)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Read, E> {
        Ok(Read::Converted)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Read::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut fields: A) -> Result<Read, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = fields.next_key()? {
            map.push((name, fields.next_value()?));
        }
        Ok(Read::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a: &x 1.50      # a comment
b: *x
ü: 100000000000000000000000
c: 012
d: [0x1F, yes, '5', -0.50, 1_000, ~]
e:
f: &base {p: 1.10, q: 2}
g:
  <<: *base
  q: 3
h: |
  many, {lines}
  of: text
i: {1: 0.50, 'two words': 1/2}
";

    #[test]
    fn numbers_stay_as_they_are_written() {
        let tree = Node::read("s.yaml", TEXT).unwrap();
        let expected = "{a: 1.50, b: 1.50, \"ü\": 100000000000000000000000, c: 012, \
            d: [0x1F, yes, \"5\", -0.50, 1_000, ~], e: , f: {p: 1.10, q: 2}, g: {q: 3, p: 1.10}, \
            h: \"many, {lines}\\nof: text\\n\", i: {1: 0.50, \"two words\": \"1/2\"}}";
        assert_eq!(tree.to_string(), expected);
        assert_eq!(Node::read("s.yaml", expected), Ok(tree));
    }

    #[test]
    fn a_byte_order_mark_shifts_nothing() {
        let plain = Node::read("s.yaml", "a: 123\n").unwrap();
        assert_eq!(Node::read("s.yaml", "\u{feff}a: 123\n"), Ok(plain));
    }

    #[test]
    fn a_broken_file_is_told_with_its_place() {
        let problem = Node::read("s.yaml", "a: [1\nb: 2\n")
            .unwrap_err()
            .to_string();
        assert!(problem.starts_with("error: s.yaml:2"), "{problem}");
    }

    #[test]
    fn what_yaml_would_take_apart_is_quoted() {
        for text in ["", "-", "a: b", "a, b", "{x", "1h 30m", "# no", "...", "ü"] {
            let written = format!("{{a: {}}}", Node::scalar(text));
            let Ok(Node::Map(fields)) = Node::read("s.yaml", &written) else {
                panic!("{written}");
            };
            assert_eq!(fields[0].1.as_scalar(), Some(text));
        }
        assert_eq!(Node::scalar("-1.5e3"), Node::Plain("-1.5e3".to_owned()));
    }
}
