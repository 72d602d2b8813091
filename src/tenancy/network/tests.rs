//! The policies of two tenants, evaluated as Kubernetes defines them, for every pair of namespaces.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::tenancy::{Kind, Plan, Settings};

/// A namespace, or an address outside of the cluster.
#[derive(Clone, Copy)]
enum End {
    Pods(&'static str),
    Outside(Ipv4Addr),
}

/// The specs of all policies by namespace; each is about all pods there.
type Policies = BTreeMap<String, Vec<Value>>;

fn policies() -> Policies {
    let vision = json!({
        "environments": [{ "name": "dev" }, { "name": "staging" }, { "name": "prod" }],
        "network": { "internet": true, "services": [{ "namespace": "registry", "ports": [{ "port": 443 }] }] },
    });
    let blue = json!({ "environments": [{ "name": "dev", "percent": 100 }] });
    let mut policies = Policies::new();
    for (name, spec) in [("vision", vision), ("blue", blue)] {
        let spec = serde_json::from_value(spec).unwrap();
        let plan = Plan::new((name, None), &spec, &[], &Settings::default()).unwrap();
        for policy in plan
            .objects
            .iter()
            .filter(|object| object.kind == Kind::NetworkPolicy)
        {
            let spec = policy.body["spec"].clone();
            assert_eq!(spec["podSelector"], json!({}));
            policies
                .entry(policy.namespace.clone().unwrap())
                .or_default()
                .push(spec);
        }
    }
    policies
}

/// Whether pods of one end reach the other at a port.
fn reaches(policies: &Policies, from: End, to: End, port: (u16, &str)) -> bool {
    passes(policies, from, ("Egress", "egress", "to"), to, port)
        && passes(policies, to, ("Ingress", "ingress", "from"), from, port)
}

fn passes(
    policies: &Policies,
    of: End,
    (direction, rules, peers): (&str, &str, &str),
    other: End,
    port: (u16, &str),
) -> bool {
    let End::Pods(namespace) = of else {
        return true;
    };
    let none = Vec::new();
    let own = policies.get(namespace).unwrap_or(&none);
    let about = |spec: &&Value| list(&spec["policyTypes"]).iter().any(|t| *t == direction);
    let mut isolating = own.iter().filter(about).peekable();
    if isolating.peek().is_none() {
        return true;
    }
    let lets = |rule: &Value| {
        let ports = list(&rule["ports"]);
        let at_port = |p: &Value| p["port"] == port.0 && p["protocol"] == port.1;
        let peers = list(&rule[peers]);
        (ports.is_empty() || ports.iter().any(at_port))
            && (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, other)))
    };
    isolating.any(|spec| list(&spec[rules]).iter().any(lets))
}

fn is_peer(peer: &Value, end: End) -> bool {
    match end {
        End::Pods(namespace) => {
            let expressions = list(&peer["namespaceSelector"]["matchExpressions"]);
            let by_name = |e: &Value| {
                assert_eq!(
                    (&e["key"], &e["operator"]),
                    (&json!("kubernetes.io/metadata.name"), &json!("In"))
                );
                list(&e["values"]).iter().any(|name| *name == namespace)
            };
            !expressions.is_empty() && expressions.iter().all(by_name)
        }
        End::Outside(address) => {
            let within = |block: &Value| {
                block
                    .as_str()
                    .is_some_and(|block| is_within(block, address))
            };
            within(&peer["ipBlock"]["cidr"]) && !list(&peer["ipBlock"]["except"]).iter().any(within)
        }
    }
}

fn is_within(block: &str, address: Ipv4Addr) -> bool {
    let (base, bits) = block.split_once('/').unwrap();
    let Ok(base) = base.parse::<Ipv4Addr>() else {
        return false;
    };
    let shift = 32 - bits.parse::<u32>().unwrap();
    let prefix = |address: Ipv4Addr| u64::from(u32::from(address)) >> shift;
    prefix(base) == prefix(address)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[test]
fn pods_reach_their_own_namespaces_dns_and_what_is_named() {
    let policies = policies();
    let all = [
        "ml-vision-dev",
        "ml-vision-prod",
        "ml-blue-dev",
        "kube-system",
        "registry",
        "default",
    ];
    let team = |namespace: &str| {
        namespace
            .strip_prefix("ml-")
            .map(|rest| rest.split('-').next().unwrap().to_owned())
    };
    for from in all {
        for to in all {
            for port in [
                (53, "UDP"),
                (53, "TCP"),
                (443, "TCP"),
                (443, "UDP"),
                (8080, "TCP"),
            ] {
                let same = team(from) == team(to);
                let dns = to == "kube-system" && port.0 == 53;
                let named = team(from).as_deref() == Some("vision")
                    && to == "registry"
                    && port == (443, "TCP");
                let wanted = same || (team(to).is_none() && (dns || named));
                let reached = reaches(&policies, End::Pods(from), End::Pods(to), port);
                assert_eq!(reached, wanted, "{from} → {to} at {port:?}");
            }
        }
    }
}

#[test]
fn the_internet_is_all_but_private_addresses_for_whoever_may() {
    let policies = policies();
    let reached = |from, address: [u8; 4]| {
        reaches(
            &policies,
            End::Pods(from),
            End::Outside(address.into()),
            (443, "TCP"),
        )
    };
    for address in [
        [1, 1, 1, 1],
        [172, 32, 0, 1],
        [192, 167, 1, 1],
        [100, 128, 0, 1],
    ] {
        assert!(reached("ml-vision-dev", address), "{address:?}");
        assert!(!reached("ml-blue-dev", address), "{address:?}");
    }
    for inside in [
        [10, 96, 0, 1],
        [169, 254, 169, 254],
        [172, 31, 255, 1],
        [192, 168, 0, 1],
        [100, 64, 0, 1],
        [127, 0, 0, 1],
    ] {
        assert!(!reached("ml-vision-dev", inside), "{inside:?}");
    }
    // And nobody comes in from there.
    let (outside, pods) = (
        End::Outside([1, 1, 1, 1].into()),
        End::Pods("ml-vision-dev"),
    );
    assert!(!reaches(&policies, outside, pods, (443, "TCP")));
}
