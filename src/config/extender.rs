//! Where kube-scheduler asks, and how we ask ourselves.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;
use prorata_simulator::problem::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

use super::read_address;
use crate::manifest::{Document, Problems};

/// Where kube-scheduler asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extender {
    /// Address and port to listen on.
    #[serde(
        default = "default_extender_address",
        deserialize_with = "read_address"
    )]
    pub address: SocketAddr,
    /// Both sides show a certificate.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Anybody who reaches the address is answered, and nobody can tell who answers. For a
    /// kube-scheduler on the same machine alone.
    #[serde(default)]
    pub plain_http: bool,
    /// How the controller asks the extender itself, to start no job while that does not answer;
    /// without it, it does not.
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// How the controller asks the extender: as kube-scheduler does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Where kube-scheduler asks, such as `https://prorata.prorata-system.svc:8443`.
    pub url: String,
    /// A certificate that is let in, for `https`; in PEM as the others.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Who signed the extender's certificate.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Our certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Who signed kube-scheduler's certificate.
    pub client_ca_file: PathBuf,
}

impl Extender {
    /// Nobody gets plain HTTP who has not asked for it in so many words.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.tls, self.plain_http) {
            (None, false) => Some((
                "says nothing of certificates",
                "add `tls:` below it, or `plainHttp: true` where only kube-scheduler reaches the address",
            )),
            (Some(_), true) => Some((
                "asks for certificates and for plain HTTP",
                "remove `tls` or `plainHttp`",
            )),
            _ => match &self.probe {
                Some(probe) => probe.problem(self.plain_http),
                None => None,
            },
        }
    }

    /// Files that are named must be there when a role starts; a configuration may be read elsewhere.
    pub(super) fn find_files(&self, document: &Document) -> Result<(), Problems> {
        let tls = self.tls.iter().flat_map(|tls| {
            [
                ("tls.certFile", Some(&tls.cert_file)),
                ("tls.keyFile", Some(&tls.key_file)),
                ("tls.clientCaFile", Some(&tls.client_ca_file)),
            ]
        });
        let probe = self.probe.iter().flat_map(|probe| {
            [
                ("probe.certFile", probe.cert_file.as_ref()),
                ("probe.keyFile", probe.key_file.as_ref()),
                ("probe.caFile", probe.ca_file.as_ref()),
            ]
        });
        let unreadable = |(field, path): (&str, Option<&PathBuf>)| {
            let path = path?;
            let error = std::fs::File::open(path).err()?;
            Some(document.problem(
                &format!("extender.{field}"),
                format!("{} cannot be read: {error}", path.display()),
                "name a file in PEM that exists and that we may read",
            ))
        };
        let problems: Vec<Problem> = tls.chain(probe).filter_map(unreadable).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }
}

impl Probe {
    fn problem(&self, plain_http: bool) -> Option<(&'static str, &'static str)> {
        let uri: Option<Uri> = self.url.parse().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        let files = [&self.cert_file, &self.key_file, &self.ca_file];
        match scheme {
            Some("https") if files.iter().all(|file| file.is_some()) => None,
            Some("https") => Some((
                "has a probe without certificates",
                "add `certFile`, `keyFile` and `caFile` to `probe:`",
            )),
            Some("http") if plain_http => None,
            _ => Some((
                "has a probe that asks nowhere",
                "write the URL that kube-scheduler asks, such as https://prorata.prorata-system.svc:8443",
            )),
        }
    }
}

fn default_extender_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8443))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

    #[test]
    fn plain_http_is_asked_for_in_so_many_words() {
        let config = read("extender: {plainHttp: true}").unwrap();
        assert_eq!(
            (config.extender.tls, config.extender.plain_http),
            (None, true)
        );
        let both = read(&format!("extender: {{plainHttp: true, {TLS}}}")).unwrap_err();
        assert!(
            both.contains("extender: asks for certificates and for plain HTTP"),
            "{both}"
        );
    }

    #[test]
    fn a_probe_asks_as_kube_scheduler_does() {
        let probe = |probe: &str| read(&format!("extender: {{{TLS}, probe: {{{probe}}}}}"));
        let files = "certFile: a, keyFile: b, caFile: c";
        assert!(probe(&format!("url: \"https://x:8443\", {files}")).is_ok());
        let wrong = probe("url: \"https://x:8443\"").unwrap_err();
        assert!(
            wrong.contains("extender: has a probe without certificates"),
            "{wrong}"
        );
        for url in ["http://x:8443", "x", ""] {
            let wrong = probe(&format!("url: \"{url}\", {files}")).unwrap_err();
            assert!(wrong.contains("asks nowhere"), "{wrong}");
        }
    }
}
