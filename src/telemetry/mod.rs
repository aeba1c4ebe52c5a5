//! What the service says about itself: the log, and how traces and metrics leave.
//!
//! Promises: writing to the log never makes a call wait; what was logged before the end is written. Invariant: knows
//! nothing of the domain, and is the only place that decides where log lines go.

mod lines;
mod log;
pub mod otlp;
pub mod process;

pub use log::{AlreadyLogging, Guard, Levels, init};
