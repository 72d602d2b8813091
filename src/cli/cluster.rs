//! The way to the API server, as kubectl finds it, and reads that tell which right is missing.

use std::error::Error;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;

use super::failure::{Failure, chain};

/// Objects in one answer of the API server; more come in several.
const PAGE: u32 = 500;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Which cluster, and where in it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace [default: the context's]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In every namespace.
    All,
    /// In this one.
    Namespace(String),
}

/// A cluster, as its user sees it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is asked yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self, Failure> {
        let mut config = config(args).await?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        let namespace = args.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| Failure::input(chain(&error), "correct the kubeconfig"))?;
        Ok(Self { client, namespace })
    }

    /// What a client reaches, where this namespace is meant.
    #[cfg(any(feature = "demo", test))]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace that is meant where none is named.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The objects of a kind in that namespace.
    pub(crate) fn here<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Every object of a namespaced kind.
    pub(crate) async fn list<K>(&self, scope: &Scope, params: ListParams) -> Result<Vec<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        match scope {
            Scope::All => {
                let api = Api::all(self.client.clone());
                pages(&api, params, "in all namespaces").await
            }
            Scope::Namespace(name) => {
                let api = Api::namespaced(self.client.clone(), name);
                pages(&api, params, &format!("in namespace {name}")).await
            }
        }
    }

    /// Every object of a kind that has no namespace.
    pub(crate) async fn list_all<K>(&self) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::all(self.client.clone());
        pages(&api, ListParams::default(), "in the cluster").await
    }
}

/// What may be read; `None`, and a line that says what is left out, where the right is missing.
pub(crate) fn if_allowed<T>(what: &str, read: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_forbidden() => {
            eprintln!("note: without {what}: {}", failure.what());
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// A kind as rights name it.
pub(crate) fn plural<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() {
        plural.into_owned()
    } else {
        format!("{plural}.{group}")
    }
}

async fn config(args: &ClusterArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let read = match &args.kubeconfig {
        Some(file) => read(file, &options).await,
        None if args.context.is_some() => Config::from_kubeconfig(&options).await,
        None => {
            let inferred = Config::infer().await;
            return inferred.map_err(|error| wrong(args, error.source()));
        }
    };
    read.map_err(|error| wrong(args, Some(&error)))
}

async fn read(file: &Path, options: &KubeConfigOptions) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, options).await
}

/// What is wrong with the kubeconfig; that this is no pod either is no news to people.
fn wrong(args: &ClusterArgs, error: Option<&(dyn Error + 'static)>) -> Failure {
    let named = args
        .kubeconfig
        .as_ref()
        .map(|file| file.display().to_string());
    let what = match error.and_then(|error| error.downcast_ref()) {
        Some(KubeconfigError::ReadConfig(error, file)) => format!("{}: {error}", file.display()),
        Some(KubeconfigError::Parse(error)) => {
            let file = named.unwrap_or_else(|| "the kubeconfig".to_owned());
            format!(
                "{file}: no YAML of a kubeconfig: {}",
                error.without_snippet()
            )
        }
        Some(KubeconfigError::CurrentContextNotSet) => {
            let file = named.unwrap_or_else(|| "the kubeconfig".to_owned());
            format!("{file} has no current context")
        }
        Some(KubeconfigError::LoadContext(name)) => format!("there is no context `{name}`"),
        _ => error.map_or_else(String::new, chain),
    };
    Failure::input(
        format!("no way to a cluster: {what}"),
        "name a kubeconfig by --kubeconfig or $KUBECONFIG, and a context that it has by --context",
    )
}

async fn pages<K>(api: &Api<K>, params: ListParams, place: &str) -> Result<Vec<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut params = params.limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = api.list(&params).await;
        let page =
            page.map_err(|error| Failure::api(&format!("list {} {place}", plural::<K>()), error))?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
}
