//! YAML files of people, read so that whatever is wrong with them can be pointed at. It knows
//! shapes and places, not what a field means.

use std::fmt::Write as _;
use std::path::Path;

use prorata_simulator::problem::{Problem, suggest};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_saphyr::Location;
use thiserror::Error;

use crate::tree::{Node, Value};

/// Everything that is wrong with the input. A process that meets it exits with 2.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    file: String,
    root: Node,
}

impl Document {
    /// Reads every document of a file; empty ones are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is not YAML.
    pub fn load(path: &Path) -> Result<Vec<Self>, Problems> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy = "name a file that exists and that you may read";
            Problem::new(&file, "file", error.to_string(), remedy)
        })?;
        Self::parse(&file, &text)
    }

    /// Reads every document of a text; empty ones are passed over.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn parse(file: &str, text: &str) -> Result<Vec<Self>, Problems> {
        let roots = serde_saphyr::from_multiple::<Node>(text)
            .map_err(|error| Problem::of_yaml(file, &error))?;
        let documents = roots.into_iter().map(|root| Self {
            file: file.to_owned(),
            root,
        });
        Ok(documents
            .filter(|document| !matches!(document.root.value, Value::Null))
            .collect())
    }

    /// The text of a field, given by its path such as `metadata.name`.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        match &field.split('.').try_fold(&self.root, Node::child)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The document as it is, whatever its fields mean.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.root.to_json()
    }

    /// Where the document begins, as `FILE:LINE`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.root.location.line())
    }

    /// The document as a value of `T`, each of whose fields must be known.
    ///
    /// # Errors
    /// When a field is unknown, missing or of another type.
    pub fn read<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Problems> {
        let mut unknown = Vec::new();
        self.find_unknown(&self.root, &schema::<T>(), "", &mut unknown);
        if !unknown.is_empty() {
            return Err(Problems(unknown));
        }
        serde_path_to_error::deserialize(self.root.to_json())
            .map_err(|error| self.mistyped(error).into())
    }

    /// Something wrong with a field, given by its path such as `spec.limit.gpu`; of one that is
    /// missing the place is that of what it is missing in.
    pub fn problem(
        &self,
        field: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        let mut found = &self.root;
        for name in field.split('.') {
            let Some(inner) = step(found, name) else {
                break;
            };
            found = inner;
        }
        Problem::new(&self.file, field, what, remedy).at_location(found.location)
    }

    fn find_unknown(&self, node: &Node, schema: &Schema, path: &str, found: &mut Vec<Problem>) {
        let known = properties(schema.as_value());
        if known.is_empty() {
            return;
        }
        for (key, child) in node.entries() {
            let field = join(path, &key.value);
            if let Some((_, inner)) = known.iter().find(|(name, _)| *name == key.value) {
                if let Ok(inner) = Schema::try_from((*inner).clone()) {
                    self.find_unknown(child, &inner, &field, found);
                }
                continue;
            }
            let remedy = suggest(&key.value, known.iter().map(|(name, _)| *name));
            let problem = Problem::new(&self.file, &field, "there is no such field here", remedy);
            found.push(problem.at_location(key.referenced));
        }
    }

    fn mistyped(&self, error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
        let (path, location) = self.locate(error.path());
        let text = error.into_inner().to_string();
        let missing = text
            .strip_prefix("missing field `")
            .and_then(|text| text.strip_suffix('`'));
        let problem = match (missing, text.split_once(", expected ")) {
            (Some(field), _) => {
                let remedy = format!("add `{field}:` here");
                Problem::new(&self.file, &join(&path, field), "is missing", remedy)
            }
            (None, Some((what, expected))) if expected.starts_with("struct ") => {
                let remedy = "write its fields below it, one to a line";
                Problem::new(&self.file, &path, what, remedy)
            }
            (None, Some((what, expected))) => {
                let remedy = format!("write {}", whole_number(expected).unwrap_or(expected));
                Problem::new(&self.file, &path, what, remedy)
            }
            (None, None) => Problem::new(&self.file, &path, text.as_str(), "write another value"),
        };
        problem.at_location(location)
    }

    /// The path as text, and the place of the innermost node on it.
    fn locate(&self, path: &serde_path_to_error::Path) -> (String, Location) {
        let (mut node, mut text) = (&self.root, String::new());
        for segment in path {
            let child = match segment {
                Segment::Map { key } => {
                    text = join(&text, key);
                    node.child(key)
                }
                Segment::Seq { index } => {
                    let _ = write!(text, "[{index}]");
                    node.items().get(*index)
                }
                Segment::Enum { .. } | Segment::Unknown => None,
            };
            node = child.unwrap_or(node);
        }
        let text = if text.is_empty() {
            "document".to_owned()
        } else {
            text
        };
        (text, node.location)
    }
}

/// The child of a name such as `spec` or, in a list, `services[0]`.
fn step<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Some((name, index)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
        return node.child(name);
    };
    node.child(name)?.items().get(index.parse::<usize>().ok()?)
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// What is meant by the name of a type.
fn whole_number(name: &str) -> Option<&'static str> {
    match name {
        "u8" => Some("a whole number from 0 to 255"),
        "u16" => Some("a whole number from 0 to 65535"),
        "u32" => Some("a whole number from 0 to 4294967295"),
        "u64" | "usize" => Some("a whole number from 0 up"),
        "i32" | "i64" => Some("a whole number"),
        _ => None,
    }
}

fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

/// The fields that a schema knows, also where it may be null instead.
fn properties(schema: &serde_json::Value) -> Vec<(&str, &serde_json::Value)> {
    let own = schema
        .get("properties")
        .and_then(|fields| fields.as_object());
    if let Some(fields) = own {
        return fields
            .iter()
            .map(|(name, inner)| (name.as_str(), inner))
            .collect();
    }
    let choices = schema.get("anyOf").and_then(|choices| choices.as_array());
    choices.into_iter().flatten().flat_map(properties).collect()
}
