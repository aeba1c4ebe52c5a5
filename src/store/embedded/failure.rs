//! Why an operation of the store failed.

use redb::{StorageError, TableError};

use crate::storage::Error;

/// Why an operation failed.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be done and has written nothing.
    Refused(Error),
    /// The file cannot be read or written: nothing in this transaction can be trusted.
    Storage(StorageError),
}

// === impl Failure ===

impl Failure {
    pub fn into_error(self, attempted: &'static str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Storage(StorageError::Corrupted(what)) => Error::corrupt(what),
            Self::Storage(error) => Error::unavailable(attempted, error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        if let TableError::Storage(error) = error {
            return Self::Storage(error);
        }
        Self::Refused(Error::corrupt(error.to_string()))
    }
}
