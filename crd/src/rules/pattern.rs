//! Regular expressions that CEL and Rust share. What both engines, RE2 and `regex-lite`, read alike is used.

use std::sync::OnceLock;

use regex_lite::Regex;

/// A pattern, compiled when it is first asked in Rust.
pub(super) struct Pattern {
    text: &'static str,
    regex: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// The pattern `text`, without single quotes in it.
    pub(super) const fn new(text: &'static str) -> Self {
        Pattern { text, regex: OnceLock::new() }
    }

    /// Whether `text` matches. A pattern that does not compile matches nothing; the cases would show it.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex
            .get_or_init(|| Regex::new(self.text).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }

    /// The call that asks the same in CEL, to stand behind a value and a point.
    pub(super) fn cel(&self) -> String {
        format!("matches(r'{}')", self.text)
    }
}
