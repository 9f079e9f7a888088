//! One layer of configuration: a file, a variable or a flag, with its origin kept for messages.
//!
//! Each variable and each flag is a layer of its own, so that figment's provenance is exact to the variable.

use std::{
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};

use super::{ConfigError, Origin};

/// Values of one origin.
#[derive(Debug)]
pub(super) struct Layer {
    origin: Origin,
    values: Dict,
}

impl Layer {
    /// Reads a config file: JSON when its name says so, else TOML.
    pub(super) fn file(path: &Path) -> Result<Self, ConfigError> {
        let file = path.to_owned();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { key: None, file, source }),
        };
        match parse(path, &text) {
            Ok(values) => Ok(Self { origin: Origin::File(file), values }),
            Err(message) => Err(ConfigError::Syntax { file, message }),
        }
    }

    /// The layer of `FLAREDB__SERVER__LISTEN=…`; none for a variable that is not the service's.
    pub(super) fn variable(service: &str, name: &str, value: &str) -> Option<Self> {
        let key = name.strip_prefix(&variable_prefix(service))?.to_ascii_lowercase().replace("__", ".");
        Some(Self { origin: Origin::Variable(name.to_owned()), values: single(&key, value) })
    }

    /// The layer of `--set server.listen=…`.
    pub(super) fn setting(setting: &str) -> Result<Self, ConfigError> {
        match setting.split_once('=') {
            Some((key, value)) if key.split('.').all(|part| !part.is_empty()) => {
                Ok(Self { origin: Origin::Flag, values: single(key, value) })
            }
            _ => Err(ConfigError::Setting(setting.to_owned())),
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The layer as figment takes it, named by its index so that [`Origin`] can be found again.
    pub(super) fn provider(&self, index: usize) -> impl Provider {
        Numbered { index, values: self.values.clone() }
    }
}

/// What the variables of a service start with.
fn variable_prefix(service: &str) -> String {
    format!("{}__", service.to_ascii_uppercase().replace('-', "_"))
}

/// The variable that sets `key`, given one of the same service that sets another.
pub(super) fn variable_for(sibling: &str, key: &str) -> String {
    let service = sibling.split("__").next().unwrap_or_default();
    format!("{service}__{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn parse(path: &Path, text: &str) -> Result<Dict, String> {
    if PathBuf::from(path).extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    toml::from_str(text).map_err(|error| error.to_string())
}

fn single(key: &str, value: &str) -> Dict {
    // Never fails: what is no number, bool, array or table is a string.
    let value = value.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
    match nest(key, value) {
        Value::Dict(_, values) => values,
        _ => Dict::new(),
    }
}

struct Numbered {
    index: usize,
    values: Dict,
}

impl Provider for Numbered {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.index.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}
