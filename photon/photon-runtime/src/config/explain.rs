//! Turns figment's error into one that names the real variable, the found value and the nearest key. Pure.

use figment::{
    error::{Error, Kind},
    value::Value,
};

use super::{ConfigError, Origin, layer::variable_for};

/// Explains an error of extraction; `found` is the value at the error's path, if there is one.
pub(super) fn explain(error: Error, origin: Option<Origin>, found: Option<Value>) -> ConfigError {
    let key = error.path.join(".");
    let found = found.and_then(|value| serde_json::to_string(&value).ok());
    let (actual, accepted) = match error.kind {
        Kind::UnknownField(field, known) => return unknown(origin, &error.path, &field, known),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            (actual.to_string(), kind_for_people(&expected))
        }
        Kind::UnknownVariant(actual, known) => {
            (format!("{actual:?}"), format!("one of {}", known.join(", ")))
        }
        Kind::InvalidLength(actual, expected) => (format!("{actual} values"), expected),
        Kind::MissingField(field) => return missing(origin, &key, &field),
        Kind::Message(message) => ("something else".to_owned(), message),
        other => {
            ("a value of another kind".to_owned(), format!("one that does not cause: {}", Error::from(other)))
        }
    };
    ConfigError::Invalid { origin, key, found: found.unwrap_or(actual), accepted }
}

fn missing(origin: Option<Origin>, key: &str, field: &str) -> ConfigError {
    let key = if key.is_empty() { field.to_owned() } else { format!("{key}.{field}") };
    ConfigError::Invalid {
        origin,
        key,
        found: "nothing".to_owned(),
        accepted: "a value: it has no default".to_owned(),
    }
}

fn unknown(origin: Option<Origin>, path: &[String], field: &str, known: &[&str]) -> ConfigError {
    let section = path.split_last().map(|(_, section)| section.join(".")).unwrap_or_default();
    let full = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    let suggestion = match (nearest(field, known), &origin) {
        (Some(near), Some(Origin::Variable(name))) => {
            format!("did you mean {}?", variable_for(name, &full(near)))
        }
        (Some(near), _) => format!("did you mean {}?", full(near)),
        (None, _) => format!("known here are {}", known.join(", ")),
    };
    ConfigError::UnknownKey { origin, key: full(field), suggestion }
}

/// The known name that a person most likely meant, if one is near enough to be a misspelling.
fn nearest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(field, name);
    let nearest = known.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= nearest.len().max(6) / 3).then_some(nearest)
}

/// serde's names of types as a person would say them.
fn kind_for_people(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" | "u128" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a string in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelling_finds_its_key_and_nonsense_finds_none() {
        let known = ["listen", "admin_listen", "request_timeout_ms"];
        assert_eq!(nearest("listn", &known), Some("listen"));
        assert_eq!(nearest("request_timeout", &known), Some("request_timeout_ms"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
