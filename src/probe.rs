//! The controller's own probe of the extender, at the address where kube-scheduler asks and in the
//! way it asks. While that fails no Job is started: its pods would hold kube-scheduler up, each for
//! as long as it waits for an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Request, Uri};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use crate::config;
use crate::metrics::Metrics;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(1);
/// kube-scheduler waits a second, with everything else that it has to do.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// One replica of several may answer while another does not.
const GOOD_IN_A_ROW: u32 = 3;
/// About a pod that nobody asks for anything, and no node.
const QUESTION: &str = r#"{"Pod":{"metadata":{},"spec":{}},"Nodes":null,"NodeNames":[]}"#;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Asks for ever, and tells whether Jobs may be started. Files are read each time: certificates
/// change.
pub async fn run(probe: &config::Probe, answers: &watch::Sender<bool>, metrics: &Metrics) {
    let mut good = GOOD_IN_A_ROW;
    loop {
        let asked = timeout(ANSWER_WITHIN, ask(probe)).await;
        let asked =
            asked.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_WITHIN:?}").into()));
        good = match &asked {
            Ok(()) => good.saturating_add(1),
            Err(_) => 0,
        };
        let (may, might) = (good >= GOOD_IN_A_ROW, *answers.borrow());
        if may != might {
            answers.send_replace(may);
        }
        match asked {
            Ok(()) if may && !might => info!("the extender answers again; Jobs are started"),
            Err(error) if might => {
                warn!(url = probe.url, %error, "the extender does not answer; no Job is started meanwhile");
            }
            _ => {}
        }
        metrics.extender_answers(may);
        sleep(EVERY).await;
    }
}

/// Asks once, on a connection of its own: whoever balances may choose another replica each time.
async fn ask(probe: &config::Probe) -> Result<(), BoxError> {
    let uri: Uri = probe.url.parse()?;
    let host = uri.host().ok_or("no host in the URL")?;
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let socket = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    socket.set_nodelay(true)?;
    if !is_tls {
        return filter(&uri, socket).await;
    }
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let connector = TlsConnector::from(Arc::new(tls(probe)?));
    filter(&uri, connector.connect(name, socket).await?).await
}

async fn filter<S>(uri: &Uri, stream: S) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let path = format!("{}/filter", uri.path().trim_end_matches('/'));
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let question = Request::post(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(QUESTION))?;
    let answer = async {
        let answer = sender.send_request(question).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), 64 << 10).await?;
        Ok::<_, BoxError>((status, body))
    };
    let (status, body) = tokio::select! {
        answer = answer => answer?,
        ended = connection => {
            ended?;
            return Err("the connection ended without an answer".into());
        }
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer["Error"].as_str() {
        Some("") if status.is_success() => Ok(()),
        Some(error) if !error.is_empty() => Err(error.into()),
        _ => Err(format!("status {status}").into()),
    }
}

fn tls(probe: &config::Probe) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &probe.ca_file {
        for authority in CertificateDer::pem_file_iter(file)? {
            roots.add(authority?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match (&probe.cert_file, &probe.key_file) {
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)?.collect();
            config.with_client_auth_cert(chain?, PrivateKeyDer::from_pem_file(key)?)?
        }
        _ => return Err(io::Error::other("certFile and keyFile belong to https").into()),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
