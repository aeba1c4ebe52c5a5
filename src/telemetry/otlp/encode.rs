//! Spans and metrics as OTLP's messages.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as WireSpan, SpanFlags, Status, span::SpanKind, status::StatusCode},
};

use crate::{
    ambient::Clock,
    metrics::{BOUNDS_SECONDS, Distribution, Family, Labels, Point, Points, Unit},
    trace::{Kind, Span},
};

/// What every message says of this process.
#[derive(Debug)]
pub(super) struct Encoder {
    resource: Resource,
    clock: Clock,
    /// When counting began, in nanoseconds.
    started: u64,
}

/// The name of what made the data, and of the service unless it is named otherwise.
const NAME: &str = "jeton";
const VERSION: &str = env!("CARGO_PKG_VERSION");

// === impl Encoder ===

impl Encoder {
    /// `described` is what the environment says of the process; it has the last word, and its last entry the very last.
    pub(super) fn new(described: &[(String, String)], instance: [u8; 16], clock: Clock) -> Self {
        let instance = format!("{:032x}", u128::from_be_bytes(instance));
        let mut attributes = BTreeMap::from([
            ("service.name", NAME),
            ("service.version", VERSION),
            ("service.instance.id", instance.as_str()),
        ]);
        attributes.extend(described.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let attributes = attributes.into_iter().map(|(name, value)| attribute(name, value)).collect();
        let started = nanos(clock.now_micros());
        Self { resource: Resource { attributes, ..Resource::default() }, clock, started }
    }

    pub(super) fn spans(&self, spans: &[Span]) -> ExportTraceServiceRequest {
        let scope_spans =
            ScopeSpans { scope: Some(scope()), spans: spans.iter().map(span).collect(), schema_url: String::new() };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            schema_url: String::new(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    pub(super) fn metrics(&self, families: &[Family]) -> ExportMetricsServiceRequest {
        let now = nanos(self.clock.now_micros());
        let metrics = families.iter().map(|family| self.metric(family, now)).collect();
        let scope_metrics = ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() };
        let resource_metrics = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope_metrics],
            schema_url: String::new(),
        };
        ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
    }

    fn metric(&self, family: &Family, now: u64) -> Metric {
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = match &family.points {
            Points::Counter(points) => Data::Sum(Sum {
                data_points: points.iter().map(|point| self.number(point, now)).collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            Points::Gauge(points) => {
                Data::Gauge(Gauge { data_points: points.iter().map(|point| self.number(point, now)).collect() })
            }
            Points::Histogram(points) => Data::Histogram(Histogram {
                data_points: points.iter().map(|point| self.distribution(point, now)).collect(),
                aggregation_temporality: cumulative,
            }),
        };
        let unit = match family.unit {
            Unit::None => "1",
            Unit::Seconds => "s",
            Unit::Bytes => "By",
        };
        Metric {
            name: family.name.to_owned(),
            description: family.help.to_owned(),
            unit: unit.to_owned(),
            metadata: Vec::new(),
            data: Some(data),
        }
    }

    fn number(&self, point: &Point<f64>, now: u64) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(&point.labels),
            start_time_unix_nano: self.started,
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsDouble(point.value)),
            ..NumberDataPoint::default()
        }
    }

    fn distribution(&self, point: &Point<Distribution>, now: u64) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: attributes(&point.labels),
            start_time_unix_nano: self.started,
            time_unix_nano: now,
            count: point.value.count(),
            sum: Some(point.value.sum_seconds),
            bucket_counts: point.value.buckets.into(),
            explicit_bounds: BOUNDS_SECONDS.into(),
            ..HistogramDataPoint::default()
        }
    }
}

fn span(span: &Span) -> WireSpan {
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let mut flags = i32::from(SpanFlags::ContextHasIsRemoteMask);
    if span.is_parent_remote {
        flags |= i32::from(SpanFlags::ContextIsRemoteMask);
    }
    WireSpan {
        trace_id: span.trace.into(),
        span_id: span.id.into(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        // Everything here is sampled.
        flags: u32::try_from(flags).unwrap_or_default() | 1,
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.started_us),
        end_time_unix_nano: nanos(span.ended_us),
        attributes: span.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        status: span.failed.then(|| Status { message: String::new(), code: StatusCode::Error.into() }),
        ..WireSpan::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: NAME.to_owned(), version: VERSION.to_owned(), ..InstrumentationScope::default() }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

const fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}
