//! Kubernetes quantities, exactly: `1536Mi`, `0.5`, `100m`, `12e6`.
//!
//! Grammar and suffixes are those of `k8s.io/apimachinery/pkg/api/resource`. Nothing is rounded and no floating
//! point is involved, so that two quantities compare as the API server compares them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Nanos in one unit: `n` is the smallest suffix.
const UNIT: i128 = 1_000_000_000;

/// What `quantity` says in billionths of its unit; `None` if it is malformed, finer than that or beyond what fits.
pub fn nanos(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.as_str();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let magnitude = number_in_nanos(number, scale(suffix)?)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// The whole number that `quantity` stands for, bytes for a size; `None` if it is malformed, negative, fractional
/// or above 2^63-1, which is where Kubernetes ends.
pub fn whole(quantity: &Quantity) -> Option<u64> {
    let nanos = nanos(quantity)?;
    if nanos % UNIT != 0 {
        return None;
    }
    i64::try_from(nanos / UNIT).ok().and_then(|units| u64::try_from(units).ok())
}

/// Whether `quantity` is well-formed and not less than `least`, which is.
pub fn at_least(quantity: &Quantity, least: &str) -> bool {
    match (nanos(quantity), nanos(&Quantity(least.into()))) {
        (Some(nanos), Some(least)) => nanos >= least,
        _ => false,
    }
}

/// Bytes as a quantity, in the largest binary unit of which they are a whole number.
pub fn of_bytes(bytes: u64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let fits = |unit: &usize| bytes.is_multiple_of(1 << (10 * unit));
    let unit = (0..units.len()).rev().find(fits).filter(|_| bytes > 0).unwrap_or_default();
    format!("{}{}", bytes >> (10 * unit), units[unit])
}

/// A factor as numerator and denominator, in nanos.
struct Scale {
    multiply: i128,
    divide: i128,
}

fn scale(suffix: &str) -> Option<Scale> {
    let multiply = |multiply| Some(Scale { multiply, divide: 1 });
    match suffix {
        "n" => multiply(1),
        "u" => multiply(1_000),
        "m" => multiply(1_000_000),
        "" => multiply(UNIT),
        "k" => multiply(UNIT * 1_000),
        "M" => multiply(UNIT * 1_000_000),
        "G" => multiply(UNIT * 1_000_000_000),
        "T" => multiply(UNIT * 1_000_000_000_000),
        "P" => multiply(UNIT * 1_000_000_000_000_000),
        "E" => multiply(UNIT * 1_000_000_000_000_000_000),
        "Ki" => multiply(UNIT << 10),
        "Mi" => multiply(UNIT << 20),
        "Gi" => multiply(UNIT << 30),
        "Ti" => multiply(UNIT << 40),
        "Pi" => multiply(UNIT << 50),
        "Ei" => multiply(UNIT << 60),
        _ => decimal_exponent(suffix),
    }
}

fn decimal_exponent(suffix: &str) -> Option<Scale> {
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    match exponent {
        0.. => Some(Scale { multiply: UNIT.checked_mul(power)?, divide: 1 }),
        _ => Some(Scale { multiply: UNIT, divide: power }),
    }
}

/// `number` is digits with at most one point among them.
fn number_in_nanos(number: &str, scale: Scale) -> Option<i128> {
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{integer}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    let divide = scale.divide.checked_mul(10_i128.checked_pow(places)?)?;
    let product = digits.checked_mul(scale.multiply)?;
    (product % divide == 0).then_some(product / divide)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity(text.into())
    }

    #[test]
    fn sizes_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("+5", 5),
            ("1k", 1_000),
            ("1Ki", 1_024),
            ("1.5Gi", 1_610_612_736),
            (".5Ki", 512),
            ("2.", 2),
            ("10e3", 10_000),
            ("12E6", 12_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 8_070_450_532_247_928_832),
            ("1000m", 1),
            ("1500e-2", 15),
        ] {
            assert_eq!(whole(&q(text)), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_bytes_is_refused() {
        for text in [
            "", "-1", "Gi", ".", "1.2.3", "1GB", "1gi", " 1Gi", "1 Gi", "1Gi ", "0x10", "100m", "1.5", "8Ei",
            "1e99", "--1", "ten", "1e",
        ] {
            assert_eq!(whole(&q(text)), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        for (bytes, text) in [(0, "0"), (1, "1"), (1536, "1536"), (512 << 20, "512Mi"), (3 << 40, "3Ti")] {
            assert_eq!(of_bytes(bytes), text);
            assert_eq!(whole(&q(text)), Some(bytes));
        }
    }

    #[test]
    fn order_does_not_depend_on_the_suffix() {
        let ascending = ["-1", "0", "1n", "999m", "1", "1001m", "1k", "1Ki", "1M", "1Mi", "1.1Mi"];
        for pair in ascending.windows(2) {
            assert!(nanos(&q(pair[0])) < nanos(&q(pair[1])), "{pair:?}");
        }
        assert_eq!(nanos(&q("1024Mi")), nanos(&q("1Gi")));
        assert_eq!(nanos(&q("0.5")), nanos(&q("500m")));
    }
}
