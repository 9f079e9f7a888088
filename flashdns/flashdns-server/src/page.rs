//! Page tokens of the API's lists: what is listed, and how far.
//!
//! A token names the prefix that it pages through, so that one list's token cannot be used on another, and so
//! that a list of record sets goes on in the generation that it began with, whatever was imported meanwhile.

use metadata_store::Token;
use tonic::Status;

/// Between the prefix and the store's own token; in no key.
const SEPARATOR: char = '#';

/// Where a list goes on.
#[derive(Debug, Clone)]
pub(crate) struct PageToken {
    /// The keys that are paged through.
    pub(crate) prefix: String,
    /// The caller's first page.
    pub(crate) is_first: bool,
    store: Option<Token>,
}

impl PageToken {
    /// The first page of `prefix`.
    pub(crate) fn first(prefix: String) -> PageToken {
        PageToken { prefix, is_first: true, store: None }
    }

    /// Reads a token of a list under `within`; an empty one is the first page of all of it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what this server did not hand out.
    pub(crate) fn parse(text: &str, within: &str) -> Result<PageToken, Status> {
        if text.is_empty() {
            return Ok(PageToken::first(within.to_owned()));
        }
        let wrong = || Status::invalid_argument("page_token: not one of this list; begin again without it");
        let (prefix, token) = text.split_once(SEPARATOR).ok_or_else(wrong)?;
        if !prefix.starts_with(within) {
            return Err(wrong());
        }
        let store =
            (!token.is_empty()).then(|| token.parse::<Token>()).transpose().map_err(|_malformed| wrong())?;
        Ok(PageToken { prefix: prefix.to_owned(), is_first: false, store })
    }

    /// What the store goes on from.
    pub(crate) fn store(&self) -> Option<&Token> {
        self.store.as_ref()
    }

    /// The token of the page after one; empty after the last.
    pub(crate) fn next(prefix: &str, store: Option<Token>) -> String {
        store.map(|token| format!("{prefix}{SEPARATOR}{token}")).unwrap_or_default()
    }

    /// The token of the first rows, for a first page that has no room for any.
    pub(crate) fn rows(prefix: &str) -> String {
        format!("{prefix}{SEPARATOR}")
    }
}
