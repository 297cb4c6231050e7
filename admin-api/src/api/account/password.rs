//! Password hashes: Argon2id with the library's parameters (OWASP's), off the async threads.

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// The hash to keep of a password.
pub(crate) async fn hash(password: String, salt: [u8; 16]) -> anyhow::Result<String> {
    tokio::task::spawn_blocking(move || {
        let hash: PasswordHash = Argon2::default()
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(hash.to_string())
    })
    .await
    .context("hashing was cut short")?
}

/// Whether `password` is the one that was hashed. Takes as long where there is no hash to compare
/// with, so that the time of an answer does not tell who has an account.
pub(crate) async fn verify(password: String, hash: Option<String>) -> anyhow::Result<bool> {
    tokio::task::spawn_blocking(move || {
        let argon2 = Argon2::default();
        let Some(hash) = hash
            .as_deref()
            .and_then(|hash| PasswordHash::new(hash).ok())
        else {
            let spent: Result<PasswordHash, _> =
                argon2.hash_password_with_salt(password.as_bytes(), &[0; 16]);
            drop(spent);
            return false;
        };
        argon2.verify_password(password.as_bytes(), &hash).is_ok()
    })
    .await
    .context("verifying was cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let hash = hash("correct horse".to_owned(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(
            verify("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(
            !verify("any".to_owned(), Some("!".to_owned()))
                .await
                .unwrap()
        );
        assert!(!verify("any".to_owned(), None).await.unwrap());
    }
}
