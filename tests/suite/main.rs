//! The one test binary: it links once, and its tests share what is expensive to start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod architecture;
mod certificates;
mod chart;
mod edge;
mod examples;
mod faults;
mod federation;
mod follower;
mod http;
mod outbound;
mod outbox;
mod remote;
mod servers;
mod service;
mod simulation;
mod store;
mod telemetry;
mod tls;
mod tools;
mod waits;
