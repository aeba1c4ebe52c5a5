//! Services of others for tests: plain HTTP/1.1 on loopback, as well or as badly behaved as a test wants.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use jeton::outbound::{Options, Outbound, Url};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running service.
pub struct Remote {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Received>>>,
    _stop: DropGuard,
}

/// What came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What goes out.
#[derive(Clone, Debug)]
pub enum Reply {
    Message {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// A chunked body without end.
    Endless,
    /// A head, and nothing after it.
    Stuck,
    /// Nothing.
    Silence,
    /// The reply when the semaphore has a permit.
    After(Arc<Semaphore>, Box<Self>),
}

/// An authority of nobody's, and what it certifies: `localhost`, for a hundred years.
pub const AUTHORITY: &[u8] = include_bytes!("outbound/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("outbound/server.pem");
const KEY: &[u8] = include_bytes!("outbound/server.key");

/// Calls out as the product does, with this machine allowed.
pub fn outbound() -> Arc<Outbound> {
    calling(None)
}

/// The same where the authority is trusted.
pub fn trusting() -> Arc<Outbound> {
    calling(Some(AUTHORITY.to_vec()))
}

fn calling(authorities: Option<Vec<u8>>) -> Arc<Outbound> {
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    Arc::new(Outbound::new(Options { allow, authorities, ..Options::default() }).unwrap())
}

// === impl Remote ===

impl Remote {
    /// Answers each request as `answer` says.
    pub async fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::over(answer, |stream| async { Some(stream) }).await
    }

    /// The same under TLS, as `localhost`.
    pub async fn secure(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let wrap = move |stream| {
            let accept = acceptor.accept(stream);
            async { accept.await.ok() }
        };
        Self::over(answer, wrap).await
    }

    /// The same on streams that `wrap` makes of connections.
    pub async fn over<S, F>(
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Received>>>::default());
        let stop = CancellationToken::new();
        let (count, seen, stopped, answer) =
            (Arc::clone(&connections), Arc::clone(&requests), stop.clone(), Arc::new(answer));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (seen, answer, stream) = (Arc::clone(&seen), Arc::clone(&answer), wrap(stream));
                tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
                    let Some(mut stream) = stream.await else { return };
                    let Some(asked) = read(&mut stream).await else { return };
                    seen.lock().unwrap().push(asked.clone());
                    write(&mut stream, answer(&asked)).await;
                }));
            }
        }));
        Self { address, connections, requests, _stop: stop.drop_guard() }
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests asked for `path`.
    pub fn count(&self, path: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|asked| asked.path == path).count()
    }
}

// === impl Reply ===

impl Reply {
    pub fn json(body: impl std::fmt::Display) -> Self {
        Self::Message {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    pub fn status(status: u16) -> Self {
        Self::Message { status, headers: Vec::new(), body: String::new() }
    }

    pub fn redirect(to: &str) -> Self {
        Self::status(302).with("location", to)
    }

    /// With another header.
    pub fn with(self, name: &'static str, value: &str) -> Self {
        let Self::Message { status, mut headers, body } = self else { panic!("{self:?} has no headers") };
        headers.push((name, value.to_owned()));
        Self::Message { status, headers, body }
    }
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut asked = Received { method, path, headers, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}

/// A caller that hangs up early is no fault of the service.
async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: Reply) {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match reply {
        Reply::Message { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Endless => {
            let _ = stream.write_all(&[OK, b"transfer-encoding: chunked\r\n\r\n"].concat()).await;
            let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
        }
        Reply::Stuck => {
            let _ = stream.write_all(&[OK, b"content-length: 10\r\n\r\n{"].concat()).await;
            std::future::pending().await
        }
        Reply::Silence => std::future::pending().await,
        Reply::After(gate, reply) => {
            gate.acquire().await.unwrap().forget();
            Box::pin(write(stream, *reply)).await;
        }
    }
}
