//! How an error is told to a person: the whole chain of causes in one line.
//!
//! Messages never repeat their source, so the chain can be joined without saying anything twice.

use std::{error::Error, fmt};

/// Shows an error with all its sources, outermost first, joined by `: `.
///
/// ```
/// # use std::{fs, io};
/// let error = fs::read("/nowhere/at/all").unwrap_err();
/// assert!(photon_runtime::errors::chain(&error).to_string().contains("No such file"));
/// ```
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

/// See [`chain`].
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
