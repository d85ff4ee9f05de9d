//! TLS and HTTP/2, known by their first bytes.
