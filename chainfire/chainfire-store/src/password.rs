//! Hashes of passwords, made by who proposes: they are random, and slow on purpose.

/// As etcd's default.
const COST: u32 = 10;

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed")]
pub struct PasswordError(#[source] bcrypt::BcryptError);

/// What is kept of a password, for `hashedPassword`. Takes a good part of a second of CPU time.
///
/// # Errors
/// When there are no random numbers to be had.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    bcrypt::hash(password, COST).map_err(PasswordError)
}

/// Whether a hash is of this password. As slow as making one.
pub(crate) fn matches(password: &str, hash: &str) -> bool {
    bcrypt::verify(password, hash).unwrap_or(false)
}
