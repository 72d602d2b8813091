//! What Tenants become.

use proptest::prelude::*;
use prorata_core::{Resource, Resources};
use serde_json::{Value, json};

use super::*;
use crate::translate;

fn spec(yaml: &str) -> crate::api::TenantSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

fn plan(yaml: &str) -> Plan {
    Plan::new(
        ("vision", Some("u1")),
        &spec(yaml),
        &[],
        &Settings::default(),
    )
    .unwrap()
}

fn body<'a>(plan: &'a Plan, title: &str) -> &'a Value {
    let wanted = plan.objects.iter().find(|wanted| wanted.title() == title);
    &wanted.unwrap_or_else(|| panic!("no {title}")).body
}

const FULL: &str = "
displayName: Vision
owner: ada@example.com
costCenter: CC-7
department: research
parent: lab
guaranteed: {gpu: 7, cpu: 100, memory: 100Gi}
limit: {gpu: 12, cpu: 200}
priorityClasses: [normal]
environments:
- {name: dev, priorityClasses: [low]}
- {name: staging}
- {name: prod, namespace: vision-live}
members:
  admins: [{user: ada}]
  users: [{group: vision}]
containers: {default: {cpu: 1}, max: {memory: 64Gi}}
pods: {max: {cpu: 32}}
objects: {pods: 1500, jobs: 200}
storage: {total: 1Ti, classes: [{name: fast, amount: 100Gi}]}
network: {internet: true, services: [{namespace: registry, ports: [{port: 443}]}]}
security: {level: restricted, readOnlyRoot: true, runtimeClass: gvisor}
meshLabels: [{name: istio-injection, value: enabled}]
compliance: {class: hipaa}
budget: {monthly: 2500, currency: EUR}
";

#[test]
fn a_tenant_becomes_a_child_a_namespace_and_its_bounds_for_each_environment() {
    let plan = plan(FULL);
    let of_dev: Vec<String> = plan
        .objects
        .iter()
        .map(Wanted::title)
        .filter(|t| t.contains("dev"))
        .collect();
    assert_eq!(
        of_dev,
        [
            "Tenant vision-dev",
            "Namespace ml-vision-dev",
            "NetworkPolicy ml-vision-dev/prorata-default-deny",
            "NetworkPolicy ml-vision-dev/prorata-dns",
            "NetworkPolicy ml-vision-dev/prorata-own-namespaces",
            "NetworkPolicy ml-vision-dev/prorata-shared-services",
            "NetworkPolicy ml-vision-dev/prorata-internet",
            "ResourceQuota ml-vision-dev/prorata",
            "LimitRange ml-vision-dev/prorata",
            "RoleBinding ml-vision-dev/prorata-admins",
            "RoleBinding ml-vision-dev/prorata-users",
        ]
    );
    let labels = &body(&plan, "Namespace vision-live")["metadata"]["labels"];
    for (label, value) in [
        ("prorata.dev/tenant", "vision-prod"),
        ("prorata.dev/team", "vision"),
        ("prorata.dev/environment", "prod"),
        ("prorata.dev/cost-center", "CC-7"),
        ("prorata.dev/department", "research"),
        ("prorata.dev/compliance", "hipaa"),
        ("prorata.dev/read-only-root", "true"),
        ("prorata.dev/runtime-class", "gvisor"),
        ("app.kubernetes.io/managed-by", "prorata"),
        ("pod-security.kubernetes.io/enforce", "restricted"),
        ("istio-injection", "enabled"),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
}

#[test]
fn gpus_are_split_whole_and_classes_go_down() {
    let plan = plan(FULL);
    let of = |child: &str| body(&plan, &format!("Tenant {child}"))["spec"].clone();
    let gpus = ["dev", "staging", "prod"]
        .map(|name| of(&format!("vision-{name}"))["guaranteed"]["gpu"].clone());
    assert_eq!(gpus, ["2", "1", "4"]);
    let dev = json!({
        "parent": "vision", "weight": "1", "priorityClasses": ["low"],
        "guaranteed": { "cpu": "30", "memory": "30Gi", "gpu": "2" },
    });
    assert_eq!(of("vision-dev"), dev);
    assert_eq!(of("vision-prod")["priorityClasses"], json!(["normal"]));
    assert_eq!(
        body(&plan, "Tenant vision-dev")["metadata"]["ownerReferences"][0]["uid"],
        "u1"
    );
}

#[test]
fn a_quota_repeats_the_hard_limit_or_is_the_part_itself() {
    let by_limit = plan(FULL);
    let hard = &body(&by_limit, "ResourceQuota ml-vision-staging/prorata")["spec"]["hard"];
    let wanted = json!({
        "pods": "1500", "count/jobs.batch": "200",
        "requests.cpu": "200", "limits.cpu": "240", "requests.nvidia.com/gpu": "12",
        "requests.storage": "209715Mi",
        "fast.storageclass.storage.k8s.io/requests.storage": "20Gi",
    });
    assert_eq!(hard, &wanted);
    let by_part = plan(&format!("{FULL}\nquotas: hard\n"));
    let hard = &body(&by_part, "ResourceQuota ml-vision-staging/prorata")["spec"]["hard"];
    assert_eq!(hard["requests.nvidia.com/gpu"], "1");
    assert_eq!(
        (hard["requests.cpu"].as_str(), hard["limits.cpu"].as_str()),
        (Some("20"), Some("24"))
    );
    assert_eq!(
        body(&by_part, "Tenant vision-staging")["spec"]["limit"]["gpu"],
        "1"
    );
    let none = plan("{guaranteed: {gpu: 4}, environments: [{name: prod, percent: 100}]}");
    assert!(
        !none
            .objects
            .iter()
            .any(|object| matches!(object.kind, Kind::ResourceQuota | Kind::LimitRange))
    );
}

#[test]
fn a_limit_range_says_what_the_server_would_fill_in() {
    let plan = plan(FULL);
    let limits = &body(&plan, "LimitRange ml-vision-dev/prorata")["spec"]["limits"];
    let wanted = json!([
        {
            "type": "Container", "default": { "cpu": "1", "memory": "1Gi" },
            "defaultRequest": { "cpu": "1", "memory": "1Gi" }, "max": { "memory": "64Gi" },
        },
        { "type": "Pod", "max": { "cpu": "32" } },
    ]);
    assert_eq!(limits, &wanted);
}

#[test]
fn what_is_left_of_an_environment_owns_nothing_and_lets_the_same_people_in() {
    let spec = spec(
        "{guaranteed: {gpu: 4}, environments: [{name: prod, percent: 100}], members: {users: [{user: bob}]}}",
    );
    let left = ["ml-vision-old", "ml-vision-prod"].map(|namespace| Left {
        environment: namespace.rsplit('-').next().unwrap().to_owned(),
        namespace: Some(namespace.to_owned()),
    });
    let plan = Plan::new(("vision", None), &spec, &left, &Settings::default()).unwrap();
    assert_eq!(
        body(&plan, "Tenant vision-old")["spec"],
        json!({ "parent": "vision", "weight": "1", "limit": { "gpu": "0" } })
    );
    body(&plan, "RoleBinding ml-vision-old/prorata-users");
    assert_eq!(
        body(&plan, "Tenant vision-prod")["spec"]["guaranteed"]["gpu"],
        "4"
    );
    assert_eq!(plan.parts.len(), 2);
}

#[test]
fn a_child_without_a_namespace_owns_nothing_any_more() {
    let spec = spec("{guaranteed: {gpu: 4}, environments: [{name: prod, percent: 100}]}");
    let left = ["old", "prod"].map(|environment| Left {
        environment: environment.to_owned(),
        namespace: None,
    });
    let plan = Plan::new(("vision", None), &spec, &left, &Settings::default()).unwrap();
    assert_eq!(
        body(&plan, "Tenant vision-old")["spec"],
        json!({ "parent": "vision", "weight": "1", "limit": { "gpu": "0" } })
    );
    let prod = body(&plan, "Tenant vision-prod");
    assert_eq!(prod["spec"]["guaranteed"]["gpu"], "4");
    let is_of_old = |wanted: &&Wanted| wanted.title().contains("old");
    assert_eq!(plan.objects.iter().filter(is_of_old).count(), 1);
    assert_eq!(plan.parts.len(), 1);
}

#[test]
fn hard_quotas_bound_what_is_not_guaranteed_by_the_limit() {
    let plan = plan(
        "{quotas: hard, guaranteed: {gpu: 4}, limit: {gpu: 8, cpu: 10}, environments: [{name: prod, percent: 100}]}",
    );
    let hard = &body(&plan, "ResourceQuota ml-vision-prod/prorata")["spec"]["hard"];
    let wanted =
        json!({ "requests.nvidia.com/gpu": "4", "requests.cpu": "10", "limits.cpu": "12" });
    assert_eq!(hard, &wanted);
    assert_eq!(
        body(&plan, "Tenant vision-prod")["spec"]["limit"],
        json!({ "gpu": "4", "cpu": "10" })
    );
}

/// What is kept for a Tenant, as the API server would show it.
fn kept(plan: &Plan) -> Store {
    let mut store = Store::default();
    for wanted in &plan.objects {
        let mut object = wanted.body.clone();
        object["metadata"]["resourceVersion"] = json!("1");
        store.put(wanted.kind, serde_json::from_value(object).unwrap());
    }
    store
}

#[test]
fn what_is_left_keeps_its_quota_and_what_moved_shares_its_child() {
    let store = kept(&plan(FULL));
    let settings = Settings::default();
    let plan_of = |yaml: &str| {
        let left = store.left("vision");
        Plan::new(("vision", Some("u1")), &spec(yaml), &left, &settings).unwrap()
    };
    let without = "environments: [{name: dev, percent: 50}, {name: staging, percent: 50}]";
    for environments in [
        without,
        "environments: [{name: dev}, {name: staging}, {name: prod, namespace: other}]",
    ] {
        let plan = plan_of(&format!("{{limit: {{gpu: 12}}, {environments}}}"));
        let part = plan
            .parts
            .iter()
            .find(|part| part.namespace == "vision-live");
        let part = part.unwrap();
        assert_eq!(
            (part.is_left, plan.is_moved(part)),
            (true, environments != without)
        );
        let removed = Comparison::new("vision", &plan, &store).unwanted;
        let is_bound = |(kind, namespace, _): &crate::tenancy::store::Key| {
            *kind == Kind::ResourceQuota && namespace.as_deref() == Some("vision-live")
        };
        assert!(!removed.iter().any(is_bound), "{removed:?}");
        assert!(!removed.is_empty());
    }
}

#[test]
fn what_is_another_tenants_is_foreign_and_its_part_is_left_alone() {
    let yaml = "{environments: [{name: prod, percent: 100}, {name: eu-prod, percent: 0}]}";
    let store = kept(&plan(yaml));
    let yaml = spec("{environments: [{name: prod, percent: 50}, {name: dev, percent: 50}]}");
    let other = Plan::new(("vision-eu", None), &yaml, &[], &Settings::default()).unwrap();
    let comparison = Comparison::new("vision-eu", &other, &store);
    let titles: Vec<String> = comparison.foreign.iter().map(Wanted::title).collect();
    assert!(
        titles.contains(&"Tenant vision-eu-prod".to_owned()),
        "{titles:?}"
    );
    assert!(
        titles.contains(&"Namespace ml-vision-eu-prod".to_owned()),
        "{titles:?}"
    );
    assert!(comparison.changed.is_empty() && comparison.unwanted.is_empty());
    let is_of_dev = |wanted: &Wanted| wanted.title().contains("vision-eu-dev");
    assert!(!comparison.missing.is_empty() && comparison.missing.iter().all(is_of_dev));
}

#[test]
fn every_mistake_is_told_with_its_field() {
    let wrong = spec(
        "{costCenter: '-', environments: [{name: Dev, percent: 60}, {name: qa}, {name: dev, namespace: X}], \
         members: {admins: [{group: 'system:masters'}, {user: a, group: b}]}, containers: {min: {cpu: 2}, max: {cpu: 1}}, \
         storage: {total: 5x}, network: {services: [{namespace: '*'}]}, meshLabels: [{name: pod-security.kubernetes.io/enforce, value: x}], \
         budget: {monthly: -1, currency: euro}}",
    );
    let found = problems("vision", &wrong);
    let fields: Vec<&str> = found.iter().map(|wrong| wrong.field.as_str()).collect();
    let wanted = [
        "spec.costCenter",
        "spec.environments[0].name",
        "spec.environments[1].percent",
        "spec.environments[2].namespace",
        "spec.environments",
        "spec.members.admins[0]",
        "spec.members.admins[1]",
        "spec.containers.min.cpu",
        "spec.storage.total",
        "spec.network.services[0].namespace",
        "spec.meshLabels[0].name",
        "spec.budget.monthly",
        "spec.budget.currency",
    ];
    assert_eq!(fields, wanted);
    assert!(Plan::new(("vision", None), &wrong, &[], &Settings::default()).is_err());
}

proptest! {
    /// What children are guaranteed, as the core reads it, is what their parent is; and whole GPUs
    /// stay whole.
    #[test]
    fn no_gpu_is_lost_or_invented(
        gpu in 0u64..100_000, milli in 0u64..1000, memory in 0u64..(1 << 45), cuts in prop::collection::vec(0u32..=100, 0..6)
    ) {
        let mut cuts = cuts;
        cuts.extend([0, 100]);
        cuts.sort_unstable();
        let percents: Vec<u32> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let total = gpu * 1000 + if gpu % 2 == 0 { 0 } else { milli };
        let environments: Vec<Value> = percents.iter().enumerate()
            .map(|(index, percent)| json!({ "name": format!("e{index}"), "percent": percent })).collect();
        let spec = serde_json::from_value(json!({
            "guaranteed": { "gpu": format!("{total}m"), "memory": memory.to_string() }, "environments": environments,
        })).unwrap();
        let plan = Plan::new(("t", None), &spec, &[], &Settings::default()).unwrap();
        let mut sum = Resources::ZERO;
        for child in plan.objects.iter().filter(|object| object.kind == Kind::Tenant) {
            let spec = serde_json::from_value(child.body["spec"].clone()).unwrap();
            let child = translate::tenant(&child.name, &spec).unwrap();
            if total % 1000 == 0 {
                prop_assert_eq!(child.guaranteed.get(Resource::Gpu) % 1000, 0);
            }
            sum = sum.checked_add(&child.guaranteed).unwrap();
        }
        prop_assert_eq!(sum.get(Resource::Gpu), total);
        prop_assert_eq!(sum.get(Resource::Memory), memory);
    }
}
