//! A certificate authority for one control plane.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::error::{Context, Result};

/// Issues certificates, as PEM files in one directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    certificate: PathBuf,
}

/// A certificate and its private key, as PEM files.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The file with the certificate.
    pub certificate: PathBuf,
    /// The file with the private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority; its certificate is `ca.crt` in the directory.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "prorata test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let certificate = directory.join("ca.crt");
        write(&certificate, &issuer.pem())?;
        Ok(Self {
            issuer,
            directory: directory.to_owned(),
            certificate,
        })
    }

    /// The file with the authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Credentials of a server that is reached by these host names and IP addresses,
    /// in `NAME.crt` and `NAME.key`.
    ///
    /// # Errors
    ///
    /// When an address is not ASCII, or a file cannot be written.
    pub fn issue_server(&self, name: &str, addresses: &[&str]) -> Result<Credentials> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        self.issue(
            name,
            CertificateParams::new(addresses)?,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// Credentials of a client whose common name is `name`, in `NAME.crt` and `NAME.key`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn issue_client(&self, name: &str) -> Result<Credentials> {
        self.issue(
            name,
            CertificateParams::default(),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    fn issue(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Credentials> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let credentials = Credentials {
            certificate: self.directory.join(format!("{name}.crt")),
            key: self.directory.join(format!("{name}.key")),
        };
        write(&credentials.certificate, &certificate.pem())?;
        write(&credentials.key, &key.serialize_pem())?;
        Ok(credentials)
    }
}

/// A pair of keys that signs the tokens of service accounts.
pub(crate) struct TokenKeys {
    pub(crate) public: PathBuf,
    pub(crate) private: PathBuf,
}

impl TokenKeys {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let keys = Self {
            public: directory.join("tokens.pub"),
            private: directory.join("tokens.key"),
        };
        write(&keys.public, &key.public_key_pem())?;
        write(&keys.private, &key.serialize_pem())?;
        Ok(keys)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).when(format_args!("write {}", path.display()))
}
