//! Names that callers choose, and the numbers that stand for them on disk.

use std::fmt;
use std::sync::Arc;

/// The longest tenant or site name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A tenant's name: 1 to 64 bytes of `[A-Za-z0-9_-]`, no leading `-`, not reserved.
///
/// It never becomes part of a path: on disk a tenant is its [`TenantNumber`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// A site's name within a tenant: 1 to 64 bytes of `[A-Za-z0-9_.-]`, starting with a letter or a digit,
/// without two dots in a row. It is the value of the label `site`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Arc<str>);

/// The number that stands for a tenant on disk. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantNumber(pub u32);

/// What names a batch within (tenant, site), so that a retry is known as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 16]);

impl BatchId {
    /// Of a batch that is not remembered, and so is never known as a retry: for levels, of which a repetition changes nothing.
    /// What adds up, as deltas and signals do, counts again each time it is written so.
    /// All ones: who numbers batches never gets there.
    pub const NONE: BatchId = BatchId([0xff; 16]);
}

/// A tenant or site name that is refused. The name itself is not repeated: it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} name: {fault}")]
pub struct InvalidName {
    /// `"tenant"` or `"site"`.
    pub what: &'static str,
    /// What is wrong with it.
    pub fault: NameFault,
}

/// What can be wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Over the limit.
    #[error("it has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A byte outside the alphabet, or one that may not stand there.
    #[error(
        "the character at byte {at} is not allowed there; use letters, digits, `_`, `-` (sites also `.`)"
    )]
    Character {
        /// Offset of the byte.
        at: usize,
    },
    /// Kept for the engine or refused by some file system.
    #[error("it is reserved")]
    Reserved,
}

impl TenantId {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<TenantId, InvalidName> {
        let fault = |fault| InvalidName { what: "tenant", fault };
        check_name(name, |at, byte| byte == b'_' || (byte == b'-' && at > 0)).map_err(fault)?;
        if name.starts_with("__") || name.eq_ignore_ascii_case("con") {
            return Err(fault(NameFault::Reserved));
        }
        Ok(TenantId(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SiteName {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<SiteName, InvalidName> {
        let fault = |fault| InvalidName { what: "site", fault };
        check_name(name, |at, byte| matches!(byte, b'_' | b'-' | b'.') && at > 0).map_err(fault)?;
        if let Some(at) = name.find("..") {
            return Err(fault(NameFault::Character { at }));
        }
        Ok(SiteName(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_name(name: &str, punctuation: impl Fn(usize, u8) -> bool) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameFault::TooLong { bytes: name.len() });
    }
    match name.bytes().enumerate().find(|&(at, b)| !b.is_ascii_alphanumeric() && !punctuation(at, b)) {
        Some((at, _)) => Err(NameFault::Character { at }),
        None => Ok(()),
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TenantNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_imitate_paths_are_refused() {
        let long = "x".repeat(65);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a\0",
            "a\n",
            "%2e%2e",
            "~",
            "-a",
            "é",
            "\u{ff0e}\u{ff0e}",
            "__system",
            "con",
            "lost+found",
            "a b",
            long.as_str(),
        ] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", ".", "..", ".a", "a..b", "a/b", "-a", "a\0", "a b", long.as_str()] {
            assert!(SiteName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ordinary_names_are_taken() {
        for good in ["acme", "Acme-2", "a_b", "7"] {
            assert_eq!(TenantId::new(good).expect("valid").as_str(), good);
        }
        for good in ["shop.example.com", "site-1", "0"] {
            assert_eq!(SiteName::new(good).expect("valid").as_str(), good);
        }
    }

    #[test]
    fn the_error_does_not_repeat_the_name() {
        let text = TenantId::new("se/cret").expect_err("invalid").to_string();
        assert!(!text.contains("cret"), "{text}");
        assert!(text.contains("byte 2"), "{text}");
    }
}
