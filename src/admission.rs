//! The admission policies: what the API server itself does to Jobs and pods that ask for GPUs in
//! a tenant's namespace. Nothing of ours runs when one is created, so nothing of ours can be down.
//!
//! A mutating policy makes a request wait in the queue; the validating ones have the last word,
//! because another policy or webhook may change an object after ours. Neither sees a namespace
//! without tenant. Of objects that neither ask for GPUs nor carry our annotations, only what would
//! reach other tenants all the same is looked at.

mod cel;
mod composites;
mod gpunodes;
mod isolation;
mod jobs;
mod pods;
mod pools;
mod queuedjobs;
mod sharing;
mod tenancy;

use k8s_openapi::api::admissionregistration::v1::{
    JSONPatch, MatchCondition, MatchResources, MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec,
    MutatingAdmissionPolicySpec, Mutation, NamedRuleWithOperations, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::labels;
use composites::Family;
pub(crate) use jobs::QUEUED;

/// The policies that change requests.
#[must_use]
pub fn mutating(gpu_resource: &str) -> Vec<MutatingAdmissionPolicy> {
    let mut policies = vec![
        jobs::queue_new(gpu_resource),
        jobs::queue_again(gpu_resource),
        pods::queue_new(gpu_resource),
        sharing::cap(gpu_resource),
        tenancy::stamp(),
        pools::send(),
    ];
    for family in Family::all() {
        policies.push(family.queue_new(gpu_resource));
        policies.push(family.queue_again(gpu_resource));
    }
    policies
}

/// The policies that refuse requests.
#[must_use]
pub fn validating(gpu_resource: &str) -> Vec<ValidatingAdmissionPolicy> {
    let mut policies = vec![
        jobs::guard(gpu_resource),
        jobs::keep_with_whole(gpu_resource),
        pods::guard(gpu_resource),
        isolation::jobs(gpu_resource),
        isolation::pods(gpu_resource),
        isolation::deletions(),
        isolation::deletes(gpu_resource),
        isolation::priorities(),
        queuedjobs::guard(),
        gpunodes::guard(),
        gpunodes::confine_nodes(),
        tenancy::confine(),
        tenancy::own_jobs(),
        tenancy::hardened(),
        tenancy::volumes(),
        pools::hold(),
        pools::close(),
        pools::claim(),
    ];
    let families = Family::all();
    policies.extend(families.iter().map(|family| family.guard(gpu_resource)));
    policies.extend(
        families
            .iter()
            .map(|family| family.keep_whole(gpu_resource)),
    );
    policies
}

/// Puts a mutating policy in force, in the namespaces of tenants.
#[must_use]
pub fn bind_mutating(policy: &MutatingAdmissionPolicy) -> MutatingAdmissionPolicyBinding {
    MutatingAdmissionPolicyBinding {
        metadata: policy.metadata.clone(),
        spec: Some(MutatingAdmissionPolicyBindingSpec {
            policy_name: policy.metadata.name.clone(),
            match_resources: Some(in_namespaces_with(label_of(
                policy.metadata.name.as_deref(),
            ))),
            ..Default::default()
        }),
    }
}

/// Puts a validating policy in force: in the namespaces of tenants, but for our own objects, which
/// it guards wherever they are.
#[must_use]
pub fn bind_validating(policy: &ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicyBinding {
    let name = policy.metadata.name.as_deref();
    let everywhere = [
        queuedjobs::NAME,
        isolation::DELETES,
        gpunodes::NAME,
        gpunodes::NODES,
        tenancy::CONFINED,
        pools::CLAIMED,
    ];
    let everywhere = everywhere.map(Some).contains(&name);
    // Where an administrator has removed what is looked up, the queue alone heeds it.
    let by_name = |told: &str| ParamRef {
        name: Some(told.to_owned()),
        namespace: Some(labels::NAMESPACE.to_owned()),
        parameter_not_found_action: Some("Allow".to_owned()),
        ..Default::default()
    };
    let param_ref = match name {
        Some(isolation::PRIORITIES) => Some(by_name(labels::CLASSES)),
        Some(pools::CLOSED) => Some(by_name(labels::POOLS)),
        Some(pools::CLAIMED) => Some(of_teams()),
        _ => None,
    };
    ValidatingAdmissionPolicyBinding {
        metadata: policy.metadata.clone(),
        spec: ValidatingAdmissionPolicyBindingSpec {
            policy_name: policy.metadata.name.clone().unwrap_or_default(),
            param_ref,
            match_resources: (!everywhere).then(|| in_namespaces_with(label_of(name))),
            validation_actions: vec!["Deny".to_owned()],
        },
    }
}

/// Every Tenant that is no environment: those have the pools of their own.
fn of_teams() -> ParamRef {
    let teams = LabelSelectorRequirement {
        key: labels::TEAM.to_owned(),
        operator: "DoesNotExist".to_owned(),
        values: None,
    };
    ParamRef {
        selector: Some(LabelSelector {
            match_expressions: Some(vec![teams]),
            ..Default::default()
        }),
        parameter_not_found_action: Some("Allow".to_owned()),
        ..Default::default()
    }
}

/// The label of the namespaces in which a policy is in force: those of tenants, only those that the
/// controller keeps for one, or only those with nodes of their own.
fn label_of(policy: Option<&str>) -> &'static str {
    if [pools::SENT, pools::HELD].map(Some).contains(&policy) {
        return labels::NODE_POOL;
    }
    let kept = [
        tenancy::STAMPED,
        tenancy::OWN_JOBS,
        tenancy::HARDENED,
        tenancy::VOLUMES,
    ];
    match kept.map(Some).contains(&policy) {
        true => labels::TEAM,
        false => labels::TENANT,
    }
}

fn in_namespaces_with(label: &str) -> MatchResources {
    let has_tenant = LabelSelectorRequirement {
        key: label.to_owned(),
        operator: "Exists".to_owned(),
        values: None,
    };
    MatchResources {
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![has_tenant]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A mutating policy whose one JSON patch is `patch`.
fn mutating_policy(
    name: &str,
    constraints: MatchResources,
    conditions: Vec<MatchCondition>,
    patch: String,
) -> MutatingAdmissionPolicy {
    MutatingAdmissionPolicy {
        metadata: labels::metadata(name),
        spec: Some(MutatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            // Twice would read its own `suspend: true` as the user's.
            reinvocation_policy: Some("Never".to_owned()),
            match_constraints: Some(constraints),
            match_conditions: Some(conditions),
            mutations: Some(vec![Mutation {
                patch_type: "JSONPatch".to_owned(),
                json_patch: Some(JSONPatch {
                    expression: Some(patch),
                }),
                ..Default::default()
            }]),
            ..Default::default()
        }),
    }
}

fn validating_policy(
    name: &str,
    constraints: MatchResources,
    conditions: Vec<MatchCondition>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
) -> ValidatingAdmissionPolicy {
    ValidatingAdmissionPolicy {
        metadata: labels::metadata(name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_constraints: Some(constraints),
            match_conditions: (!conditions.is_empty()).then_some(conditions),
            variables: Some(variables),
            validations: Some(validations),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn requests(
    group: &str,
    versions: &[&str],
    resources: &[&str],
    operations: &[&str],
) -> MatchResources {
    let owned = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    MatchResources {
        resource_rules: Some(vec![NamedRuleWithOperations {
            api_groups: owned(&[group]),
            api_versions: owned(versions),
            resources: owned(resources),
            operations: owned(operations),
            ..Default::default()
        }]),
        ..Default::default()
    }
}

/// One expression for all of these, cheapest first: the API server evaluates every condition of a list,
/// and stops within an expression.
fn all(name: &str, expressions: &[&str]) -> MatchCondition {
    let parts: Vec<String> = expressions.iter().map(|e| format!("({e})")).collect();
    condition(name, parts.join(" &&\n"))
}

fn condition(name: &str, expression: impl Into<String>) -> MatchCondition {
    MatchCondition {
        name: name.to_owned(),
        expression: expression.into(),
    }
}

fn variable(name: &str, expression: impl Into<String>) -> Variable {
    Variable {
        name: name.to_owned(),
        expression: expression.into(),
    }
}

fn validation(expression: impl Into<String>, message: &str) -> Validation {
    Validation {
        expression: expression.into(),
        message: Some(message.to_owned()),
        reason: Some("Forbidden".to_owned()),
        ..Default::default()
    }
}
