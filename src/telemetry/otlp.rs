//! Traces and metrics on their way to an OTLP receiver, by OpenTelemetry's SDK on threads of its own.
//!
//! Promises: nothing waits for the receiver. One that is down, slow or silent costs spans, which are bounded and counted
//! when they are dropped, and late metrics, which are sums and lose nothing; and the end waits for it for [`END`] at most.
//! Invariant: makes no span itself, so that it cannot trace its own exports.

use std::{
    fs,
    mem::ManuallyDrop,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use opentelemetry::{Context, InstrumentationScope, KeyValue, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    resource::TelemetryResourceDetector,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
    },
};
use tokio::{sync::oneshot, time::timeout};
use tonic::{
    metadata::MetadataMap,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{
    ambient, config,
    failure::{Failure, failed},
    metrics::{Event, Metrics, labels::Signal},
    trace::Tracer,
};

/// A running export.
///
/// Dropping it leaves the library's parts to the end of the process: they would wait for the receiver in their own `drop`.
#[derive(Debug)]
pub struct Otlp {
    traces: ManuallyDrop<SdkTracerProvider>,
    metrics: ManuallyDrop<SdkMeterProvider>,
}

/// How often spans are exported.
pub const SPAN_PERIOD: Duration = Duration::from_secs(1);
/// How many spans go at a time.
pub const SPAN_BATCH: usize = 512;
/// How many spans wait for their receiver at most: half a minute of one percent of a busy service's calls, and some MiB.
pub const MAX_WAITING_SPANS: usize = 16_384;
/// How long the last export may take once everything else has ended.
pub const END: Duration = Duration::from_secs(2);

/// The name of what made the data, and of the service unless it is named otherwise.
const NAME: &str = "jeton";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What goes into the SDK's queue of spans. The SDK does not tell how many it drops, so it never gets to.
#[derive(Debug)]
struct Inlet<P> {
    queue: P,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// What comes out of it.
#[derive(Debug)]
struct Outlet<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
    watch: Watch,
}

/// Metrics on their way out.
#[derive(Debug)]
struct Readings<E> {
    exporter: E,
    watch: Watch,
}

/// Counts exports that fail, and logs when that begins and ends.
#[derive(Debug)]
struct Watch {
    signal: Signal,
    metrics: Arc<Metrics>,
    /// The last export failed, and the log says so already.
    is_failing: AtomicBool,
}

// === impl Otlp ===

impl Otlp {
    /// Begins to export what `metrics` has by now, and the spans of the tracer that is returned. The receiver need not be
    /// there. The connection lives on the runtime that this is called in.
    ///
    /// # Errors
    /// If the certificates cannot be read or used.
    pub fn start(config: &config::Otlp, metrics: &Arc<Metrics>) -> Result<(Tracer, Self), Failure> {
        let channel = endpoint(config)?.connect_lazy();
        let resource = resource(config)?;
        let watch = |signal| Watch { signal, metrics: Arc::clone(metrics), is_failing: AtomicBool::new(false) };
        let metadata = MetadataMap::from_headers(config.headers.clone());
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_metadata(metadata.clone())
            .with_timeout(config.timeout)
            .build()
            .map_err(failed("make the exporter of spans"))?;
        let waiting = Arc::default();
        let outlet = Outlet { exporter, waiting: Arc::clone(&waiting), watch: watch(Signal::Traces) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING_SPANS)
            .with_max_export_batch_size(SPAN_BATCH)
            .with_scheduled_delay(SPAN_PERIOD);
        let queue = BatchSpanProcessor::new(outlet, batches.build());
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            // Whether a call is sampled was decided before there was a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(Inlet { queue, waiting, metrics: Arc::clone(metrics) })
            .build();
        let exporter = MetricExporter::builder()
            .with_temporality(Temporality::Cumulative)
            .with_tonic()
            .with_channel(channel)
            .with_metadata(metadata)
            .with_timeout(config.timeout)
            .build()
            .map_err(failed("make the exporter of metrics"))?;
        let readings = Readings { exporter, watch: watch(Signal::Metrics) };
        let reader = PeriodicReader::builder(readings).with_interval(config.interval).build();
        let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        metrics.instrument(&meters.meter_with_scope(scope()));
        let tracer = Tracer::new(traces.tracer_with_scope(scope()), config.sample_ratio);
        Ok((tracer, Self { traces: ManuallyDrop::new(traces), metrics: ManuallyDrop::new(meters) }))
    }

    /// Exports what is there for the last time, in at most [`END`].
    pub async fn stop(self) {
        let Self { traces, metrics } = self;
        // Twice the limit: who waits shall be the first to give up.
        let traces = ending(move || traces.shutdown_with_timeout(END * 2));
        let metrics = ending(move || metrics.shutdown_with_timeout(END * 2));
        if timeout(END, async { (traces.await, metrics.await) }).await.is_err() {
            tracing::warn!("the last export by OTLP was cut short");
        }
    }
}

/// Ends a part of the library's on a thread of its own: it blocks, and is left behind if the receiver holds it. What has
/// failed is logged already.
fn ending(end: impl FnOnce() -> OTelSdkResult + Send + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    let run = move || {
        let _ = end();
        // The caller that waits may have given up.
        let _ = done.send(());
    };
    // Without a thread there is no last export, and nobody waits for it.
    let _ = thread::Builder::new().name("otlp-end".into()).spawn(run);
    ended
}

fn endpoint(config: &config::Otlp) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone()).map_err(failed("read otlp.endpoint"))?;
    let endpoint = endpoint.connect_timeout(config.timeout).timeout(config.timeout);
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

/// What describes this process. What the environment says has the last word, and its last entry the very last; the
/// library's own reading of it would neither decode nor refuse anything.
fn resource(config: &config::Otlp) -> Result<Resource, Failure> {
    let instance: [u8; 16] = ambient::random().map_err(failed("name this instance"))?;
    let instance = format!("{:032x}", u128::from_be_bytes(instance));
    let own = [("service.name", NAME), ("service.version", VERSION), ("service.instance.id", &instance)];
    let described = config.resource.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let attributes = own.into_iter().chain(described);
    Ok(Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes.map(|(name, value)| KeyValue::new(name.to_owned(), value.to_owned())))
        .build())
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(NAME).with_version(VERSION).build()
}

// === impl Inlet ===

impl<P: SpanProcessor> SpanProcessor for Inlet<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // Relaxed: the number guards nothing but itself.
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING_SPANS {
            self.queue.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.count(Event::SpanDropped);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

// === impl Outlet ===

impl<E: SpanExporter> SpanExporter for Outlet<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let sent = self.exporter.export(batch).await;
        if sent.is_err() {
            // The exporter has tried again already, where that was of use.
            (0..count).for_each(|_| self.watch.metrics.count(Event::SpanDropped));
        }
        self.watch.report(sent)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

// === impl Readings ===

impl<E: PushMetricExporter> PushMetricExporter for Readings<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.watch.report(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

// === impl Watch ===

impl Watch {
    /// Passes on how an export ended. The receiver's own text is not in it, so it stays out of the log: it may repeat what
    /// it was sent.
    fn report(&self, sent: OTelSdkResult) -> OTelSdkResult {
        let signal = self.signal.name();
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Ok(()) if was_failing => tracing::info!(signal, "the export by OTLP goes on"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.count(Event::ExportFailed(self.signal));
                if !was_failing {
                    tracing::warn!(signal, cause = %error, "an export by OTLP failed");
                }
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use parking_lot::Mutex;

    use super::*;
    use crate::metrics::text;

    /// Holds what comes until it is taken.
    #[derive(Clone, Debug, Default)]
    struct Held(Arc<Mutex<Vec<SpanData>>>);

    /// A receiver that takes nothing.
    #[derive(Debug)]
    struct Refusing;

    impl SpanProcessor for Held {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    impl SpanExporter for Refusing {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("refused".into()))
        }
    }

    #[tokio::test]
    async fn spans_that_find_no_place_or_no_receiver_are_counted() {
        let (metrics, held, waiting) = (Arc::<Metrics>::default(), Held::default(), Arc::<AtomicUsize>::default());
        let page = || text::page(&metrics).unwrap();
        let inlet = Inlet { queue: held.clone(), waiting: Arc::clone(&waiting), metrics: Arc::clone(&metrics) };
        let tracer = SdkTracerProvider::builder().with_span_processor(inlet).build().tracer(NAME);
        for _ in 0..MAX_WAITING_SPANS + 3 {
            drop(tracer.start("call"));
        }
        assert_eq!(held.0.lock().len(), MAX_WAITING_SPANS);
        assert!(page().contains("\njeton_spans_dropped_total 3.0\n"), "{}", page());

        let watch = Watch { signal: Signal::Traces, metrics: Arc::clone(&metrics), is_failing: AtomicBool::new(false) };
        let batch = held.0.lock().split_off(MAX_WAITING_SPANS - 4);
        Outlet { exporter: Refusing, waiting, watch }.export(batch).await.unwrap_err();
        assert!(page().contains("\njeton_spans_dropped_total 7.0\n"), "{}", page());
        assert!(page().contains("\njeton_export_failures_total{signal=\"traces\"} 1.0\n"), "{}", page());
        for _ in 0..5 {
            drop(tracer.start("call"));
        }
        assert_eq!(held.0.lock().len(), MAX_WAITING_SPANS);
        assert!(page().contains("\njeton_spans_dropped_total 8.0\n"), "{}", page());
    }
}
