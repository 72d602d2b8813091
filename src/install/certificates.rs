//! Certificates for the two ends of the extender's connection, where nothing else issues them.

use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::{Error, Stream};
use crate::api::labels;

/// The Secret with which the extender shows who it is.
pub const EXTENDER_SECRET: &str = "prorata-extender-tls";

/// The Secret with which kube-scheduler shows who it is.
pub const SCHEDULER_SECRET: &str = "prorata-scheduler-tls";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Clocks of a cluster differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// Both Secrets as YAML: `tls.crt`, `tls.key`, and the authority of the other end in `ca.crt`.
///
/// The authority's key is kept nowhere, so nobody can issue a third. They are good for so many
/// days, and the extender's also for further `names` and addresses.
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn render(days: u32, names: Vec<String>) -> Result<String, Error> {
    let issued = Issued::new(days);
    let service = format!("prorata.{}", labels::NAMESPACE);
    let own = ["", ".svc", ".svc.cluster.local"].map(|suffix| format!("{service}{suffix}"));
    let names: Vec<String> = own.into_iter().chain(names).collect();
    let authority = issued.authority()?;
    let extender = issued.sign(
        &authority,
        CertificateParams::new(names)?,
        "prorata",
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    let scheduler = issued.sign(
        &authority,
        CertificateParams::default(),
        "kube-scheduler",
        ExtendedKeyUsagePurpose::ClientAuth,
    )?;
    let mut stream = Stream::default();
    stream.push(&secret(EXTENDER_SECRET, extender, &authority.pem()))?;
    stream.push(&secret(SCHEDULER_SECRET, scheduler, &authority.pem()))?;
    Ok(stream.text)
}

/// From when until when.
struct Issued {
    not_before: SystemTime,
    not_after: SystemTime,
}

/// A certificate and its key, in PEM.
struct Credentials {
    certificate: String,
    key: String,
}

impl Issued {
    fn new(days: u32) -> Self {
        let now = SystemTime::now();
        Self {
            not_before: now - CLOCK_SKEW,
            not_after: now + DAY * days,
        }
    }

    fn authority(&self) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
        let mut params = self.params(CertificateParams::default(), "prorata authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    }

    fn sign(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        params: CertificateParams,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Credentials, rcgen::Error> {
        let mut params = self.params(params, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?.pem();
        Ok(Credentials {
            certificate,
            key: key.serialize_pem(),
        })
    }

    fn params(&self, mut params: CertificateParams, name: &str) -> CertificateParams {
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        params
    }
}

fn secret(name: &str, credentials: Credentials, authority: &str) -> Secret {
    let mut metadata = labels::metadata(name);
    metadata.namespace = Some(labels::NAMESPACE.to_owned());
    let data = [
        ("ca.crt", authority.to_owned()),
        ("tls.crt", credentials.certificate),
        ("tls.key", credentials.key),
    ];
    let data = data.map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes())));
    Secret {
        metadata,
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_certificate_can_have_is_refused() {
        assert!(render(1, vec!["käse".to_owned()]).is_err());
    }
}
