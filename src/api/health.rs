//! What the server says of itself: its health (`grpc.health.v1`) and its contract (reflection).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tonic::service::{Routes, RoutesBuilder};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::Builder;

use super::{
    DESCRIPTORS,
    policy::{Method, Policy},
};

/// Whether the server wants calls: as a whole (service "") and by service, which always agree; and that it lives
/// (service "liveness"). Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    services: BTreeSet<String>,
    is_ready: Arc<AtomicBool>,
}

/// Served as long as the process answers at all, whatever becomes of the store: Kubernetes asks for it to know whether to
/// restart a pod, which would heal no store.
const LIVENESS: &str = "liveness";
/// Requests of both services are names.
const MAX_MESSAGE: usize = 64 * 1024;

// === impl Health ===

impl Health {
    /// NOT_SERVING, for every service of the contract.
    pub async fn new(policy: &Policy) -> Self {
        let ours = policy.methods().filter(|method| method.rule().is_some());
        let mut services: BTreeSet<String> = ours.filter_map(Method::service).map(str::to_owned).collect();
        services.insert(String::new());
        let health = Self { reporter: HealthReporter::new(), services, is_ready: Arc::default() };
        health.not_ready().await;
        health.reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        health
    }

    /// SERVING from now on.
    pub async fn ready(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// NOT_SERVING from now on.
    pub async fn not_ready(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    /// Whether it says SERVING.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    async fn set(&self, status: ServingStatus) {
        self.is_ready.store(status == ServingStatus::Serving, Ordering::Relaxed);
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// Health and, if wanted, reflection v1 and v1alpha, to add the services of the contract to.
///
/// # Errors
/// If a descriptor set cannot be read, which a test rules out.
pub fn routes(health: &Health, reflection: bool) -> Result<RoutesBuilder, tonic_reflection::server::Error> {
    // Each version must know the other one, or a client sees only half of the list; and without the types of error
    // details, grpcurl shows them as bytes.
    let describe = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
    };
    let health = HealthService::from_health_reporter(health.reporter.clone());
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(health).max_decoding_message_size(MAX_MESSAGE));
    if reflection {
        routes
            .add_service(describe().build_v1()?.max_decoding_message_size(MAX_MESSAGE))
            .add_service(describe().build_v1alpha()?.max_decoding_message_size(MAX_MESSAGE));
    }
    Ok(routes)
}
