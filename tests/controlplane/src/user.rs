//! Who may speak to the API server, and the files that say so.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

/// A user that the API server knows by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// May do everything (`system:masters`).
    Admin,
    /// kube-scheduler, with the role that Kubernetes itself ships for it.
    Scheduler,
    /// kube-controller-manager, with the role that Kubernetes itself ships for it.
    ControllerManager,
    /// Our controller's service account; it may do what the role that we install allows.
    Controller,
    /// Operators of workloads; they may do nothing until a test binds a role to them.
    Operator,
    /// An ordinary user; she may do nothing until a test binds a role to her.
    Alice,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Admin,
        Self::Scheduler,
        Self::ControllerManager,
        Self::Controller,
        Self::Operator,
        Self::Alice,
    ];

    /// The name under which role bindings and audit logs know the user.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Scheduler => "system:kube-scheduler",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Controller => "system:serviceaccount:prorata-system:prorata-controller",
            Self::Operator => "system:serviceaccount:operators:operator",
            Self::Alice => "alice",
        }
    }

    /// The name of its kubeconfig file.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Admin => "admin.kubeconfig",
            Self::Scheduler => "kube-scheduler.kubeconfig",
            Self::ControllerManager => "kube-controller-manager.kubeconfig",
            Self::Controller => "prorata-controller.kubeconfig",
            Self::Operator => "operator.kubeconfig",
            Self::Alice => "alice.kubeconfig",
        }
    }

    const fn groups(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Controller => "system:serviceaccounts,system:serviceaccounts:prorata-system",
            Self::Scheduler | Self::ControllerManager | Self::Operator | Self::Alice => "",
        }
    }
}

/// A token for every user, not to be guessed by other users of the same machine.
pub(crate) struct Tokens(Vec<(User, String)>);

impl Tokens {
    pub(crate) fn random() -> Self {
        Self(User::ALL.map(|user| (user, random_token())).to_vec())
    }

    /// The file for `--token-auth-file`: token, user, uid, groups.
    pub(crate) fn csv(&self) -> String {
        let line = |(user, token): &(User, String)| {
            format!(
                "{token},{name},{name},\"{groups}\"\n",
                name = user.name(),
                groups = user.groups()
            )
        };
        self.0.iter().map(line).collect()
    }

    /// Every user's kubeconfig for one API server.
    pub(crate) fn kubeconfigs(&self, url: &str, authority: &Path) -> Vec<(User, String)> {
        let kubeconfig =
            |(user, token): &(User, String)| (*user, kubeconfig(url, authority, token));
        self.0.iter().map(kubeconfig).collect()
    }
}

/// 128 bits from the generator that the standard library seeds its hash maps with.
fn random_token() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

fn kubeconfig(url: &str, authority: &Path, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: {url}
    certificate-authority: {authority}
users:
- name: test
  user:
    token: {token}
contexts:
- name: test
  context:
    cluster: test
    user: test
current-context: test
",
        authority = authority.display()
    )
}
