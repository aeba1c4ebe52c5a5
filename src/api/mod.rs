//! The gRPC edge: turns bytes on a connection into calls of the domain, and its answers into replies.
//!
//! What it promises: a handler sees only calls that are admitted (limits, metadata, credentials, declared access) and
//! whose deadline still runs; every failure leaves as a `google.rpc.Status` with an `ErrorInfo`; internal text never
//! leaves; a mutation that was started runs to its end.
//!
//! Invariant: it knows nothing of stores, keys or rules. What a call means is said in `issuer` and `directory`; who may
//! make it is said in the contract (`proto/jeton/v1/`), which [`policy`] reads and [`edge`] enforces.
//!
//! Start reading at [`edge`]: it is the path of a call. [`server`] is where connections come from.

pub mod edge;
pub mod health;
pub mod listen;
pub mod policy;
pub mod server;
pub mod status;
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

    tonic::include_proto!("jeton.v1");
    include!(concat!(env!("OUT_DIR"), "/validation.rs"));
}

/// The contract as an encoded `FileDescriptorSet`, with all imports, comments and options: what reflection shows and
/// what access control reads.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
