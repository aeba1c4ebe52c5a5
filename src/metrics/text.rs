//! Metrics as Prometheus reads them: the OpenMetrics text format.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{
    Metrics,
    values::{BOUNDS_SECONDS, Distribution, Family, Point, Points, Unit},
};

/// What [`page`] is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as they stand now.
///
/// # Errors
/// None in practice: text is written to memory.
pub fn page(metrics: &Metrics) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(metrics.for_prometheus())));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// A metric's name without the suffix of its kind: dots become underscores, and the unit goes behind, as OpenTelemetry's
/// rules for Prometheus have it.
pub fn name(family: &Family) -> String {
    let unit = match family.unit {
        Unit::None => "",
        Unit::Seconds => "_seconds",
        Unit::Bytes => "_bytes",
    };
    family.name.replace('.', "_") + unit
}

#[derive(Debug)]
struct Page(Vec<Family>);

// === impl Page ===

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let name = name(family);
            let kind = match family.points {
                Points::Counter(_) => MetricType::Counter,
                Points::Gauge(_) => MetricType::Gauge,
                Points::Histogram(_) => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(&name, family.help, None, kind)?;
            match &family.points {
                Points::Counter(points) => each(&mut encoder, points, |encoder, value| {
                    encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
                })?,
                Points::Gauge(points) => each(&mut encoder, points, |encoder, value| encoder.encode_gauge(value))?,
                Points::Histogram(points) => each(&mut encoder, points, histogram)?,
            }
        }
        Ok(())
    }
}

fn each<T>(
    encoder: &mut MetricEncoder<'_>,
    points: &[Point<T>],
    write: impl Fn(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for Point { labels, value } in points {
        if labels.is_empty() {
            write(encoder, value)?;
        } else {
            write(&mut encoder.encode_family(&labels.as_slice())?, value)?;
        }
    }
    Ok(())
}

fn histogram(encoder: &mut MetricEncoder<'_>, distribution: &Distribution) -> fmt::Result {
    let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(distribution.buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(distribution.sum_seconds, distribution.count(), &buckets, None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{Event, Instrument, Method, Observed, labels::*},
        *,
    };

    #[test]
    fn the_page_has_the_names_that_dashboards_know() {
        let method = Method {
            service: "jeton.v1.TokenService".to_owned(),
            name: "IssueToken".to_owned(),
            kind: "unary",
            lane: Lane::Ordinary,
        };
        let metrics = Metrics::new(2, vec![method]);
        metrics.count(Event::Issued(Grant::Member));
        for index in [Some(0), Some(0), None] {
            metrics.began(index);
        }
        metrics.ended(Some(0), Code::NotFound, Duration::from_millis(3));
        metrics.ended(None, Code::Unimplemented, Duration::ZERO);
        metrics.observe(Observed::one(Instrument::Gauge, "jeton.follower.lag", Unit::Seconds, "Lag.", || 0.25));
        let page = page(&metrics).unwrap();
        let of = "grpc_type=\"unary\",grpc_service=\"jeton.v1.TokenService\",grpc_method=\"IssueToken\"";
        for line in [
            format!("grpc_server_started_total{{{of}}} 2.0"),
            format!("grpc_server_handled_total{{{of},grpc_code=\"NotFound\"}} 1.0"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.0025\",{of}}} 0"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.005\",{of}}} 1"),
            format!("grpc_server_handling_seconds_bucket{{le=\"+Inf\",{of}}} 1"),
            "jeton_tokens_issued_total{grant=\"member\"} 1.0".to_owned(),
            "jeton_tokens_issued_total{grant=\"account\"} 0.0".to_owned(),
            "jeton_calls_in_flight{lane=\"ordinary\"} 1.0".to_owned(),
            "jeton_follower_lag_seconds 0.25".to_owned(),
            "# TYPE jeton_store_duration_seconds histogram".to_owned(),
        ] {
            assert!(page.lines().any(|own| own == line), "{line} is not in:\n{page}");
        }
        assert!(
            page.contains("grpc_service=\"unknown\",grpc_method=\"unknown\",grpc_code=\"Unimplemented\""),
            "{page}"
        );
        assert!(page.ends_with("# EOF\n"));
    }
}
