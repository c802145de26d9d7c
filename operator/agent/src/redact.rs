//! Takes secrets out of text.

use crate::credentials::Password;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// `text` without the secrets, in whatever form the server or a client writes them: plain, and as SQL or JSON quotes
/// them. The longest forms go first, or the rest of one would be left.
pub(crate) fn redact(text: &str, secrets: &[Password]) -> String {
    let mut forms: Vec<String> =
        secrets.iter().flat_map(|secret| forms(secret.reveal())).filter(|form| !form.is_empty()).collect();
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    forms.iter().fold(text.to_owned(), |text, form| text.replace(form, HIDDEN))
}

/// All ways to write `secret` between quotes: quotes doubled or escaped, backslashes doubled, control characters
/// escaped; and once more, since the log quotes statements as well.
fn forms(secret: &str) -> Vec<String> {
    let once = quoted(secret);
    let twice = once.iter().flat_map(|form| quoted(form)).collect::<Vec<_>>();
    once.into_iter().chain(twice).chain([secret.to_owned()]).collect()
}

fn quoted(text: &str) -> Vec<String> {
    let quotes: [&[(char, &str)]; 4] =
        [&[('\'', "''")], &[('\'', "\\'")], &[('"', "\\\"")], &[('\'', "\\'"), ('"', "\\\"")]];
    let mut forms: Vec<String> = quotes
        .iter()
        .flat_map(|quotes| [escaped(text, quotes, CONTROLS), escaped(text, quotes, &[])])
        .collect();
    // Sessions with NO_BACKSLASH_ESCAPES.
    forms.push(text.replace('\'', "''"));
    forms
}

/// How control characters are written, where they are.
const CONTROLS: &[(char, &str)] =
    &[('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t"), ('\0', "\\0"), ('\x1a', "\\Z")];

/// `text` with backslashes doubled and these characters replaced.
fn escaped(text: &str, quotes: &[(char, &str)], controls: &[(char, &str)]) -> String {
    let mut form = String::with_capacity(text.len());
    for character in text.chars() {
        match quotes.iter().chain(controls).chain(&[('\\', "\\\\")]).find(|(known, _)| *known == character) {
            Some((_, written)) => form.push_str(written),
            None => form.push(character),
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::quote::text;

    #[test]
    fn no_part_of_a_secret_is_left_in_any_form_in_which_it_is_quoted() {
        for secret in ["plain-hidden", "hid'den", r"hid\den", "hid\"den", "hid'\\\"den'\n", "'hidden"] {
            let json = serde_json::to_string(secret).unwrap();
            let nested = serde_json::to_string(&text(secret)).unwrap();
            for line in [
                secret.to_owned(),
                format!("near '{}'", secret),
                format!("ALTER USER x IDENTIFIED BY {}", text(secret)),
                format!("IDENTIFIED BY '{}'", secret.replace('\'', "''")),
                format!("IDENTIFIED BY '{}'", secret.replace('\\', "\\\\").replace('\'', "\\'")),
                json.clone(),
                nested.clone(),
            ] {
                let shown = redact(&line, &[Password::new("x-other"), Password::new(secret)]);
                assert!(!shown.contains("hid") && !shown.contains("den"), "{secret:?} in {shown}");
            }
        }
    }

    #[test]
    fn an_empty_secret_changes_nothing() {
        assert_eq!(redact("text", &[Password::new("")]), "text");
    }
}
