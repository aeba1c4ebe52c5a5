//! What the directory stores: one file for each kind of record.
//!
//! Promises: a record says itself how it is stored, what the revocation log calls it, and, if copies of it are kept in
//! memory, by what they are found and which entry of the log outdates them ([`Kept`]). A new kind of record is a file here,
//! a kind in the store, an identifier in the log, and a line in the registry of `shelf.rs`.
//!
//! Invariant: knows neither who may touch a record nor how it is read and changed.

mod account;
mod admission;
mod client;
mod entity;
mod group;
mod group_member;
mod identity;
mod identity_profile;
mod key_set;
mod member;
mod membership;
mod role;
mod stored;
mod tenant;

pub(crate) use self::member::invited;
pub use self::{
    account::{Account, MAX_DEPTH},
    admission::Admission,
    client::{Client, Grantable, Secret, WorkloadIdentity},
    entity::Entity,
    group::EntityGroup,
    group_member::{EntityRoles, GroupMember},
    identity::{
        IDENTITY_TAKEN, Identity, IdentityKind, OidcIdentity, PasswordHash, PasswordIdentity, normalized, subject,
        username,
    },
    identity_profile::{
        IdentityProfile, MAX_IDENTITY_PROFILES, OidcProfile, PasswordProfile, ProfileKind, UsernameFormat,
    },
    key_set::KeySetRecord,
    member::{Member, Profile},
    membership::{Membership, MembershipState},
    role::Role,
    stored::{Kept, RecordId, State, Stored, check_etag, etag},
    tenant::Tenant,
};
