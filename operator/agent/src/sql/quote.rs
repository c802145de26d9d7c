//! Literals in statements.

/// A string literal, as the manual's "String Literals" has it. It holds for sessions without
/// `NO_BACKSLASH_ESCAPES`, so every session of the agent and the init file set `sql_mode` first. It never contains
/// a line break: an init file has one statement a line.
pub(crate) fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for character in value.chars() {
        match character {
            '\'' => literal.push_str("''"),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\0' => literal.push_str("\\0"),
            '\x1a' => literal.push_str("\\Z"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// A name, whatever the session's SQL mode is.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The value of an option file's entry as `SET GLOBAL` wants it: option files allow suffixes (`64M`) where
/// statements want digits.
pub(crate) fn setting(value: &str) -> String {
    number(value).unwrap_or_else(|| text(value))
}

fn number(value: &str) -> Option<String> {
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.ends_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
            && digits.matches('.').count() <= 1
    };
    if is_number(value) {
        return Some(value.to_owned());
    }
    let (digits, suffix) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let shift = match suffix {
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    let factor: u64 = digits.parse().ok()?;
    Some(factor.checked_mul(1 << shift)?.to_string())
}

/// A system variable's name: lower-case letters, digits and underscores, and nothing that would need quoting. A component's
/// has its name and a dot before it, as in `validate_password.policy`.
pub(crate) fn variable(name: &str) -> Option<String> {
    let name = name.trim().replace('-', "_").to_ascii_lowercase();
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named = match name.split_once('.') {
        Some((component, variable)) => plain(component) && plain(variable),
        None => plain(&name),
    };
    named.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_has_no_way_out() {
        let table = [
            ("plain", "'plain'"),
            ("", "''"),
            ("it's", "'it''s'"),
            (r"back\slash", r"'back\\slash'"),
            (r"\'; DROP", r"'\\''; DROP'"),
            ("a\nb\rc\0d\x1ae", r"'a\nb\rc\0d\Ze'"),
            ("ünï", "'ünï'"),
        ];
        for (value, expected) in table {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn numbers_and_sizes_are_digits_and_all_else_is_quoted() {
        let table = [
            ("10", "10"),
            ("-1", "-1"),
            ("0.5", "0.5"),
            ("64M", "67108864"),
            ("2g", "2147483648"),
            ("ON", "'ON'"),
            ("1.2.3", "'1.2.3'"),
            ("5.", "'5.'"),
            ("99999999999T", "'99999999999T'"),
            ("1; DROP", "'1; DROP'"),
            ("1é", "'1é'"),
            ("", "''"),
        ];
        for (value, expected) in table {
            assert_eq!(setting(value), expected, "{value}");
        }
    }

    #[test]
    fn only_plain_names_are_variables() {
        assert_eq!(variable("Innodb-IO-capacity").as_deref(), Some("innodb_io_capacity"));
        assert_eq!(variable("validate_password.policy").as_deref(), Some("validate_password.policy"));
        for name in ["", "a b", "a=1", "`a`", "a;b", "1a", "a.", ".a", "a.b.c", "a.1", "@@a"] {
            assert_eq!(variable(name), None, "{name}");
        }
    }
}
