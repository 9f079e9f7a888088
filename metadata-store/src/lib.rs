//! metadata-store
