//! What a command has done, object by object: told to people as it happens, to programs as one array.

use kube::Resource;
use serde::Serialize;

use super::failure::Failure;
use super::output::{self, Format};
use super::queue::Entry;

/// How it is told what was done.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct ReportArgs {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    /// A namespace belongs to a Tenant from now on.
    Adopted,
    /// The places of a job are decided.
    Admitted,
    /// The API server has it as its file says.
    Applied,
    /// Deleted; its pods end.
    Cancelled,
    /// All pods of a job are done.
    Complete,
    /// A node takes no new work.
    Cordoned,
    /// Deleted.
    Deleted,
    /// A node is free of queued jobs.
    Drained,
    /// A pod leaves its node.
    Evicted,
    /// A job has ended badly.
    Failed,
    /// Its user holds a job back.
    Held,
    /// It stays as it is.
    Kept,
    /// A job stands in the queue by another class.
    Reprioritised,
    /// A job was stopped, and waits anew.
    Requeued,
    /// A job on hold waits for its turn.
    Resumed,
    /// All pods of a job run.
    Running,
    /// It is to be deleted, once the command has said all that it would do.
    ToBeDeleted,
    /// There was nothing to do.
    Unchanged,
    /// Pods would leave their node, were this no trial.
    WouldBeEvicted,
    /// A job would wait anew, were this no trial.
    WouldBeRequeued,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    /// The version of its API, such as `batch/v1`.
    pub(super) api_version: String,
    /// Its kind, such as `Job`.
    pub(super) kind: String,
    /// Absent where its kind belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// Its name.
    pub(super) name: String,
}

/// Something that was done.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    object: Object,
    outcome: Outcome,
    /// The same for people.
    message: String,
}

/// All that was done so far.
#[derive(Debug)]
pub(super) struct Report {
    form: Format,
    done: Vec<Done>,
}

impl Object {
    /// What an entry of the queue stands for.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            api_version: entry.api_version.clone(),
            kind: entry.kind.clone(),
            namespace: Some(entry.namespace.clone()),
            name: entry.name.clone(),
        }
    }

    /// An object of this kind.
    pub(super) fn named<K: Resource<DynamicType = ()>>(
        namespace: Option<&str>,
        name: &str,
    ) -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// As kubectl takes it.
    fn resource_name(&self) -> String {
        resource_name(&self.api_version, &self.kind, &self.name)
    }
}

/// `job.batch/NAME` of any object, as kubectl prints it.
pub(super) fn resource_name(api_version: &str, kind: &str, name: &str) -> String {
    let kind = kind.to_lowercase();
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

impl Report {
    /// Of a command that begins.
    pub(super) fn new(args: ReportArgs) -> Self {
        Self {
            form: args.output,
            done: Vec::new(),
        }
    }

    /// Takes down what was done, and tells whoever reads along.
    pub(super) fn tell(
        &mut self,
        object: Object,
        outcome: Outcome,
        message: String,
    ) -> Result<(), Failure> {
        let done = Done {
            object,
            outcome,
            message,
        };
        let line = self.line(&done);
        self.done.push(done);
        line.map_or(Ok(()), |line| output::print(&(line + "\n")))
    }

    /// Takes down what became of an object where the command's error tells people.
    pub(super) fn note(&mut self, object: Object, outcome: Outcome, message: String) {
        self.done.push(Done {
            object,
            outcome,
            message,
        });
    }

    /// What is printed at once. Names are told once, whatever happens to an object after that.
    fn line(&self, done: &Done) -> Option<String> {
        let is_known = || self.done.iter().any(|known| known.object == done.object);
        match self.form {
            Format::Table | Format::Wide => Some(done.message.clone()),
            Format::Name if is_known() => None,
            Format::Name => Some(done.object.resource_name()),
            Format::Json | Format::Yaml => None,
        }
    }

    /// Prints what is printed at the end, also of a command that has failed on its way.
    pub(super) fn end(self, ended: Result<(), Failure>) -> Result<(), Failure> {
        let printed = match self.form {
            Format::Json | Format::Yaml => output::serialised(self.form, &self.done),
            Format::Table | Format::Wide | Format::Name => Ok(()),
        };
        ended.and(printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::queue::tests::entry;
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;

    fn done(object: Object, outcome: Outcome, message: &str) -> Done {
        Done {
            object,
            outcome,
            message: message.to_owned(),
        }
    }

    fn report(form: Format) -> Report {
        let cordoned = done(node(), Outcome::Cordoned, "node a takes no new work");
        Report {
            form,
            done: vec![cordoned],
        }
    }

    fn node() -> Object {
        Object::named::<Node>(None, "a")
    }

    #[test]
    fn people_read_every_sentence_and_kubectl_each_name_once() {
        let job = Object::of(&entry("train", 0, json!({})));
        let requeued = done(job, Outcome::Requeued, "lab/train queues again");
        let drained = done(node(), Outcome::Drained, "node a is free of queued jobs");
        let lines = |form| {
            let report = report(form);
            [report.line(&requeued), report.line(&drained)]
        };
        let sentences = [&requeued, &drained].map(|done| Some(done.message.clone()));
        assert_eq!(lines(Format::Table), sentences);
        assert_eq!(lines(Format::Wide), sentences);
        let names = [Some("job.batch/train".to_owned()), None];
        assert_eq!(lines(Format::Name), names);
        assert_eq!(lines(Format::Json), [None, None]);
        assert_eq!(node().resource_name(), "node/a");
    }

    #[test]
    fn programs_read_which_object_and_what_became_of_it() {
        let told = serde_json::to_value(report(Format::Json).done).unwrap();
        let cordoned = json!({
            "apiVersion": "v1", "kind": "Node", "name": "a",
            "outcome": "Cordoned", "message": "node a takes no new work",
        });
        assert_eq!(told, json!([cordoned]));
    }

    #[test]
    fn a_command_that_fails_fails_whatever_it_has_reported() {
        let ended = report(Format::Name).end(Err(Failure::new("lost")));
        assert_eq!(ended.unwrap_err().what(), "lost");
        report(Format::Name).end(Ok(())).unwrap();
    }
}
