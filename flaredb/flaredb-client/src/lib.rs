//! flaredb-client
