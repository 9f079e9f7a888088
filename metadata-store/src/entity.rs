//! Typed records: JSON that says what it is and in which form, so that a later program can read what an earlier one
//! wrote.
//!
//! ```json
//! {"kind": "Zone", "schema": 1, "record": {"name": "example.org.", …}}
//! ```
//! A program reads every schema up to its own, by [`Entity::upgrade`], and refuses a newer one instead of losing
//! fields of it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Cause, StoreError};

/// A record type of a service.
pub trait Entity: Serialize + DeserializeOwned {
    /// What it is called in the store. Never changes.
    const KIND: &'static str;
    /// The form that this program writes, from 1. Rises when an earlier program would misread it.
    const SCHEMA: u32;

    /// Brings a record of the earlier schema `from` to schema `from + 1`; called until it is of [`Self::SCHEMA`].
    ///
    /// # Errors
    /// When it cannot be done, as for every schema unless overridden.
    fn upgrade(from: u32, record: Value) -> Result<Value, UpgradeError> {
        drop(record);
        Err(UpgradeError(format!("no way from schema {from} of {}", Self::KIND)))
    }
}

/// Why a record of an earlier schema cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpgradeError(pub String);

#[derive(Serialize)]
struct Outgoing<'a, E> {
    kind: &'static str,
    schema: u32,
    record: &'a E,
}

/// What a value says about itself; read before the rest, whose form depends on it.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    schema: u32,
}

#[derive(Deserialize)]
struct Body<T> {
    record: T,
}

/// What is wrong with a stored record.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("it is a {found}, not a {expected}")]
    Kind { found: String, expected: &'static str },
    #[error("it has schema {found}, this program knows up to {known}; use a newer one")]
    Newer { found: u32, known: u32 },
}

/// The value of a record.
///
/// # Errors
/// [`StoreError::Invalid`] when the type is one that JSON cannot hold.
pub fn encode<E: Entity>(record: &E) -> Result<Bytes, StoreError> {
    let outgoing = Outgoing { kind: E::KIND, schema: E::SCHEMA, record };
    let bytes = serde_json::to_vec(&outgoing);
    bytes
        .map(Bytes::from)
        .map_err(|error| StoreError::invalid("value", error.to_string(), "what JSON can hold"))
}

/// The record in the value of `key`.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is none of this kind, or of a schema that this program does not know.
pub fn decode<E: Entity>(key: &str, value: &[u8]) -> Result<E, StoreError> {
    read(value).map_err(|source| StoreError::corrupt(key, source))
}

fn read<E: Entity>(value: &[u8]) -> Result<E, Cause> {
    let Head { kind, schema } = serde_json::from_slice(value)?;
    if kind != E::KIND {
        return Err(Misfit::Kind { found: kind.into_owned(), expected: E::KIND }.into());
    }
    if schema > E::SCHEMA {
        return Err(Misfit::Newer { found: schema, known: E::SCHEMA }.into());
    }
    if schema == E::SCHEMA {
        return Ok(serde_json::from_slice::<Body<E>>(value)?.record);
    }
    let Body { record } = serde_json::from_slice::<Body<Value>>(value)?;
    let upgraded = (schema..E::SCHEMA).try_fold(record, |record, from| E::upgrade(from, record))?;
    Ok(serde_json::from_value(upgraded)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pool {
        name: String,
        members: Vec<String>,
    }

    impl Entity for Pool {
        const KIND: &'static str = "Pool";
        const SCHEMA: u32 = 3;

        fn upgrade(from: u32, mut record: Value) -> Result<Value, UpgradeError> {
            match from {
                1 => record["member"] = "a".into(),
                2 => record["members"] = vec![record["member"].take()].into(),
                _ => return Err(UpgradeError(format!("no schema {from}"))),
            }
            Ok(record)
        }
    }

    fn message(value: &str) -> String {
        let error = decode::<Pool>("/x/1", value.as_bytes()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        format!("{error}: {source}")
    }

    #[test]
    fn record_is_read_back_and_says_what_it_is() {
        let pool = Pool { name: "web".to_owned(), members: vec!["a".to_owned()] };
        let value = encode(&pool).unwrap();
        assert_eq!(&value[..], br#"{"kind":"Pool","schema":3,"record":{"name":"web","members":["a"]}}"#);
        assert_eq!(decode::<Pool>("/x/1", &value).unwrap(), pool);
    }

    #[test]
    fn record_of_an_earlier_schema_is_upgraded_step_by_step() {
        let old = br#"{"kind":"Pool","schema":1,"record":{"name":"web"}}"#;
        assert_eq!(decode::<Pool>("/x/1", old).unwrap().members, ["a"]);
    }

    #[test]
    fn record_of_a_newer_schema_or_another_kind_is_refused() {
        let newer = message(r#"{"kind":"Pool","schema":4,"record":{}}"#);
        assert_eq!(
            newer,
            "/x/1: the stored record cannot be read: it has schema 4, this program knows up to 3; use a newer one"
        );
        assert!(message(r#"{"kind":"Zone","schema":1,"record":{}}"#).ends_with("it is a Zone, not a Pool"));
        assert!(message(r#"{"kind":"Pool","schema":0,"record":{}}"#).ends_with("no schema 0"));
        assert!(message("[]").contains("cannot be read"));
    }
}
