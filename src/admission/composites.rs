//! Objects that operators make Jobs or pods of: they wait by their own suspend field, and what is
//! made of them waits or runs with them.
//!
//! One set of policies for each API group of the table. They may be installed before the kinds are,
//! and without them match nothing.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicy, ValidatingAdmissionPolicy, Validation, Variable,
};

use super::{cel, condition, mutating_policy, requests, validating_policy, validation, variable};
use crate::api::labels::{CREATED_BY, HELD};
use crate::kinds::{COMPOSITES, Composite, Suspend, Templates};

/// The kinds of one API group, which are alike but for where their templates are.
pub(super) struct Family(Vec<&'static Composite>);

impl Family {
    /// All of them, in the order of the table.
    pub(super) fn all() -> Vec<Self> {
        let mut families: Vec<Self> = Vec::new();
        for kind in &COMPOSITES {
            match families.last_mut() {
                Some(family) if family.group() == kind.group() => family.0.push(kind),
                _ => families.push(Self(vec![kind])),
            }
        }
        families
    }

    /// A new object is suspended. One that its user suspended is on hold.
    pub(super) fn queue_new(&self, gpu_resource: &str) -> MutatingAdmissionPolicy {
        let (created_by, held) = (cel::pointer(CREATED_BY), cel::pointer(HELD));
        let patch = format!(
            "{annotations} +\n\
             [JSONPatch{{op: 'add', path: '{created_by}', value: request.userInfo.username}}] +\n\
             ({suspended}\n  \
             ? [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}]\n  \
             : {suspend})",
            annotations = cel::WITH_ANNOTATIONS,
            suspended = self.suspended("object"),
            suspend = self.suspend(),
        );
        mutating_policy(
            &format!("{}-created", self.name()),
            self.requests(&["CREATE"]),
            vec![
                condition("topmost", TOPMOST),
                condition("asks-for-gpus", self.asks(gpu_resource)),
            ],
            patch,
        )
    }

    /// Anybody's `suspend: true` holds an object; anybody's `false` ends the hold, and it waits.
    pub(super) fn queue_again(&self, gpu_resource: &str) -> MutatingAdmissionPolicy {
        let held = cel::pointer(HELD);
        let is_held = format!("'{HELD}' in object.metadata.?annotations.orValue({{}})");
        let patch = format!(
            "{suspended}\n  \
             ? {annotations} + [JSONPatch{{op: 'add', path: '{held}', value: 'true'}}]\n  \
             : {suspend} + ({is_held}\n    \
             ? [JSONPatch{{op: 'remove', path: '{held}'}}]\n    : [])",
            suspended = self.suspended("object"),
            annotations = cel::WITH_ANNOTATIONS,
            suspend = self.suspend(),
        );
        let changes = format!(
            "{} != {}",
            self.suspended("object"),
            self.suspended("oldObject")
        );
        mutating_policy(
            &format!("{}-updated", self.name()),
            self.requests(&["UPDATE"]),
            vec![
                condition("suspend-changes", changes),
                condition(
                    "not-by-the-controller",
                    format!("!({})", cel::by_controller()),
                ),
                condition("topmost", TOPMOST),
                condition("asks-for-gpus", self.asks(gpu_resource)),
            ],
            patch,
        )
    }

    /// The last word on them.
    pub(super) fn guard(&self, gpu_resource: &str) -> ValidatingAdmissionPolicy {
        let concerned = format!(
            "!({}) &&\n({} ||\n{} ||\n{} ||\n{})",
            cel::by_controller(),
            self.asks(gpu_resource),
            cel::claims(),
            cel::has_internal(&cel::annotations("object", "")),
            cel::has_internal(&cel::annotations("oldObject", "")),
        );
        validating_policy(
            &self.name(),
            self.requests(&["CREATE", "UPDATE"]),
            vec![condition(
                "asks-for-gpus-or-claims-an-owner-or-carries-our-annotations",
                concerned,
            )],
            self.variables(gpu_resource),
            validations(),
        )
    }

    fn variables(&self, gpu_resource: &str) -> Vec<Variable> {
        let mut variables = cel::operators();
        variables.extend([
            variable("new", "request.operation == 'CREATE'"),
            variable("gpu", self.asks(gpu_resource)),
            variable(
                "wasGpu",
                format!(
                    "oldObject != null && ({})",
                    self.asks_of("oldObject", gpu_resource)
                ),
            ),
            variable("topmost", TOPMOST),
            variable("suspended", self.suspended("object")),
            variable(
                "wasSuspended",
                format!("oldObject != null && {}", self.suspended("oldObject")),
            ),
            variable("placesChange", self.places_change()),
        ]);
        variables.extend(cel::ownership());
        variables.extend([
            variable("annotations", cel::annotations("object", "")),
            variable("oldAnnotations", cel::annotations("oldObject", "")),
        ]);
        variables
    }

    /// Nobody deletes one without what is its.
    pub(super) fn keep_whole(&self, gpu_resource: &str) -> ValidatingAdmissionPolicy {
        let asks = self.asks_of("oldObject", gpu_resource);
        validating_policy(
            &format!("{}-deleted", self.name()),
            self.requests(&["DELETE"]),
            vec![condition(
                "leaves-behind-what-asks-for-gpus",
                format!("({}) &&\n({asks})", cel::ORPHANS),
            )],
            vec![
                variable("trusted", cel::trusted()),
                variable("wasOperated", cel::by_operator("oldObject")),
            ],
            vec![validation(
                format!(
                    "{} || variables.wasOperated || variables.trusted",
                    cel::by_kubernetes()
                ),
                WHOLE,
            )],
        )
    }

    fn group(&self) -> &'static str {
        self.0.first().map_or("", |kind| kind.group())
    }

    /// `prorata-jobset` for `jobset.x-k8s.io`.
    fn name(&self) -> String {
        let first = self.group().split('.').next().unwrap_or_default();
        format!("prorata-{first}")
    }

    fn requests(&self, operations: &[&str]) -> MatchResources {
        let distinct = |of: fn(&Composite) -> &'static str| {
            let mut all: Vec<&str> = self.0.iter().map(|kind| of(kind)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let versions = distinct(Composite::version);
        let plurals = distinct(|kind| kind.plural);
        requests(self.group(), &versions, &plurals, operations)
    }

    fn field(&self) -> Suspend {
        self.0.first().map_or(Suspend::Spec, |kind| kind.suspend)
    }

    fn suspended(&self, object: &str) -> String {
        match self.field() {
            Suspend::Spec => format!("{object}.spec.?suspend.orValue(false)"),
            Suspend::RunPolicy => format!("{object}.spec.?runPolicy.?suspend.orValue(false)"),
        }
    }

    /// The patches that suspend one.
    fn suspend(&self) -> &'static str {
        match self.field() {
            Suspend::Spec => "[JSONPatch{op: 'add', path: '/spec/suspend', value: true}]",
            Suspend::RunPolicy => {
                "((has(object.spec.runPolicy) ? [] : [JSONPatch{op: 'add', path: '/spec/runPolicy', value: {}}]) +\n    \
                 [JSONPatch{op: 'add', path: '/spec/runPolicy/suspend', value: true}])"
            }
        }
    }

    /// Whether a pod of it asks for GPUs. Of one that does not say, nobody knows before the queue.
    fn asks(&self, gpu_resource: &str) -> String {
        self.asks_of("object", gpu_resource)
    }

    fn asks_of(&self, object: &str, gpu_resource: &str) -> String {
        let mut maps = Vec::new();
        for kind in &self.0 {
            match kind.templates {
                Templates::Made => return "true".to_owned(),
                Templates::Jobs(field) => {
                    let asks =
                        cel::may_ask_for_gpus("j.?template.?spec.?template.?spec", gpu_resource);
                    return format!("{object}.spec.?{field}.orValue([]).exists(j, {asks})");
                }
                Templates::Replicas(field) => {
                    let map = format!("{object}.spec.?{field}.orValue({{}})");
                    if !maps.contains(&map) {
                        maps.push(map);
                    }
                }
            }
        }
        let asks = cel::may_ask_for_gpus("m[r].?template.?spec", gpu_resource);
        format!("[{}].exists(m,\n  m.exists(r, {asks}))", maps.join(", "))
    }

    /// Whether what it consists of is another than before.
    fn places_change(&self) -> String {
        let mut changes = vec!["false".to_owned()];
        for kind in &self.0 {
            if let Templates::Jobs(field) | Templates::Replicas(field) = kind.templates {
                let change = format!("object.spec.?{field} != oldObject.spec.?{field}");
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
        }
        format!("oldObject != null &&\n  ({})", changes.join(" || "))
    }
}

/// A chain of owners is held at its top.
const TOPMOST: &str =
    "!object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false))";

fn validations() -> Vec<Validation> {
    // What the policies above write, a user may write as well: it means no more than `suspend`.
    let queued = "variables.topmost && variables.gpu";
    let may_drop = format!("(k == '{HELD}' && {queued} && variables.suspended)");
    let may_set = format!(
        "\n  (k == '{HELD}' && {queued} && variables.suspended && variables.annotations[k] == 'true') ||\n  \
         (k == '{CREATED_BY}' && {queued} && variables.new && variables.annotations[k] == request.userInfo.username)"
    );
    let (new, old) = ("variables.annotations", "variables.oldAnnotations");
    let own = cel::same_internal(new, old, &may_set, &may_drop);
    vec![
        validation(
            "!variables.gpu || variables.suspended || (!variables.new && !variables.wasSuspended) || variables.operated || variables.trusted",
            "GPUs here are given out by a queue, and only the queue starts what asks for them: create it suspended (an \
             operator that does not know the suspend field of this kind cannot be queued, nor what another controller \
             made)",
        ),
        validation(
            "!variables.gpu || variables.suspended || variables.wasSuspended || !variables.placesChange || variables.operated || variables.trusted",
            "the places of what has started are decided: to change its templates or their replicas, suspend it first; \
             released again, it waits for new places",
        ),
        owned_by_whom(),
        cel::no_finalizer_but("f == 'foregroundDeletion'", BY_ITS_OPERATOR),
        validation(
            format!("({own}) ||\nvariables.trusted"),
            "annotations internal.prorata.dev/* are Prorata's own: keep those that the object has as they are, and add none",
        ),
    ]
}

/// Whether the operator of such objects asks: users may not update their status.
const BY_ITS_OPERATOR: &str = "authorizer.group(request.resource.group).resource(request.resource.resource)\n  \
    .subresource('status').namespace(request.namespace).check('update').allowed()";

/// What runs on without its whole would stay when that has to leave.
pub(super) const WHOLE: &str = "what has GPUs makes room for others as a whole: delete it with what is its (`--cascade=background` \
    or `foreground`)";

/// Whoever could say that an object is a part of another would get its places: also suspended, for
/// the operator would start it with the rest. And what a part asks for, GPUs or none, is what the
/// whole is taken to ask for, and the whole waits for its parts to end.
pub(super) fn owned_by_whom() -> Validation {
    let by_itself = cel::by_kubernetes();
    validation(
        format!(
            "(variables.claimed\n  \
         ? !variables.new && (variables.owners == variables.oldOwners || {by_itself})\n  \
         : !variables.gpu || variables.new || variables.controllers == variables.oldControllers ||\n  \
         size(variables.controllers) == 0 && (!variables.wasClaimed || variables.wasOperated || {by_itself})) ||\n\
         variables.operated || variables.trusted"
        ),
        "only the operator of a controller gives it its parts: leave ownerReferences as they are",
    )
}
