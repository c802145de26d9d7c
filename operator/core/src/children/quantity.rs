//! Kubernetes quantities as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value of a quantity in whole units (bytes, for memory and storage), rounded up as Kubernetes does.
///
/// None if it is not a quantity, is negative, or is too large for a `u128`. The grammar is that of
/// `k8s.io/apimachinery/pkg/api/resource`: digits with an optional fraction, then nothing, a binary or decimal
/// suffix, or a decimal exponent. No float is involved, so that `1.5Gi` and large sizes are exact.
pub fn units(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.strip_prefix('+').unwrap_or(&quantity.0);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (multiplier, divisor) = scale(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let divisor = divisor.checked_mul(10u128.checked_pow(places)?)?;
    Some(digits.parse::<u128>().ok()?.checked_mul(multiplier)?.div_ceil(divisor))
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1000u128.pow(2), 1),
        "G" => (1000u128.pow(3), 1),
        "T" => (1000u128.pow(4), 1),
        "P" => (1000u128.pow(5), 1),
        "E" => (1000u128.pow(6), 1),
        "Ki" => (1024, 1),
        "Mi" => (1024u128.pow(2), 1),
        "Gi" => (1024u128.pow(3), 1),
        "Ti" => (1024u128.pow(4), 1),
        "Pi" => (1024u128.pow(5), 1),
        "Ei" => (1024u128.pow(6), 1),
        _ => return exponent(suffix.strip_prefix(['e', 'E'])?),
    })
}

/// What a decimal exponent multiplies and divides by.
fn exponent(text: &str) -> Option<(u128, u128)> {
    let exponent: i32 = text.parse().ok()?;
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u128> {
        units(&Quantity(text.into()))
    }

    #[test]
    fn every_form_that_kubernetes_takes_is_read_exactly() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("+1", 1),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129E6", 129_000_000),
            ("129e+6", 129_000_000),
            ("5e-1", 1),
            ("129M", 129_000_000),
            ("123Mi", 128_974_848),
            ("128974848000m", 128_974_848),
            ("1500m", 2),
            ("1u", 1),
            ("1n", 1),
            ("1k", 1000),
            ("1Ki", 1024),
            ("1.5Gi", 1_610_612_736),
            (".5Gi", 536_870_912),
            ("1.Gi", 1_073_741_824),
            ("0.1", 1),
            ("1T", 1_000_000_000_000),
            ("1P", 1_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 8_070_450_532_247_928_832),
            ("1.1Ti", 1_209_462_790_554),
        ] {
            assert_eq!(of(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_has_no_value() {
        for text in
            ["", "Gi", ".", "1gi", "1 Gi", "-1", "+-1", "1.2.3", "1e", "e3", "1e99", "0x10", "1Gib", "١"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
