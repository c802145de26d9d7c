//! Text in statements.

use std::fmt::Write;

/// A string literal under the default `sql_mode`, which every session of the agent and the init file has.
pub(crate) fn string(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:/".contains(&b)) {
        return format!("'{text}'");
    }

    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            other => {
                let _ = write!(quoted, "{other}");
            }
        }
    }
    quoted.push('\'');
    quoted
}

/// The name of a system variable as an option file has it, or nothing if it could be anything else.
pub(crate) fn variable(name: &str) -> Option<String> {
    let name = name.trim().to_ascii_lowercase().replace('-', "_");
    let first = name.bytes().next()?;
    let well_formed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    (first.is_ascii_lowercase() && well_formed).then_some(name)
}

/// The value of a system variable: a number, with the suffixes of an option file written out, or a string.
pub(crate) fn value(text: &str) -> String {
    let text = text.trim().trim_matches(['"', '\'']);
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let whole = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    let decimal = text.parse::<f64>().is_ok_and(f64::is_finite)
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    match whole {
        Some(number) => number.to_string(),
        None if decimal => text.to_owned(),
        None => string(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_literal() {
        let cases = [
            ("plain-1", "'plain-1'"),
            ("", "''"),
            ("it's", "'it''s'"),
            (r"back\slash", r"'back\\slash'"),
            ("two\nlines", r"'two\nlines'"),
            (r"\' OR 1=1", r"'\\'' OR 1=1'"),
        ];
        for (text, literal) in cases {
            assert_eq!(string(text), literal);
        }
    }

    #[test]
    fn values_are_numbers_where_they_can_be() {
        let cases = [
            ("128M", "134217728"),
            ("1G", "1073741824"),
            ("200", "200"),
            ("0.5", "0.5"),
            ("-1", "-1"),
            ("ON", "'ON'"),
        ];
        for (text, literal) in cases {
            assert_eq!(value(text), literal);
        }
    }

    #[test]
    fn a_name_is_a_name_or_nothing() {
        assert_eq!(variable("max-connections").as_deref(), Some("max_connections"));
        for name in ["", "1a", "a b", "a;b", "a.b", "@@a"] {
            assert_eq!(variable(name), None, "{name}");
        }
    }
}
