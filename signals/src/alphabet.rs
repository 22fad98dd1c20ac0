//! What texts may be stored as they are.

/// The longest name that any schema may allow, in bytes.
pub(crate) const NAME_BYTES_LIMIT: usize = 128;

/// What a name becomes once its field has as many distinct names as it may.
pub(crate) const OTHER: &str = "other";

/// Whether a text is of the name alphabet, `[a-z0-9_.:/-]`, and not empty. Its length is not checked.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_name_byte)
}

/// Whether a text is fit for an enumeration: the name alphabet and capitals, not empty.
pub(crate) fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| is_name_byte(byte.to_ascii_lowercase()))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.:/-".contains(&byte)
}
