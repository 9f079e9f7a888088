//! The tokens file: hashes of the tokens that count, with the name and role of each.
//!
//! It holds no secret that could be used; whoever reads it cannot call. Every entry is compared, in constant time,
//! whether or not an earlier one matched.

use std::{collections::BTreeSet, fs, path::Path, str::FromStr, sync::Arc};

use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::{
    config::ConfigError,
    principal::{Principal, Role},
    token::{Token, digest},
};

const KEY: &str = "auth.tokens_file";

/// The tokens that count.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Known>);

#[derive(Debug)]
struct Known {
    digest: [u8; 32],
    principal: Arc<Principal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    role: Role,
}

impl Tokens {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::unreadable(KEY, path, source))?;
        text.parse().map_err(|problem: String| ConfigError::file(KEY, path, problem.trim_end(), None))
    }

    /// Whose token this is.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Principal>> {
        let digest = digest(token);
        let mut found = u64::MAX;
        for (index, known) in (0_u64..).zip(&self.0) {
            let equal: Choice = known.digest.ct_eq(&digest);
            found.conditional_assign(&index, equal);
        }
        let known = self.0.get(usize::try_from(found).ok()?)?;
        Some(Arc::clone(&known.principal))
    }
}

/// The text of a tokens file with one more token in it; what was there stays as it is.
///
/// # Errors
/// When the text is no tokens file, or has a token of that name already.
pub fn add_token(text: &str, name: &str, token: &Token, role: Role) -> Result<String, TokensError> {
    let entry = toml::Value::from(name);
    let role = match role {
        Role::Admin => "admin",
        Role::Viewer => "viewer",
    };
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let sha256 = token.sha256_hex();
    let longer = format!("{text}{gap}[[token]]\nname = {entry}\nsha256 = \"{sha256}\"\nrole = \"{role}\"\n");
    match longer.parse::<Tokens>() {
        Ok(_) => Ok(longer),
        Err(problem) => Err(TokensError(problem.trim_end().to_owned())),
    }
}

/// A text is no tokens file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokensError(String);

impl FromStr for Tokens {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        let mut tokens = Vec::with_capacity(file.token.len());
        for entry in file.token {
            if !names.insert(entry.name.clone()) {
                return Err(format!("two tokens are named {:?}, expected a name for each", entry.name));
            }
            tokens.push(entry.known()?);
        }
        Ok(Self(tokens))
    }
}

impl Entry {
    fn known(self) -> Result<Known, String> {
        let digest = hex(&self.sha256)
            .ok_or_else(|| format!("sha256 of token {:?} is not 64 hexadecimal digits", self.name))?;
        Ok(Known { digest, principal: Arc::new(Principal::Operator { name: self.name, role: self.role }) })
    }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &Token, role: &str) -> String {
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\nrole = \"{role}\"\n", token.sha256_hex())
    }

    #[test]
    fn each_token_finds_its_owner_and_others_find_nobody() {
        let (first, second) = (Token::generate(), Token::generate());
        let text = entry("ada", &first, "admin") + &entry("bob", &second, "viewer");
        let tokens: Tokens = text.parse().unwrap();
        let name = |token: &Token| tokens.find(token.expose()).map(|principal| principal.to_string());
        assert_eq!(name(&first).as_deref(), Some("admin ada"));
        assert_eq!(name(&second).as_deref(), Some("viewer bob"));
        assert_eq!(name(&Token::generate()), None);
        assert_eq!(tokens.find(""), None);
    }

    #[test]
    fn added_token_counts_and_its_name_is_not_taken_twice() {
        let (first, second) = (Token::generate(), Token::generate());
        let one = add_token("# people", "ada \"x\"", &first, Role::Admin).unwrap();
        let two = add_token(&one, "bob", &second, Role::Viewer).unwrap();
        let tokens: Tokens = two.parse().unwrap();
        assert_eq!(tokens.find(first.expose()).unwrap().to_string(), "admin ada \"x\"");
        assert_eq!(tokens.find(second.expose()).unwrap().to_string(), "viewer bob");
        assert!(two.starts_with("# people\n"));
        assert!(add_token(&two, "bob", &first, Role::Admin).unwrap_err().to_string().contains("bob"));
        assert!(add_token("rubbish", "bob", &first, Role::Admin).is_err());
    }

    #[test]
    fn malformed_files_are_refused_with_a_reason() {
        let token = Token::generate();
        for (text, reason) in [
            (entry("ada", &token, "root"), "unknown variant `root`, expected `admin` or `viewer`"),
            (entry("ada", &token, "admin").replace("role", "rule"), "unknown field `rule`"),
            (entry("ada", &token, "admin").repeat(2), "two tokens are named \"ada\""),
            (
                "[[token]]\nname = \"ada\"\nsha256 = \"é0\"\nrole = \"admin\"\n".to_owned(),
                "not 64 hexadecimal digits",
            ),
        ] {
            let problem = text.parse::<Tokens>().unwrap_err();
            assert!(problem.contains(reason), "{problem}");
        }
    }
}
