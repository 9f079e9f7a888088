//! What a status is made of: words for people, and where it was made.

use std::{
    error::Error as StdError,
    iter::{once, successors},
};

use tonic::{ConnectError, Status};

/// Whether a status was made on this side, by the connection, and is no word of the server.
pub fn is_local(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether the request certainly did not leave: only a failure to connect proves that.
pub fn was_not_sent(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

/// A status' message, or its code in words.
pub fn message_of(status: &Status) -> String {
    if status.message().is_empty() {
        status.code().description().to_owned()
    } else {
        status.message().to_owned()
    }
}

/// A status in words for people: its message, and what caused it when that adds something.
pub fn words(status: &Status) -> String {
    join(once(message_of(status)).chain(causes(status).map(ToString::to_string)))
}

/// An error in words for people, with all that caused it.
pub fn words_of(error: &(dyn StdError + 'static)) -> String {
    join(successors(Some(error), cause).map(ToString::to_string))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let mut words = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if words.contains(&part) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&part);
    }
    words
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    successors(status.source(), cause)
}

fn cause<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    (*error).source()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn words_say_each_cause_once() {
        let refused = std::io::Error::other("refused");
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(Arc::new(ConnectError(Box::new(refused))));
        assert_eq!(words(&status), "tcp connect error: refused");
    }
}
