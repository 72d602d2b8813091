//! Certificates of a listener: read from files, and read again when these change. Connections that
//! stand go on; new ones get what is new. Whoever calls shows one too, where authorities are named.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use crate::metrics::Metrics;

/// How often the files are read. Mounted Secrets change by way of links, which nothing reports.
const READ_EVERY: Duration = Duration::from_secs(1);

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("{}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not PEM, or holds something else.
    #[error("{}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A certificate authority that cannot be one.
    #[error("{}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: VerifierBuilderError,
    },
    /// Certificate and key do not fit together, or are not of a kind that is supported.
    #[error("the certificate and its key")]
    Tls(#[from] rustls::Error),
}

/// Where certificates are, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Ours.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Who signs those of callers; nothing: callers need none.
    pub(crate) authorities: Option<PathBuf>,
}

/// Certificates in use, and the files that they come from.
pub(crate) struct Certificates {
    files: Files,
    used: Contents,
    config: RustlsConfig,
    /// Whose they are, and who counts until when they are good.
    told: Option<(&'static str, Metrics)>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(files: Files) -> Result<Self, Error> {
        let used = Contents::read(&files)?;
        let config = RustlsConfig::from_config(Arc::new(used.server(&files)?));
        Ok(Self {
            files,
            used,
            config,
            told: None,
        })
    }

    /// The same, with its end told as a metric of this listener's.
    pub(crate) fn told_as(mut self, listener: &'static str, metrics: Metrics) -> Self {
        self.told = Some((listener, metrics));
        self.tell();
        self
    }

    fn tell(&self) {
        let until = until(&self.used.certificate);
        if let (Some((listener, metrics)), Some(until)) = (&self.told, until) {
            metrics.certificate(listener, until);
        }
    }

    /// What new connections get, now and later.
    pub(crate) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Takes up what changes, for ever. What does not fit together is not taken up: certificate
    /// and key may be replaced one after the other.
    pub(crate) async fn follow(mut self) {
        let mut before = None;
        loop {
            tokio::time::sleep(READ_EVERY).await;
            let now = match Contents::read(&self.files) {
                Ok(now) => now,
                Err(error) => {
                    warn!(%error, "a certificate cannot be read; the last ones stay in use");
                    continue;
                }
            };
            // Whoever is still writing has not finished until they stay the same.
            if now == self.used {
                before = None;
            } else if before.as_ref() == Some(&now) {
                self.replace(now);
            } else {
                before = Some(now);
            }
        }
    }

    fn replace(&mut self, contents: Contents) {
        match contents.server(&self.files) {
            Ok(config) => {
                self.config.reload_from_config(Arc::new(config));
                self.used = contents;
                self.tell();
                info!("the certificates have changed and are in use");
            }
            Err(error) => {
                warn!(%error, "the new certificates are wrong; the last ones stay in use");
            }
        }
    }
}

impl Contents {
    fn read(files: &Files) -> Result<Self, Error> {
        let read = |file: &Path| {
            fs::read(file).map_err(|source| Error::Read {
                file: file.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authorities: files.authorities.as_deref().map(read).transpose()?,
        })
    }

    fn server(&self, files: &Files) -> Result<ServerConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let callers = self.callers(files, &provider)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| Error::Pem {
            file: files.key.clone(),
            source,
        })?;
        let chain = certificates(&self.certificate, &files.certificate)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(callers)
            .with_single_cert(chain, key)?;
        // Over HTTP/2 Go would stay on the connection to one replica, even one that hangs.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// What callers have to show.
    fn callers(
        &self,
        files: &Files,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let (Some(file), Some(authorities)) = (&files.authorities, &self.authorities) else {
            return Ok(Arc::new(NoClientAuth));
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities, file)? {
            roots.add(authority)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let verifier = verifier.build().map_err(|source| Error::Authority {
            file: file.clone(),
            source,
        })?;
        Ok(verifier)
    }
}

/// Until when the first certificate of a file is good, in seconds since 1970.
fn until(text: &[u8]) -> Option<i64> {
    let first = CertificateDer::pem_slice_iter(text).next()?.ok()?;
    let (_, read) = x509_parser::parse_x509_certificate(&first).ok()?;
    Some(read.validity().not_after.timestamp())
}

fn certificates(text: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    read.map_err(|source| Error::Pem {
        file: file.to_owned(),
        source,
    })
}
