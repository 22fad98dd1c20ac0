//! A look at a gateway from outside, as `annals doctor --url` takes it: pages by HTTP/1.0, in plain or by TLS, each over a
//! connection of its own. It asks gateways, and knows no more of HTTP than that takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use axum::http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A page must be there by then.
const TIME_MAX: Duration = Duration::from_secs(10);
/// A page is as long at most.
const PAGE_BYTES_MAX: u64 = 64 << 20;
/// Where systems keep the certificates that they trust.
const TRUSTED: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why a gateway cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// What was given as its address is none.
    #[error("`{0}` is no address of a gateway, such as http://127.0.0.1:9797")]
    Address(String),
    /// Certificates that are to be trusted cannot be read.
    #[error("no certificates to trust can be read from {}: {what}", path.display())]
    Trusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system or the network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not answer in time.
    #[error("there is no answer within {} seconds", TIME_MAX.as_secs())]
    Late,
    /// What answers does not speak HTTP.
    #[error("what answers does not speak HTTP")]
    NotHttp,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Its text.
    pub text: String,
}

/// Who asks one gateway.
pub struct Visitor {
    runtime: Runtime,
    host: String,
    port: u16,
    /// What stands before each path.
    prefix: String,
    token: Option<String>,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Visitor {
    /// Of the gateway at an address; `token` is shown with each question, certificates in `trusted` are trusted, else the
    /// system's.
    pub fn new(url: &str, token: Option<String>, trusted: Option<&Path>) -> Result<Visitor, VisitError> {
        let wrong = || VisitError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (host, secure) = match (uri.host(), uri.scheme_str()) {
            (Some(host), Some("http")) => (host, false),
            (Some(host), Some("https")) => (host, true),
            _ => return Err(wrong()),
        };
        // A token that is no text of a header would end it.
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(VisitError::Address("a token with other characters than a token has".to_owned()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Visitor {
            runtime,
            // Addresses of version 6 stand in brackets there.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            token,
            tls: if secure { Some(connector(trusted)?) } else { None },
        })
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Result<Page, VisitError> {
        let asked = async { tokio::time::timeout(TIME_MAX, self.ask(path)).await };
        self.runtime.block_on(asked).map_err(|_| VisitError::Late)?
    }

    async fn ask(&self, path: &str) -> Result<Page, VisitError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let credential =
            self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request =
            format!("GET {}{path} HTTP/1.0\r\nHost: {}\r\n{credential}\r\n", self.prefix, self.host);
        match &self.tls {
            None => exchange(stream, &request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|_| VisitError::Address(self.host.clone()))?;
                exchange(tls.connect(name, stream).await?, &request).await
            }
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<Page, VisitError> {
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    match stream.take(PAGE_BYTES_MAX).read_to_end(&mut reply).await {
        // Some end a connection without a word of TLS once all is said.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !reply.is_empty() => {}
        read => drop(read?),
    }
    let reply = String::from_utf8_lossy(&reply);
    let (head, text) = reply.split_once("\r\n\r\n").ok_or(VisitError::NotHttp)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    Ok(Page { status: status.ok_or(VisitError::NotHttp)?, text: text.to_owned() })
}

fn connector(trusted: Option<&Path>) -> Result<TlsConnector, VisitError> {
    let known = || TRUSTED.iter().map(Path::new).find(|path| CertificateDer::pem_file_iter(path).is_ok());
    let path = trusted.or_else(known).unwrap_or(Path::new(TRUSTED[0]));
    let wrong = |what: String| VisitError::Trusted { path: path.to_owned(), what };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(all.flatten());
    if added == 0 {
        return Err(wrong("there is none in it".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
