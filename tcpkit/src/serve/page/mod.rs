//! What `GET /` answers: one page for people, with its style and its script inside, and the policy that holds it to
//! them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    FRAME
        .replace("/*style*/", STYLE)
        .replace("/*script*/", SCRIPT)
});

/// The page may run this one script, wear this one style and ask this server, and nobody else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    // It is ASCII, so it can be a header.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page: it names no other resource but the snapshot.
pub(super) fn page() -> &'static str {
    &PAGE
}

/// The value of `Content-Security-Policy`, Level 3.
pub(super) fn policy() -> HeaderValue {
    POLICY.clone()
}

/// What a policy calls a text that stands in the page.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_whole() {
        assert!(page().len() < 42_000, "{}", page().len());
        assert!(page().contains(SCRIPT) && page().contains(STYLE));
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }

    #[test]
    fn the_script_makes_no_markup_of_text() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
    }

    #[test]
    fn a_hash_is_that_of_the_specification() {
        // The example of CSP Level 3, section 8.2 is of this text.
        let text = "alert('Hello, world.');";
        assert_eq!(
            hash(text),
            "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
        );
        let policy = policy();
        let policy = policy.to_str().unwrap_or_default();
        assert!(policy.contains(&hash(SCRIPT)) && !policy.contains("unsafe"));
    }
}
