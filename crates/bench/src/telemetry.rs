//! What it costs to be watched: a service with metrics and OTLP, of which one call in a hundred is traced, against one
//! without, in blocks that take turns.

use std::{net::Ipv4Addr, path::Path};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};

use super::{
    Plan, Result,
    flat::{Place, compare},
    process::Extra,
    report::{Fact, Report, Wanted},
};

/// Takes everything and keeps nothing. It is part of this process, whose CPU time is not counted.
#[derive(Debug)]
struct Sink;

/// Calls in each block.
const CALLS: usize = 20_000;
/// The most that a call may cost with telemetry, as a multiple of one without.
const WANTED: f64 = 1.1;

/// Measures issues and introspections on the embedded store or a Redis of their own.
pub(super) async fn run(plan: &Plan, redis: Option<&Path>, report: &mut Report) -> Result<()> {
    if !plan.wants("telemetry") {
        return Ok(());
    }
    plan.say("comparing a service that is watched with one that is not");
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let endpoint = format!("http://{}", incoming.local_addr()?);
    let receiver = Server::builder().add_service(TraceServiceServer::new(Sink));
    let receiver = receiver.add_service(MetricsServiceServer::new(Sink)).serve_with_incoming(incoming);
    let _receiver = AbortOnDropHandle::new(tokio::spawn(receiver));

    let off = Place::with(plan, redis, Extra::None).await?;
    let on = Place::with(plan, redis, Extra::Telemetry { endpoint }).await?;
    for (introspects, what) in [
        (false, "CPU of an issue with metrics and OTLP / without"),
        (true, "CPU of an introspection with metrics and OTLP / without"),
    ] {
        let (less, more) = (off.own(introspects).await?, on.own(introspects).await?);
        let ([without, with], _) = compare(plan, [(&off, &less), (&on, &more)], plan.tokens(CALLS)).await?;
        report.add_fact(Fact::new(what, with / without, "×", Some(Wanted::AtMost(WANTED))));
    }
    Ok(())
}

// === impl Sink ===

#[async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
