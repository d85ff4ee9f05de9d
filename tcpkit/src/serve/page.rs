//! What `GET /` answers.

/// The page for people: it names no other resource but the snapshot.
pub fn page() -> &'static str {
    include_str!("page.html")
}
