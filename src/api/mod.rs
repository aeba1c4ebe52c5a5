//! The gRPC edge: turns bytes on a connection into calls of the domain, and its answers into replies.
//!
//! What it promises: a handler sees only calls that are admitted (limits, metadata, credentials, declared access) and
//! whose deadline still runs; every failure leaves as a `google.rpc.Status` with an `ErrorInfo`; internal text never
//! leaves; a mutation that was started runs to its end.
//!
//! Invariant: it knows nothing of stores, keys or rules. What a call means is said in `issuer` and `directory`; who may
//! make it is said in the contract (`proto/jeton/v1/`), which [`policy`] reads and [`edge`] enforces.
//!
//! Start reading at [`edge`]: it is the path of a call. [`protocol`] is where connections come from, and [`direct`] what is called
//! without gRPC.

pub mod account;
mod batch;
mod call;
pub mod client;
pub mod convert;
pub mod direct;
pub mod edge;
pub mod group;
pub mod health;
pub mod member;
mod message;
pub mod policy;
mod proof;
pub mod protocol;
mod services;
pub mod status;
pub mod tenant;
pub mod token;

pub use jeton_contract::{DESCRIPTORS, wire};
use tonic::service::RoutesBuilder;

pub use self::services::Services;
use self::{
    batch::TokenServer,
    wire::{
        account_service_server::AccountServiceServer, client_service_server::ClientServiceServer,
        entity_group_service_server::EntityGroupServiceServer, member_service_server::MemberServiceServer,
        tenant_service_server::TenantServiceServer, token_service_server::TokenServiceServer,
    },
};

// === impl Services ===

impl Services {
    /// Registers all services.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        // The edge holds all but the batch to the smaller limit.
        let token = TokenServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_BATCH_BYTES);
        let token = TokenServer::new(self.clone(), token);
        let client = ClientServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_MESSAGE_BYTES);
        let tenant = TenantServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_MESSAGE_BYTES);
        let account = AccountServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_MESSAGE_BYTES);
        let member = MemberServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_MESSAGE_BYTES);
        let group = EntityGroupServiceServer::new(self.clone()).max_decoding_message_size(policy::MAX_MESSAGE_BYTES);
        routes.add_service(token).add_service(client).add_service(tenant);
        routes.add_service(account).add_service(member).add_service(group);
    }
}
