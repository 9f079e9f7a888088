//! Configuration: built-in defaults, then a file (TOML or JSON), then `<SERVICE>__A__B` variables, then `--set a.b=c`.
//!
//! A later layer wins key by key. Whatever is wrong is one [`ConfigError`] that names where the value came from (the
//! file, the variable as it is really called, the flag), the key, what was found and what would be accepted. Unknown
//! keys are errors, with the nearest known one: a misspelt limit that is silently ignored is worse than no limit.
//!
//! Services embed the four sections of [`CommonRef`] in a struct of their own with
//! `#[serde(default, deny_unknown_fields)]` on it and on every section.

mod check;
mod common;
mod error;
mod explain;
mod layer;

use std::path::PathBuf;

use figment::{Figment, providers::Serialized};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::check::check_common;
use self::layer::Layer;
pub use self::{
    common::{AuthConfig, CommonRef, HasCommon, LogConfig, LogFormat, ServerConfig, TlsConfig},
    error::{ConfigError, Origin},
};

/// Where a configuration is read from. Nothing here is read before [`load`] is called.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The service's name; `flaredb` reads variables that start with `FLAREDB__`.
    pub service: &'static str,
    /// The config file, TOML unless its name ends in `.json`.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the prefix are passed over.
    pub variables: Vec<(String, String)>,
    /// `key=value` settings of the command line.
    pub settings: Vec<String>,
}

impl Sources {
    /// Sources with the variables of this process.
    pub fn of_process(service: &'static str, file: Option<PathBuf>, settings: Vec<String>) -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self { service, file, variables, settings }
    }

    fn layers(&self) -> Result<Vec<Layer>, ConfigError> {
        let file = self.file.iter().map(|path| Layer::file(path));
        let variables = self
            .variables
            .iter()
            .filter_map(|(name, value)| Layer::variable(self.service, name, value).map(Ok));
        let settings = self.settings.iter().map(|setting| Layer::setting(setting));
        file.chain(variables).chain(settings).collect()
    }
}

/// Reads a configuration and checks it: first what every service has, then `validate`.
///
/// # Errors
/// The first thing that is wrong, with where it came from.
pub fn load<C>(sources: &Sources, validate: fn(&C) -> Result<(), ConfigError>) -> Result<C, ConfigError>
where
    C: Serialize + DeserializeOwned + Default + HasCommon,
{
    let layers = sources.layers()?;
    let mut figment = Figment::from(Serialized::defaults(C::default()));
    for (index, layer) in layers.iter().enumerate() {
        figment = figment.merge(layer.provider(index));
    }
    let found = Found { figment, layers };
    let config: C = found.figment.extract().map_err(|error| found.explain(error))?;
    check_common(&config.common()).and_then(|()| validate(&config)).map_err(|error| found.locate(error))?;
    Ok(config)
}

/// The merged layers, asked where a value came from.
struct Found {
    figment: Figment,
    layers: Vec<Layer>,
}

impl Found {
    fn origin(&self, metadata: Option<&figment::Metadata>) -> Option<Origin> {
        let index: usize = metadata?.name.parse().ok()?;
        self.layers.get(index).map(|layer| layer.origin().clone())
    }

    /// Adds to an error about a value where that value came from.
    fn locate(&self, error: ConfigError) -> ConfigError {
        error.located(|key| self.origin(self.figment.find_metadata(key)))
    }

    fn explain(&self, error: figment::Error) -> ConfigError {
        let origin = self.origin(error.metadata.as_ref());
        let found = self.figment.find_value(&error.path.join(".")).ok();
        explain::explain(error, origin, found)
    }
}
