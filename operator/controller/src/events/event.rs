//! What is told in an event.

/// The longest note that the API takes, in bytes.
const NOTE: usize = 1024;
/// What a note ends in that is longer.
const CUT: &str = " ... (cut short: copy no command from here)";

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    warning: bool,
    reason: String,
    note: String,
}

impl Event {
    /// Something went as it should.
    pub(crate) fn normal(reason: &str, note: &str) -> Self {
        Event { warning: false, reason: reason.into(), note: note.into() }
    }
    /// Something a person should look at.
    pub(crate) fn warning(reason: &str, note: &str) -> Self {
        Event { warning: true, reason: reason.into(), note: note.into() }
    }
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
    /// The text, as long as the API takes it. That it was cut is said: a command at its end may lack a half.
    pub(super) fn note(&self) -> String {
        let mut note = self.note.clone();
        if note.len() <= NOTE {
            return note;
        }
        while note.len() > NOTE - CUT.len() {
            note.pop();
        }
        note + CUT
    }
    pub(super) fn type_(&self) -> &'static str {
        if self.warning { "Warning" } else { "Normal" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_where_a_character_ends() {
        for text in ["ä".repeat(600), format!("a{}", "ä".repeat(600))] {
            let note = Event::normal("x", &text).note();
            assert!((1000..=1024).contains(&note.len()) && note.ends_with(CUT), "{note}");
        }
        let fits = "a".repeat(1024);
        assert_eq!(Event::normal("x", &fits).note(), fits);
    }
}
