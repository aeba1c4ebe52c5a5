//! Errors of connections and certificates.

/// Why a connection ended before its time.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
