//! Label sets: sorted (name, value) pairs in one allocation.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The most labels a series may have.
pub const LABELS_MAX: usize = 64;
/// The longest label name, in bytes.
pub const LABEL_NAME_BYTES_MAX: usize = 128;
/// The longest label value, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 2048;
/// The largest label set: names and values together, in bytes.
pub const LABEL_SET_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(LABEL_NAME_BYTES_MAX <= u8::MAX as usize && LABEL_VALUE_BYTES_MAX <= u16::MAX as usize);

/// A series' labels: names distinct and ascending, no empty name, no empty value.
///
/// Made only by the constructors here, which check all of that; cloning shares the bytes. Two sets are
/// equal where their pairs are; the order is by pairs, name before value, as a block sorts its series.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LabelSet {
    /// Per pair: name length (1 byte), name, value length (2 bytes, little-endian), value.
    bytes: Arc<[u8]>,
}

/// Why labels are refused. Positions instead of content: labels may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// More labels than allowed.
    #[error("{count} labels, at most {LABELS_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// An empty label name.
    #[error("label {position} has an empty name")]
    EmptyName {
        /// Which label, from 0, in name order.
        position: usize,
    },
    /// A name over the limit.
    #[error("the name of label {position} has {bytes} bytes, at most {LABEL_NAME_BYTES_MAX} are allowed")]
    NameTooLong {
        /// Which label, from 0, in name order.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// A value over the limit.
    #[error("the value of label {position} has {bytes} bytes, at most {LABEL_VALUE_BYTES_MAX} are allowed")]
    ValueTooLong {
        /// Which label, from 0, in name order.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// Two labels of one name.
    #[error("label {position} repeats the name of the one before it")]
    Duplicate {
        /// Which label, from 0, in name order.
        position: usize,
    },
    /// All labels together over the limit.
    #[error("the labels have {bytes} bytes in all, at most {LABEL_SET_BYTES_MAX} are allowed")]
    SetTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// Bytes that are not UTF-8 (only from bytes).
    #[error("label {position} is not UTF-8")]
    NotUtf8 {
        /// Which label, from 0.
        position: usize,
    },
}

impl LabelSet {
    /// Sorts, checks and takes pairs. A pair with an empty value is the same as no pair.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<LabelSet, InvalidLabels>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().filter(|(_, v)| !v.as_ref().is_empty()).collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        Self::from_sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())))
    }

    /// Checks and takes pairs that are already in name order (refused as duplicate where they are not).
    pub fn from_sorted<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<LabelSet, InvalidLabels> {
        let (mut size, mut content, mut before) = (0usize, 0usize, "");
        for (position, (name, value)) in pairs.clone().enumerate() {
            if position >= LABELS_MAX {
                return Err(InvalidLabels::TooMany {
                    count: position.saturating_add(1 + pairs.clone().skip(position + 1).count()),
                });
            }
            if name.is_empty() {
                return Err(InvalidLabels::EmptyName { position });
            }
            if name.len() > LABEL_NAME_BYTES_MAX {
                return Err(InvalidLabels::NameTooLong { position, bytes: name.len() });
            }
            if value.len() > LABEL_VALUE_BYTES_MAX {
                return Err(InvalidLabels::ValueTooLong { position, bytes: value.len() });
            }
            if position > 0 && name <= before {
                return Err(InvalidLabels::Duplicate { position });
            }
            before = name;
            content += name.len() + value.len();
            size += name.len() + value.len() + 3;
        }
        if content > LABEL_SET_BYTES_MAX {
            return Err(InvalidLabels::SetTooLarge { bytes: content });
        }
        let mut bytes = Vec::with_capacity(size);
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            // Both lengths were checked above.
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        Ok(LabelSet { bytes: bytes.into() })
    }

    /// The set without labels.
    #[must_use]
    pub fn empty() -> LabelSet {
        LabelSet { bytes: Arc::from([]) }
    }

    /// The pairs, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        Pairs { rest: &self.bytes }
    }

    /// The labels whose names a predicate keeps.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> LabelSet {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        // Part of a valid set is a valid set.
        let kept = self.encoded_pairs().zip(self.iter()).filter(|(_, (name, _))| keep(name));
        let mut bytes = Vec::with_capacity(self.bytes.len());
        kept.for_each(|(pair, _)| bytes.extend_from_slice(pair));
        LabelSet { bytes: bytes.into() }
    }

    /// The value of a label; the empty string where it is missing, as PromQL sees it.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|&(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The metric's name; empty where there is none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that represent this set: equal for equal sets, fit for hashing and for logs of labels.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of each pair, in name order: what [`LabelSet::as_bytes`] is made of.
    pub fn encoded_pairs(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let name_len = usize::from(*rest.first()?);
            let value_len = rest.get(1 + name_len..)?.first_chunk::<2>()?;
            let (pair, after) =
                rest.split_at_checked(3 + name_len + usize::from(u16::from_le_bytes(*value_len)))?;
            rest = after;
            Some(pair)
        })
    }

    /// Takes a set from [`LabelSet::as_bytes`] that may have been damaged since; `None` where it is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<LabelSet> {
        let mut cursor = crate::bytes::Cursor::new(bytes);
        let mut pairs = Vec::new();
        while !cursor.is_empty() {
            let name_len = usize::from(cursor.u8()?);
            let name = std::str::from_utf8(cursor.take(name_len)?).ok()?;
            let value_len = usize::from(cursor.u16()?);
            let value = std::str::from_utf8(cursor.take(value_len)?).ok()?;
            if value.is_empty() || pairs.len() == LABELS_MAX {
                return None;
            }
            pairs.push((name, value));
        }
        Self::from_sorted(pairs.into_iter()).ok()
    }
}

#[derive(Clone)]
struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (pair, rest) = split_pair(self.rest)?;
        self.rest = rest;
        Some(pair)
    }
}

/// The pair of one [`LabelSet::encoded_pairs`]; `None` where it is none.
#[must_use]
pub fn decode_pair(bytes: &[u8]) -> Option<(&str, &str)> {
    split_pair(bytes).filter(|(_, rest)| rest.is_empty()).map(|(pair, _)| pair)
}

/// The first pair, and the bytes after it.
fn split_pair(bytes: &[u8]) -> Option<((&str, &str), &[u8])> {
    let [name, value, rest] = split_raw_pair(bytes)?;
    // The constructors took both from `str`.
    Some(((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?), rest))
}

/// Its name and value as bytes, which have the order of the texts, and the bytes after it.
fn split_raw_pair(bytes: &[u8]) -> Option<[&[u8]; 3]> {
    let (name_len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let (value_len, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*value_len)))?;
    Some([name, value, rest])
}

impl Ord for LabelSet {
    fn cmp(&self, other: &LabelSet) -> Ordering {
        let (mut left, mut right) = (&*self.bytes, &*other.bytes);
        loop {
            match (split_raw_pair(left), split_raw_pair(right)) {
                (Some([a_name, a, after_a]), Some([b_name, b, after_b])) => {
                    match (a_name, a).cmp(&(b_name, b)) {
                        Ordering::Equal => (left, right) = (after_a, after_b),
                        decided => return decided,
                    }
                }
                (a, b) => return a.is_some().cmp(&b.is_some()),
            }
        }
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &LabelSet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for LabelSet {
    /// As PromQL writes it: `name{a="b", c="d"}`, values escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let mut separator = "{";
        for (name, value) in self.iter().filter(|&(name, _)| name != METRIC_NAME) {
            if is_plain_name(name) {
                write!(f, "{separator}{name}={value:?}")?;
            } else {
                write!(f, "{separator}{name:?}={value:?}")?;
            }
            separator = ", ";
        }
        match separator {
            "{" if self.metric_name().is_empty() => f.write_str("{}"),
            "{" => Ok(()),
            _ => f.write_str("}"),
        }
    }
}

fn is_plain_name(name: &str) -> bool {
    name.bytes()
        .enumerate()
        .all(|(at, b)| b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit()))
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_dropped() {
        let set = LabelSet::from_pairs([("b", "2"), ("a", "1"), ("c", "")]).expect("valid");
        assert_eq!(set.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(set.get("c"), "");
        assert_eq!(set.to_string(), r#"{a="1", b="2"}"#);
    }

    #[test]
    fn each_limit_is_named() {
        let long = "x".repeat(LABEL_VALUE_BYTES_MAX + 1);
        assert!(matches!(
            LabelSet::from_pairs([("a", &long)]),
            Err(InvalidLabels::ValueTooLong { position: 0, .. })
        ));
        assert!(matches!(
            LabelSet::from_pairs([(&long, "a")]),
            Err(InvalidLabels::NameTooLong { position: 0, .. })
        ));
        assert!(matches!(LabelSet::from_pairs([("", "a")]), Err(InvalidLabels::EmptyName { position: 0 })));
        assert!(matches!(
            LabelSet::from_pairs([("a", "1"), ("a", "2")]),
            Err(InvalidLabels::Duplicate { position: 1 })
        ));
        let many: Vec<_> = (0..70).map(|i| (format!("l{i:03}"), "v")).collect();
        assert!(matches!(LabelSet::from_pairs(many), Err(InvalidLabels::TooMany { count: 70 })));
        let large: Vec<_> = (0..20).map(|i| (format!("l{i:03}"), "v".repeat(1000))).collect();
        assert!(matches!(LabelSet::from_pairs(large), Err(InvalidLabels::SetTooLarge { .. })));
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_damage_never_panics(
            pairs in prop::collection::btree_map("[a-z]{1,9}", "\\PC{1,20}", 0..6),
            flip in any::<(usize, u8)>(),
        ) {
            let set = LabelSet::from_pairs(&pairs).expect("valid");
            prop_assert_eq!(LabelSet::from_bytes(set.as_bytes()), Some(set.clone()));
            let mut damaged = set.as_bytes().to_vec();
            if !damaged.is_empty() {
                let at = flip.0 % damaged.len();
                damaged[at] ^= flip.1;
                let _ = LabelSet::from_bytes(&damaged).map(|set| set.to_string());
            }
        }

        #[test]
        fn the_order_is_that_of_the_pairs(
            a in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{1,3}", 0..4),
            b in prop::collection::btree_map("[a-c]{1,2}", "[a-c]{1,3}", 0..4),
        ) {
            let (x, y) = (LabelSet::from_pairs(&a).expect("valid"), LabelSet::from_pairs(&b).expect("valid"));
            prop_assert_eq!(x.cmp(&y), a.iter().collect::<Vec<_>>().cmp(&b.iter().collect::<Vec<_>>()));
            prop_assert_eq!(x == y, a == b);
        }
    }
}
