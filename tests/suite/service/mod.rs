//! Acceptance tests: a caller with a gRPC client, a real socket, and the service wired as the binary wires it, on each
//! store. Only the clock is ours, so that lifetimes, sessions and windows pass at once.
//!
//! Start reading at [`harness`] (the server) and [`calls`] (its callers).

/// Makes each test of a module one test per store.
macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                let service = crate::service::harness::Service::start(crate::service::harness::Backend::Embedded).await;
                super::$name(service).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                let service = crate::service::harness::Service::start(crate::service::harness::Backend::Redis).await;
                super::$name(service).await;
            })*
        }
    };
}

pub(crate) use on_both_stores;

pub mod calls;
pub mod harness;
pub mod signers;

mod account_grant;
mod accounts;
mod assertions;
mod audiences;
mod authenticate;
mod authority;
mod certificates;
mod clients;
mod credentials;
mod endings;
mod exchange;
mod federated;
mod formats;
mod frozen;
mod grantable;
mod group_grant;
mod group_members;
mod groups;
mod identity_profiles;
mod introspection;
mod invitations;
mod isolation;
mod keys;
mod lifetimes;
mod lists;
mod living;
mod member_grant;
mod members;
mod memberships;
mod model;
mod one_time;
mod passwords;
mod people;
mod permits;
mod provider_secrets;
mod reasons;
mod renewal;
mod repeats;
mod retention;
mod revocation;
mod revoke_all;
mod roles;
mod scopes;
mod sessions;
mod tenants;
mod theft;
mod vendors;
mod workload;
