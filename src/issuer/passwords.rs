//! Hashing what humans choose (Argon2id, RFC 9106), off the worker threads and never more of it than the machine can do.

use std::{sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _, phc},
};
use jeton_contract::reason::Reason;
use jeton_core::secret::SecretText;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    ambient,
    directory::record::PasswordHash,
    error::{Error, Result},
};

/// Where passwords are hashed: as many at once as there are cores, and some that wait.
#[derive(Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// A place among those that hash or wait for it.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held, and given back by its end")] OwnedSemaphorePermit);

/// What a password is to a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and the hash was made under parameters of another time.
    Outdated,
}

/// Memory of one hash in KiB, passes over it, and lanes: the OWASP recommendation of 2023.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How many more passwords may wait than are hashed.
pub const MAX_WAITING: usize = 64;

// === impl Passwords ===

impl Passwords {
    /// With one hash at a time for each core.
    pub fn for_this_machine() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }

    fn new(parallel: usize) -> Self {
        let places = Arc::new(Semaphore::new(parallel + MAX_WAITING));
        Self { places, running: Arc::new(Semaphore::new(parallel)) }
    }

    /// A place for a password, or OVERLOADED.
    pub fn place(&self) -> Result<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map(Place).map_err(|_| Error::new(Reason::Overloaded, "too many passwords are being checked"))
    }

    /// The hash of a new password, under a new salt.
    pub async fn hash(&self, _: &Place, password: SecretText) -> Result<PasswordHash> {
        let salt = ambient::random::<16>()?;
        self.run(move || hash(&password, &salt)).await
    }

    /// What a password is to a hash. Without one it is wrong, and that takes as long to find out.
    pub async fn verify(&self, _: &Place, password: SecretText, known: Option<PasswordHash>) -> Result<Verdict> {
        self.run(move || match known {
            Some(known) => verify(&password, &known),
            None => hash(&password, &[0; 16]).map(|unused| {
                // The work must be done although nobody wants its result.
                std::hint::black_box(unused);
                Verdict::Wrong
            }),
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let failed = "hash a password";
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|source| Error::internal(failed).with_source(source))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Not before the work is done, whatever has become of the call.
            drop(running);
            done
        });
        done.await.map_err(|source| Error::internal(failed).with_source(source))?
    }
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|_| Error::internal("read the parameters of password hashes"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &SecretText, salt: &[u8; 16]) -> Result<PasswordHash> {
    let hashed = argon2()?.hash_password_with_salt(password.expose().as_bytes(), salt);
    hashed.map(|hash| PasswordHash(hash.to_string())).map_err(|_| Error::internal("hash a password"))
}

fn verify(password: &SecretText, known: &PasswordHash) -> Result<Verdict> {
    let unreadable = || Error::internal("read a password's hash");
    let known = phc::PasswordHash::new(&known.0).map_err(|_| unreadable())?;
    let argon2 = argon2()?;
    match argon2.verify_password(password.expose().as_bytes(), &known) {
        Ok(()) => {}
        Err(HashError::PasswordInvalid) => return Ok(Verdict::Wrong),
        Err(_) => return Err(unreadable()),
    }
    let used = Params::try_from(&known).map_err(|_| unreadable())?;
    let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    let is_current = known.algorithm.as_str() == "argon2id" && costs(&used) == costs(argon2.params());
    Ok(if is_current { Verdict::Right } else { Verdict::Outdated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(password: &str) -> SecretText {
        SecretText::new(password.to_owned())
    }

    #[test]
    fn a_hash_is_argon2id_salted_and_fits_one_password() {
        let (one, other) = (hash(&text("password"), &[1; 16]).unwrap(), hash(&text("password"), &[2; 16]).unwrap());
        assert!(one.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.0);
        assert_ne!(one, other);
        assert_eq!(verify(&text("password"), &one).unwrap(), Verdict::Right);
        assert_eq!(verify(&text("Password"), &one).unwrap(), Verdict::Wrong);
        assert_eq!(format!("{one:?}"), "PasswordHash(..)");
        assert!(verify(&text("password"), &PasswordHash("nonsense".to_owned())).is_err());
    }

    #[test]
    fn a_hash_under_other_parameters_is_outdated() {
        let params = Params::new(8 * 1024, 3, 1, None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let old = PasswordHash(old.hash_password_with_salt(b"password", &[1; 16]).unwrap().to_string());
        assert_eq!(verify(&text("password"), &old).unwrap(), Verdict::Outdated);
        assert_eq!(verify(&text("x"), &old).unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn who_finds_no_place_is_sent_away() {
        let passwords = Passwords::new(1);
        let mut places: Vec<_> = (0..=MAX_WAITING).map(|_| passwords.place().unwrap()).collect();
        let refused = passwords.place().unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        assert!(refused.retry_after().is_some());
        places.pop();
        let place = passwords.place().unwrap();
        assert_eq!(passwords.verify(&place, text("x"), None).await.unwrap(), Verdict::Wrong);
    }
}
