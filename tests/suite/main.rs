//! The one test binary: it links once, and its tests share what is expensive to start.

mod servers;
mod store;
