//! Plays golden scripts, and compares the outcome with what they expect.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::problem::Problem;
use crate::script::{DIVIDER, Script, Step, unmarked};
use crate::world::{Change, Record, World};
use prorata_core::{Event, Node, Policy};

/// Plays a script and gives its outcome: a line for each decision and each new reason to wait,
/// in the order in which they came. `file` is only for the messages.
///
/// # Errors
/// A [`Problem`] for the first line that cannot be: a job that does not run cannot finish.
///
/// # Panics
/// When the core breaks one of its own invariants.
pub fn play(file: &str, script: &Script) -> Result<String, Problem> {
    let mut player = Player::new(script.policy.clone());
    let mut outcome = String::new();
    for (line, step) in &script.steps {
        outcome += &player.step(file, *line, step)?;
    }
    Ok(outcome)
}

/// A script that is played line by line.
#[derive(Debug)]
pub struct Player {
    world: World,
    /// Nodes that offer less than before, and may hold more than that for a while.
    shrunk: BTreeSet<String>,
}

impl Player {
    /// Nothing has been played yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            world: World::new(policy),
            shrunk: BTreeSet::new(),
        }
    }

    /// Plays one line and gives its outcome. `file` and `line` are only for the messages.
    ///
    /// # Errors
    /// When the line cannot be.
    ///
    /// # Panics
    /// When the core breaks one of its own invariants.
    pub fn step(&mut self, file: &str, line: usize, step: &Step) -> Result<String, Problem> {
        self.note_shrunk(step);
        let records = perform(&mut self.world, step).map_err(|p| p.place(file, line))?;
        let mut outcome = String::new();
        records.iter().for_each(|record| tell(&mut outcome, record));
        let mut violations = self.world.snapshot().violations();
        violations.retain(|violation| !self.shrunk.contains(&violation.subject));
        assert!(violations.is_empty(), "{file}:{line}: {violations:?}");
        Ok(outcome)
    }

    fn note_shrunk(&mut self, step: &Step) {
        let snapshot = self.world.snapshot();
        let is_known = |node: &&Node| snapshot.unused(&node.id).is_some();
        match step {
            Step::Nodes(nodes) => {
                let again = nodes.iter().filter(is_known);
                self.shrunk.extend(again.map(|node| node.id.to_string()));
            }
            Step::Device(node, _, false) => drop(self.shrunk.insert(node.to_string())),
            Step::Pod(Event::PodBound(_, node, ..)) => drop(self.shrunk.insert(node.to_string())),
            _ => {}
        }
    }
}

/// The script with `outcome` as what it expects.
#[must_use]
pub fn bless(text: &str, outcome: &str) -> String {
    let facts = unmarked(text)
        .lines()
        .take_while(|line| line.trim() != DIVIDER);
    let mut blessed: String = facts.flat_map(|line| [line.trim_end(), "\n"]).collect();
    let _ = write!(blessed, "{DIVIDER}\n{outcome}");
    blessed
}

/// The lines that differ, as a person reads them: `-` expected, `+` what came instead.
#[must_use]
pub fn difference(expected: &str, outcome: &str) -> String {
    similar::TextDiff::from_lines(expected, outcome)
        .unified_diff()
        .header("expected", "outcome")
        .to_string()
}

/// A step that the world does not allow.
struct Impossible {
    verb: &'static str,
    what: String,
    remedy: &'static str,
}

impl Impossible {
    fn place(self, file: &str, line: usize) -> Problem {
        Problem::new(file, self.verb, self.what, self.remedy).at_line(line)
    }
}

fn perform(world: &mut World, step: &Step) -> Result<Vec<Record>, Impossible> {
    match step {
        Step::Grace(grace) => world.set_grace(*grace),
        Step::Nodes(nodes) => nodes.iter().for_each(|node| {
            world.observe(Event::NodeSeen(node.clone()));
        }),
        Step::Device(node, index, works) => {
            world.observe(Event::DeviceHealth(node.clone(), *index, *works));
        }
        Step::Pod(event) => world.observe(event.clone()),
        Step::Tenants(tenants) => tenants.iter().for_each(|tenant| {
            world.observe(Event::TenantChanged(tenant.clone()));
        }),
        Step::Submit(work) => world.submit(work.clone()),
        Step::Withdraw(job) => world.withdraw(job),
        Step::Hold(job, held) => world.hold(job, *held),
        Step::At(time) => return Ok(world.advance(*time)),
        Step::Finish(job) => {
            world.finish(job).ok_or_else(|| Impossible {
                verb: "finish",
                what: format!("{job} does not run at {}", world.now()),
                remedy: "finish a job after the `at` in which it was admitted, and once",
            })?;
        }
        Step::Fail(job) => {
            if !world.fail(job) {
                return Err(Impossible {
                    verb: "fail",
                    what: format!("{job} was not admitted at {}", world.now()),
                    remedy: "let an admission fail right after the `at` that gave it",
                });
            }
        }
    }
    Ok(Vec::new())
}

fn tell(outcome: &mut String, record: &Record) {
    let Record { time, job, what } = record;
    // Writing to a string cannot fail.
    let _ = match what {
        Change::Admitted(placement) => writeln!(outcome, "{time} admit {job} on {placement}"),
        Change::Evicted(preemptor, rule) => {
            writeln!(outcome, "{time} evict {job} for {preemptor} by {rule}")
        }
        Change::Waiting(reason) => writeln!(outcome, "{time} wait {job} {reason}"),
        Change::Failed(_) | Change::Finished | Change::Left(_) => Ok(()),
    };
}
