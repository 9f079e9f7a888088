//! flashdns-server
