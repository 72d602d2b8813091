//! Whom a tenant's pods may talk to. All is denied but what is named here.
//!
//! Namespaces are chosen by `kubernetes.io/metadata.name`, which the API server sets and nobody can
//! forge.

use serde_json::{Value, json};

use super::object::{Kind, Wanted};
use super::plan::{Part, Whole};
use crate::api::{Protocol, SharedService};

/// Addresses that are no part of the internet: private, shared and link-local ones, the last with
/// the metadata of cloud machines among them.
const INSIDE_V4: [&str; 6] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const INSIDE_V6: [&str; 3] = ["::1/128", "fc00::/7", "fe80::/10"];

/// The policies of one namespace.
pub(super) fn objects(team: &Whole<'_>, part: &Part) -> Vec<Wanted> {
    let own: Vec<&str> = team.namespaces();
    let ports = json!([{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }]);
    let dns = json!([{ "to": [namespaces(&["kube-system"])], "ports": ports }]);
    let mut specs = vec![
        (
            "prorata-default-deny",
            json!({ "policyTypes": ["Ingress", "Egress"] }),
        ),
        ("prorata-dns", egress(dns)),
        (
            "prorata-own-namespaces",
            json!({
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{ "from": [namespaces(&own)] }],
                "egress": [{ "to": [namespaces(&own)] }],
            }),
        ),
    ];
    let network = &team.spec.network;
    if !network.services.is_empty() {
        let services: Vec<Value> = network.services.iter().map(service).collect();
        specs.push(("prorata-shared-services", egress(json!(services))));
    }
    if network.internet {
        let block =
            |cidr, except: &[&str]| json!({ "ipBlock": { "cidr": cidr, "except": except } });
        let to = json!([block("0.0.0.0/0", &INSIDE_V4), block("::/0", &INSIDE_V6)]);
        specs.push(("prorata-internet", egress(json!([{ "to": to }]))));
    }
    let policy = |(name, mut spec): (&str, Value)| {
        spec["podSelector"] = json!({});
        Wanted::new(
            Kind::NetworkPolicy,
            team.name,
            part,
            name,
            json!({ "spec": spec }),
        )
    };
    specs.into_iter().map(policy).collect()
}

fn egress(rules: Value) -> Value {
    json!({ "policyTypes": ["Egress"], "egress": rules })
}

fn service(service: &SharedService) -> Value {
    let mut rule = json!({ "to": [namespaces(&[&service.namespace])] });
    if !service.ports.is_empty() {
        let port = |port: &crate::api::Port| {
            let protocol = match port.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
            };
            json!({ "port": port.port, "protocol": protocol })
        };
        rule["ports"] = service.ports.iter().map(port).collect();
    }
    rule
}

fn namespaces(names: &[&str]) -> Value {
    let named = json!({ "key": "kubernetes.io/metadata.name", "operator": "In", "values": names });
    json!({ "namespaceSelector": { "matchExpressions": [named] } })
}

#[cfg(test)]
mod tests;
