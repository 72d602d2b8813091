//! The namespace of an environment, and what it is called.

use serde_json::json;

use super::object::{Kind, Wanted};
use super::plan::Part;
use crate::api::{TenantSpec, labels};

/// How namespaces are called: a text with `{tenant}` and `{environment}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not make names of namespaces, expected small letters, digits and dashes around {{tenant}} and \
     {{environment}}, each once, such as ml-{{tenant}}-{{environment}}"
)]
pub struct TemplateError(String);

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// When two environments could have one name, or what it makes is no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError(text.to_owned());
        let once = |field| text.matches(field).count() == 1;
        if !once("{tenant}") || !once("{environment}") {
            return Err(wrong());
        }
        let template = Self(text.to_owned());
        match is_name(&template.name("a", "b")) {
            true => Ok(template),
            false => Err(wrong()),
        }
    }

    /// The namespace of an environment. It may be too long for one.
    #[must_use]
    pub fn name(&self, tenant: &str, environment: &str) -> String {
        let name = self.0.replace("{environment}", environment);
        name.replace("{tenant}", tenant)
    }
}

impl Default for Template {
    fn default() -> Self {
        Self("ml-{tenant}-{environment}".to_owned())
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether Kubernetes takes the text as the name of a namespace, and as the value of a label.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    (1..=63).contains(&text.len()) && ends && text.bytes().all(plain)
}

/// The namespace itself, and the labels that say whose it is.
pub(super) fn object(team: &str, spec: &TenantSpec, part: &Part) -> Wanted {
    let mut rest = json!({});
    let labels = &mut rest["metadata"]["labels"];
    for label in &spec.mesh_labels {
        labels[&label.name] = json!(label.value);
    }
    labels[labels::TENANT] = json!(part.child);
    let security = spec.security.clone().unwrap_or_default();
    labels["pod-security.kubernetes.io/enforce"] = json!(security.level.name());
    labels["pod-security.kubernetes.io/warn"] = json!("restricted");
    let about = [
        (labels::COST_CENTER, spec.cost_center.as_deref()),
        (labels::DEPARTMENT, spec.department.as_deref()),
        (
            labels::COMPLIANCE,
            spec.compliance.as_ref().map(|rules| rules.class.name()),
        ),
        (labels::NODE_POOL, spec.node_pool()),
        (
            labels::READ_ONLY_ROOT,
            security.read_only_root.then_some("true"),
        ),
        (labels::RUNTIME_CLASS, security.runtime_class.as_deref()),
    ];
    for (label, value) in about {
        if let Some(value) = value {
            labels[label] = json!(value);
        }
    }
    Wanted::new(Kind::Namespace, team, part, &part.namespace, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_tenant_and_environment_once() {
        let template = Template::default();
        assert_eq!(template.name("vision", "prod"), "ml-vision-prod");
        for wrong in [
            "",
            "ml-{tenant}",
            "{tenant}{tenant}-{environment}",
            "Ml-{tenant}-{environment}",
            "{tenant}-{environment}-",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Template::parse("{environment}-{tenant}").is_ok());
    }
}
