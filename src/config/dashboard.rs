//! Where the dashboard is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use prorata_simulator::problem::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

use super::read_address;
use crate::manifest::{Document, Problems};

/// Where the dashboard is, for readers with a token of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Dashboard {
    /// Address and port to listen on.
    #[serde(deserialize_with = "read_address")]
    pub address: SocketAddr,
    /// Its certificate.
    pub tls: Option<DashboardTls>,
    /// Tokens of readers go over the network in the clear. For a proxy on the same machine, or in
    /// the same pod, that speaks TLS itself.
    pub plain_http: bool,
    /// What its readers call the cluster.
    pub cluster: String,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DashboardTls {
    /// Our certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            tls: None,
            plain_http: false,
            cluster: "this cluster".to_owned(),
        }
    }
}

impl Dashboard {
    /// No token crosses a network in the clear where nobody has said so in so many words.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.tls, self.plain_http) {
            (None, false) if !self.address.ip().is_loopback() => Some((
                "says nothing of certificates, and others reach the address",
                "add `tls:` below it, or `plainHttp: true` where a proxy in front speaks TLS, or an \
                 address such as 127.0.0.1:8090",
            )),
            (Some(_), true) => Some((
                "asks for certificates and for plain HTTP",
                "remove `tls` or `plainHttp`",
            )),
            _ => None,
        }
    }

    /// Files that are named must be there when a role starts.
    pub(super) fn find_files(&self, document: &Document) -> Result<(), Problems> {
        let tls = self.tls.iter().flat_map(|tls| {
            [
                ("tls.certFile", &tls.cert_file),
                ("tls.keyFile", &tls.key_file),
            ]
        });
        let unreadable = |(field, path): (&str, &PathBuf)| {
            let error = std::fs::File::open(path).err()?;
            Some(document.problem(
                &format!("dashboard.{field}"),
                format!("{} cannot be read: {error}", path.display()),
                "name a file in PEM that exists and that we may read",
            ))
        };
        let problems: Vec<Problem> = tls.filter_map(unreadable).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

    #[test]
    fn it_is_off_then_for_this_machine_then_for_others_over_tls() {
        let read = |dashboard: &str| read(&format!("extender: {{{TLS}}}\n{dashboard}"));
        assert_eq!(read("").unwrap().dashboard, None);
        let own = read("dashboard: {}").unwrap().dashboard.unwrap();
        assert!(own.address.ip().is_loopback());
        let wrong = read("dashboard: {address: \"0.0.0.0:8090\"}").unwrap_err();
        assert!(
            wrong.contains("dashboard: says nothing of certificates"),
            "{wrong}"
        );
        let files = "tls: {certFile: a, keyFile: b}";
        assert!(
            read(&format!(
                "dashboard: {{address: \"0.0.0.0:8090\", {files}}}"
            ))
            .is_ok()
        );
        assert!(read("dashboard: {address: \"0.0.0.0:8090\", plainHttp: true}").is_ok());
        let both = read(&format!("dashboard: {{plainHttp: true, {files}}}")).unwrap_err();
        assert!(both.contains("remove `tls` or `plainHttp`"), "{both}");
    }
}
