//! The contract `jeton.v1` as Rust: messages, their declared rules, the descriptor set, the names of reasons.
//!
//! Messages alone by default. The features `client` and `server` add tonic's stubs, `transport` their `connect`.
//!
//! Invariant: it knows nothing of what a call means, and needs no runtime, store or server. The generator is the build script
//! at the root of the workspace.

pub mod email;
pub mod reason;
pub mod validate;

/// The contract as generated code: messages, clients, servers, and `Validate` for every message.
pub mod wire {
    #![allow(
        missing_debug_implementations,
        unused_qualifications,
        rustdoc::all,
        clippy::all,
        clippy::as_conversions,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "generated code"
    )]

    include!(concat!(env!("OUT_DIR"), "/jeton.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/validation.rs"));
}

/// The contract as an encoded `FileDescriptorSet`, with all imports, comments and options: what reflection shows and
/// what access control reads.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
