//! The token that a user's name and password are exchanged for. Made when it is first needed, and again when the
//! cluster no longer knows it.

use std::fmt;

use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};

use crate::User;

/// Who the caller is.
pub(crate) struct Session {
    user: Option<User>,
    /// What the cluster gave.
    token: Mutex<Known>,
}

/// What is known of the token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Known {
    /// It has to be asked for.
    #[default]
    Nothing,
    /// This one, or that there is none.
    Token(Option<MetadataValue<Ascii>>),
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(user: Option<User>) -> Self {
        Self { user, token: Mutex::default() }
    }

    /// Whether there is a user, so that another token can be had.
    pub(crate) fn is_known(&self) -> bool {
        self.user.is_some()
    }

    /// The token to send. Where there is none yet, `authenticate` makes one, once for all who wait for it.
    pub(crate) async fn token<E>(
        &self,
        authenticate: impl AsyncFnOnce(&User) -> Result<Option<MetadataValue<Ascii>>, E>,
    ) -> Result<Option<MetadataValue<Ascii>>, E> {
        let Some(user) = &self.user else { return Ok(None) };
        let mut known = self.token.lock().await;
        if let Known::Token(token) = &*known {
            return Ok(token.clone());
        }
        let token = authenticate(user).await?;
        *known = Known::Token(token.clone());
        Ok(token)
    }

    /// Forgets a token that the cluster did not take, unless another call has got a new one since.
    pub(crate) async fn forget(&self, refused: Option<MetadataValue<Ascii>>) {
        let mut known = self.token.lock().await;
        if *known == Known::Token(refused) {
            *known = Known::Nothing;
        }
    }
}
