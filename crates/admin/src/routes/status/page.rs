//! The page: one document without anything from elsewhere.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

const DOCUMENT: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The document with style and script in it, and the headers that allow just these two to a browser.
pub(super) struct Page {
    document: Bytes,
    headers: HeaderMap,
}

impl Page {
    pub(super) fn new() -> Page {
        let document = DOCUMENT
            .replace("{{style}}", STYLE)
            .replace("{{script}}", SCRIPT);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            source(SCRIPT),
            source(STYLE)
        );
        // Hashes in base64 are always a value; if they were not, nothing would be allowed.
        let policy = HeaderValue::from_str(&policy)
            .unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let fixed = |value| HeaderValue::from_static(value);
        let headers = [
            (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, policy),
            (REFERRER_POLICY, fixed("no-referrer")),
            (X_FRAME_OPTIONS, fixed("DENY")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                fixed("same-origin"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                fixed("same-origin"),
            ),
        ];
        Page {
            document: Bytes::from(document),
            headers: headers.into_iter().collect(),
        }
    }

    pub(super) fn answer(&self) -> Response {
        (self.headers.clone(), self.document.clone()).into_response()
    }
}

/// How the policy names an inline text.
fn source(text: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(digest(&SHA256, text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_one_style_and_one_script_and_nothing_from_elsewhere() {
        let page = Page::new();
        let text = String::from_utf8(page.document.to_vec()).expect("UTF-8");
        for (tag, content) in [("style", STYLE), ("script", SCRIPT)] {
            assert_eq!(text.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(text.contains(&format!("<{tag}>{content}</{tag}>")), "{tag}");
        }
        for absent in [
            " src=",
            "url(",
            "@import",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            " onclick",
            " onload",
            " style=",
            "{{",
        ] {
            assert!(!text.contains(absent), "{absent}");
        }
        // The name space of SVG is no address.
        let addresses = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!addresses.contains("://") && !addresses.contains("\"//"));
        let ids = text.matches(" id=\"").count();
        assert!(ids > 0 && text.len() < 40_000);
    }
}
