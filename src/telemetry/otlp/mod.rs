//! Traces and metrics on their way to an OTLP receiver, on a thread of their own.
//!
//! Promises: nothing waits for the receiver. One that is down, slow or silent costs spans, which are bounded and counted
//! when they are dropped, and late metrics, which are sums and lose nothing; and the end waits for it for [`END`] at most.
//! Invariant: makes no span itself, so that it cannot trace its own exports.
//!
//! Metrics are read from their cells when they are due. OpenTelemetry's own SDK would want each call's duration recorded
//! a second time, because its interface has no histogram that is only read; see docs/adr/0018.

mod encode;

use std::{error::Error as _, fmt, fs, io, sync::Arc, thread, time::Duration};

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::{
    metrics::v1::metrics_service_client::MetricsServiceClient, trace::v1::trace_service_client::TraceServiceClient,
};
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval_at, timeout},
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use self::encode::Encoder;
use crate::{
    ambient::{self, Clock},
    config,
    metrics::{Event, Metrics, labels::Signal},
    token::error::chain,
    trace::{Span, Tracer},
};

/// A running export. Dropping it ends the export without a last one.
#[derive(Debug)]
pub struct Otlp {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

/// The export cannot begin.
#[derive(Debug)]
pub struct Error {
    attempted: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why an export failed.
#[derive(Debug)]
enum Failure {
    /// The receiver did not answer in time.
    TimedOut,
    Status(Status),
}

/// How often spans are exported.
pub const SPAN_PERIOD: Duration = Duration::from_secs(1);
/// How many spans go at a time.
pub const SPAN_BATCH: usize = 512;
/// How long the last export may take once everything else has ended.
pub const END: Duration = Duration::from_secs(2);

/// What runs on the thread.
struct Exporter {
    traces: TraceServiceClient<Channel>,
    metrics_out: MetricsServiceClient<Channel>,
    headers: HeaderMap,
    timeout: Duration,
    encoder: Encoder,
    tracer: Tracer,
    metrics: Arc<Metrics>,
    /// Spans that were taken and not delivered yet.
    batch: Vec<Span>,
    /// The last export failed, and the log says so already.
    failing: bool,
}

// === impl Otlp ===

impl Otlp {
    /// Begins to export what `tracer` and `metrics` have. The receiver need not be there.
    ///
    /// # Errors
    /// If the certificates cannot be read or the thread cannot be started.
    pub fn start(config: &config::Otlp, clock: Clock, tracer: Tracer, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let endpoint = endpoint(config)?;
        let instance: [u8; 16] = ambient::random().map_err(failed("name this instance"))?;
        let encoder = Encoder::new(&config.resource, instance, clock);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("start the runtime of the OTLP export"))?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (headers, interval, timeout) = (config.headers.clone(), config.interval, config.timeout);
        let run = move || {
            runtime.block_on(async move {
                // Within the runtime that will drive the connection.
                let channel = endpoint.connect_lazy();
                let exporter = Exporter {
                    traces: TraceServiceClient::new(channel.clone()),
                    metrics_out: MetricsServiceClient::new(channel),
                    headers,
                    timeout,
                    encoder,
                    tracer,
                    metrics,
                    batch: Vec::new(),
                    failing: false,
                };
                exporter.run(interval, stopped).await;
            });
            // Whoever waits may have given up.
            let _ = end.send(());
        };
        let thread = thread::Builder::new().name("otlp".into()).spawn(run);
        thread.map_err(failed::<io::Error>("start the thread of the OTLP export"))?;
        Ok(Self { stop: Some(stop), ended })
    }

    /// Exports what is there for the last time, in at most [`END`].
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails if the thread has ended before its time, and then there is nothing to wait for.
            let _ = stop.send(());
        }
        // The thread keeps to the same limit, and is left behind if it cannot.
        let _ = timeout(END * 2, self.ended).await;
    }
}

fn endpoint(config: &config::Otlp) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone()).map_err(failed("read otlp.endpoint"))?;
    let endpoint = endpoint.connect_timeout(config.timeout).user_agent(concat!("jeton/", env!("CARGO_PKG_VERSION")));
    let endpoint = endpoint.map_err(failed("name the exporter"))?;
    if config.endpoint.starts_with("http:") {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().with_native_roots().timeout(config.timeout);
    if let Some(path) = &config.ca_file {
        let pem = fs::read(path).map_err(failed(&format!("read {}", path.display())))?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(tls).map_err(failed("use the certificates of otlp.ca_file"))
}

// === impl Exporter ===

impl Exporter {
    async fn run(mut self, period: Duration, stopped: oneshot::Receiver<()>) {
        tokio::select! {
            // A sender that is dropped wants no last export.
            asked = stopped => if asked.is_err() { return },
            () = self.export_for_ever(period) => {}
        }
        // What was under way is sent once more: its receiver may have been slow, and knows a span by its id.
        let last = async {
            while self.send_spans().await {}
            self.send_metrics().await;
        };
        if timeout(END, last).await.is_err() {
            tracing::warn!("the last export by OTLP was cut short");
        }
    }

    async fn export_for_ever(&mut self, period: Duration) {
        let now = tokio::time::Instant::now();
        let mut spans = interval_at(now + SPAN_PERIOD, SPAN_PERIOD);
        let mut metrics = interval_at(now + period, period);
        for ticks in [&mut spans, &mut metrics] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = spans.tick() => while self.send_spans().await {},
                _ = metrics.tick() => self.send_metrics().await,
            }
        }
    }

    /// Sends one batch. Returns whether there may be more that can be sent now.
    async fn send_spans(&mut self) -> bool {
        if self.batch.is_empty() {
            self.batch = self.tracer.take(SPAN_BATCH);
        }
        if self.batch.is_empty() {
            return false;
        }
        let request = self.request(self.encoder.spans(&self.batch));
        let sent = bounded(self.timeout, self.traces.export(request)).await;
        let may_repeat = sent.as_ref().err().is_some_and(Failure::is_transient);
        if sent.is_err() && !may_repeat {
            for _ in &self.batch {
                self.metrics.count(Event::SpanDropped);
            }
        }
        if !may_repeat {
            self.batch.clear();
        }
        self.tell(Signal::Traces, &sent);
        sent.is_ok()
    }

    async fn send_metrics(&mut self) {
        let request = self.request(self.encoder.metrics(&self.metrics.for_otlp()));
        let sent = bounded(self.timeout, self.metrics_out.export(request)).await;
        self.tell(Signal::Metrics, &sent);
    }

    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(MetadataMap::from_headers(self.headers.clone()), http::Extensions::new(), message)
    }

    /// Counts failures, and logs when they begin and end. The receiver's own text stays out of the log: it may repeat what
    /// it was sent.
    fn tell<T>(&mut self, signal: Signal, sent: &Result<T, Failure>) {
        match sent {
            Ok(_) if self.failing => tracing::info!("the export by OTLP goes on"),
            Ok(_) => {}
            Err(failure) => {
                self.metrics.count(Event::ExportFailed(signal));
                if !self.failing {
                    let code = failure.code();
                    let cause = failure.cause();
                    tracing::warn!(signal = signal.name(), ?code, cause, "an export by OTLP failed");
                }
            }
        }
        self.failing = sent.is_err();
    }
}

async fn bounded<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Failure> {
    timeout(limit, call).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Status)
}

// === impl Failure ===

impl Failure {
    fn code(&self) -> Code {
        match self {
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Status(status) => status.code(),
        }
    }

    /// What is behind it on this side.
    fn cause(&self) -> Option<String> {
        match self {
            Self::TimedOut => None,
            Self::Status(status) => status.source().map(chain),
        }
    }

    fn is_transient(&self) -> bool {
        is_transient(self.code())
    }
}

/// Whether the same may succeed later (OTLP specification, "Failures").
const fn is_transient(code: Code) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => false,
    }
}

// === impl Error ===

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(attempted: &str) -> impl FnOnce(E) -> Error + use<E> {
    let attempted = attempted.to_owned();
    move |source| Error { attempted, source: source.into() }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
