//! What this client has seen of each Eventual namespace, so that its next read there shows no less.
//!
//! A token is the server's: "everything up to this place of the log". All that is known of it here is that tokens of
//! one log are equally long and order as bytes, which keeps an answer that was overtaken on its way from taking a
//! session back.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// The newest token of each namespace. It holds no more entries than there were namespaces spoken to.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Bytes>>);

impl Sessions {
    /// The token to read with; empty when nothing was seen yet.
    pub(crate) fn of(&self, namespace: &str) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned().unwrap_or_default()
    }

    /// Takes a token that an answer carried.
    pub(crate) fn note(&self, namespace: &str, token: &Bytes) {
        if token.is_empty() {
            return;
        }
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.get_mut(namespace) {
            Some(known) if is_newer(token, known) => *known = token.clone(),
            Some(_) => {}
            None => drop(sessions.insert(namespace.to_owned(), token.clone())),
        }
    }
}

/// Tokens of different lengths are of different formats; then the one that came last counts.
fn is_newer(token: &Bytes, known: &Bytes) -> bool {
    token.len() != known.len() || token > known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overtaken_answer_does_not_take_a_session_back() {
        let sessions = Sessions::default();
        for token in [b"1005", b"1009", b"1007"] {
            sessions.note("n", &Bytes::from_static(token));
        }
        sessions.note("n", &Bytes::new());
        assert_eq!(sessions.of("n"), "1009");
        assert_eq!(sessions.of("other"), "");
    }
}
