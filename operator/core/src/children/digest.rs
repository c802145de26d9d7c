//! A hash of an object.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Hash of an object's whole content, what a release of the operator decides included: 16 hexadecimal digits.
pub(crate) fn content(object: &impl Serialize) -> String {
    let text = serde_json::to_string(object).unwrap_or_else(|error| error.to_string());
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
