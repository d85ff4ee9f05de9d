//! TLS and HTTP/2, known by their first bytes.

/// What the first bytes are.
#[derive(Debug)]
pub enum Recognised {
    /// This.
    Yes(&'static str),
    /// May become something.
    More,
    /// No.
    No,
}

/// Looks.
pub fn recognise(_: &[u8]) -> Recognised {
    Recognised::No
}
