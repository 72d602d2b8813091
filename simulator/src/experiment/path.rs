//! Paths to the fields of a scenario: `pools.h100.count`, `tenants.red.weight`, `workload[0].jobs`.

use std::fmt;
use std::str::FromStr;

use super::tree::Node;
use crate::problem::suggest;

/// Names of fields from the outermost to the one that is meant. An item of a list goes by its
/// `name`, or by its place, from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<String>);

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Astray {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

impl FromStr for Path {
    type Err = String;

    /// `workload[0].jobs` and `workload.0.jobs` are the same.
    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text
            .replace('[', ".")
            .replace(']', "")
            .split('.')
            .map(str::to_owned)
            .collect();
        match names.iter().any(String::is_empty) {
            true => Err("write names with a dot between, such as pools.h100.count".to_owned()),
            false => Ok(Self(names)),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl Path {
    /// What stands there, if anything does.
    ///
    /// # Errors
    /// When a name on the way is not there.
    pub fn get<'t>(&self, tree: &'t Node) -> Result<Option<&'t Node>, Astray> {
        let mut node = tree;
        for (depth, name) in self.0.iter().enumerate() {
            match self.step(node, depth, name)? {
                Step::Field(index) => node = child(node, index),
                Step::New => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Puts a single value there, over whatever stands there. Only the last name may be new.
    ///
    /// # Errors
    /// When another name is not there.
    pub fn set(&self, tree: &mut Node, value: &str) -> Result<(), Astray> {
        let mut node = tree;
        for (depth, name) in self.0.iter().enumerate() {
            let index = match self.step(node, depth, name)? {
                Step::Field(index) => index,
                Step::New => add(node, name),
            };
            node = child_mut(node, index);
        }
        *node = Node::scalar(value);
        Ok(())
    }

    /// Where `name` is in `node`, `depth` names after the outermost.
    fn step(&self, node: &Node, depth: usize, name: &str) -> Result<Step, Astray> {
        let is_last = depth + 1 == self.0.len();
        let field = |index: Option<usize>, known: Vec<&str>| match index {
            Some(index) => Ok(Step::Field(index)),
            None if is_last => Ok(Step::New),
            None => Err(self.unknown(depth, name, known)),
        };
        match node {
            Node::Map(fields) => field(
                fields.iter().position(|(known, _)| known == name),
                fields.iter().map(|(known, _)| known.as_str()).collect(),
            ),
            nothing if nothing.is_nothing() => field(None, Vec::new()),
            Node::List(items) => self.item(items, depth, name).map(Step::Field),
            Node::Plain(_) | Node::Text(_) => Err(Astray {
                what: format!(
                    "`{}` is a single value, with nothing below it",
                    self.upto(depth)
                ),
                remedy: format!("set {} itself", self.upto(depth)),
            }),
        }
    }

    fn item(&self, items: &[Node], depth: usize, name: &str) -> Result<usize, Astray> {
        let names: Vec<&str> = items.iter().filter_map(name_of).collect();
        let called = |item: &Node| name_of(item) == Some(name);
        let place = name.parse().ok().filter(|place| *place < items.len());
        match names.iter().filter(|known| **known == name).count() {
            0 if names.is_empty() => place.ok_or_else(|| self.no_place(items.len(), depth, name)),
            0 => place.ok_or_else(|| self.unknown(depth, name, names)),
            1 => Ok(items.iter().position(called).unwrap_or_default()),
            several => Err(Astray {
                what: format!(
                    "{several} items of `{}` are called `{name}`",
                    self.upto(depth)
                ),
                remedy: format!("name one by its place, such as {}.0", self.upto(depth)),
            }),
        }
    }

    fn unknown(&self, depth: usize, name: &str, known: Vec<&str>) -> Astray {
        let place = match depth {
            0 => "the scenario".to_owned(),
            _ => format!("`{}`", self.upto(depth)),
        };
        Astray {
            what: format!("there is no `{name}` in {place}"),
            remedy: suggest(name, known),
        }
    }

    fn no_place(&self, length: usize, depth: usize, name: &str) -> Astray {
        Astray {
            what: format!("`{name}` is no item of `{}`", self.upto(depth)),
            remedy: match length {
                0 => "the list is empty; name the field above it".to_owned(),
                _ => format!("write a place from 0 to {}", length - 1),
            },
        }
    }

    /// The names before the one at `depth`.
    fn upto(&self, depth: usize) -> String {
        self.0[..depth].join(".")
    }
}

enum Step {
    Field(usize),
    /// It is not there, and may be put there.
    New,
}

fn name_of(item: &Node) -> Option<&str> {
    let Node::Map(fields) = item else { return None };
    let (_, name) = fields.iter().find(|(field, _)| field == "name")?;
    name.as_scalar()
}

fn child(node: &Node, index: usize) -> &Node {
    match node {
        Node::Map(fields) => &fields[index].1,
        Node::List(items) => &items[index],
        Node::Plain(_) | Node::Text(_) => unreachable!("a step leads into a list or fields"),
    }
}

fn child_mut(node: &mut Node, index: usize) -> &mut Node {
    match node {
        Node::Map(fields) => &mut fields[index].1,
        Node::List(items) => &mut items[index],
        Node::Plain(_) | Node::Text(_) => unreachable!("a step leads into a list or fields"),
    }
}

/// Adds an empty field, and tells its place.
fn add(node: &mut Node, name: &str) -> usize {
    if !matches!(node, Node::Map(_)) {
        *node = Node::Map(Vec::new());
    }
    if let Node::Map(fields) = node {
        fields.push((name.to_owned(), Node::Plain(String::new())));
        return fields.len() - 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
pools: {h100: {count: 4}, a100: {count: 2}}
tenants: [{name: red, weight: 1}, {name: blue, guaranteed: }, {name: 0}]
workload: [{tenant: red, name: train}, {tenant: blue, name: train}]
policy: {orders: [fifo, drf]}
";

    fn set(path: &str, value: &str) -> Result<String, Astray> {
        let mut tree = Node::read("s.yaml", TEXT).unwrap();
        path.parse::<Path>().unwrap().set(&mut tree, value)?;
        Ok(tree.to_string())
    }

    fn told(path: &str) -> (String, String) {
        let astray = set(path, "1").unwrap_err();
        (astray.what, astray.remedy)
    }

    #[test]
    fn fields_are_found_by_name_and_by_place() {
        assert!(
            set("pools.h100.count", "1.50")
                .unwrap()
                .contains("h100: {count: 1.50}")
        );
        let weighted = "{name: \"red\", weight: \"1/2\"}".replace("\"1/2\"", "1/2");
        assert!(
            set("tenants.red.weight", "1/2")
                .unwrap()
                .contains(&weighted)
        );
        assert_eq!(
            set("tenants[1].weight", "2"),
            set("tenants.blue.weight", "2")
        );
        // A name comes before a place.
        assert!(
            set("tenants.0.weight", "9")
                .unwrap()
                .contains("{name: 0, weight: 9}")
        );
        assert!(
            set("workload.1.name", "eval")
                .unwrap()
                .contains("name: \"train\"}, {tenant: \"blue\", name: eval}")
        );
    }

    #[test]
    fn a_last_name_may_be_new() {
        assert!(
            set("tenants.blue.weight", "2")
                .unwrap()
                .contains("guaranteed: , weight: 2}")
        );
        assert!(
            set("tenants.blue.guaranteed.gpu", "2")
                .unwrap()
                .contains("guaranteed: {gpu: 2}")
        );
        assert!(
            set("until", "1h 30m")
                .unwrap()
                .ends_with("until: \"1h 30m\"}")
        );
    }

    #[test]
    fn a_path_that_leads_nowhere_is_told_with_the_nearest_name() {
        assert_eq!(
            told("pools.h10.count"),
            (
                "there is no `h10` in `pools`".to_owned(),
                "did you mean `h100`?".to_owned()
            )
        );
        assert_eq!(
            told("pool.h100.count"),
            (
                "there is no `pool` in the scenario".to_owned(),
                "did you mean `pools`?".to_owned()
            )
        );
        assert_eq!(told("tenants.rad.weight").1, "did you mean `red`?");
        assert_eq!(told("tenants.green").1, "write one of red, blue, 0");
        assert_eq!(
            told("pools.h100.count.max").1,
            "set pools.h100.count itself"
        );
        assert_eq!(
            told("workload.train.jobs"),
            (
                "2 items of `workload` are called `train`".to_owned(),
                "name one by its place, such as workload.0".to_owned()
            )
        );
        assert_eq!(told("policy.orders.2").1, "write a place from 0 to 1");
        assert!("pools..count".parse::<Path>().is_err());
    }

    #[test]
    fn what_stands_there_can_be_read() {
        let tree = Node::read("s.yaml", TEXT).unwrap();
        let get = |path: &str| {
            let found = path.parse::<Path>().unwrap().get(&tree);
            found.map(|node| node.and_then(Node::as_scalar).map(str::to_owned))
        };
        assert_eq!(get("pools.a100.count"), Ok(Some("2".to_owned())));
        assert_eq!(get("pools.a100.gpus"), Ok(None));
        assert!(get("pools.b100.count").is_err());
    }
}
