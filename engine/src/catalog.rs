//! The catalogue: which tenants there are, and the numbers that stand for them on disk.
//!
//! Content of the twin file `catalog-<gen>` (see [`crate::twin`]); numbers are LEB128, texts are length-prefixed:
//!
//! | field    | type   | notes                                                     |
//! |----------|--------|-----------------------------------------------------------|
//! | `next`   | number | the number of the next tenant; never goes down            |
//! | `count`  | number | tenants                                                   |
//! | per tenant | number, text | its number (ascending), its id                      |
//! | `erased` | number | tenants that were erased, and of which something is left  |
//! | per tenant | number | its number (ascending), which is of none above            |

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{TenantId, TenantNumber};

/// The decoded catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Catalogue {
    pub(crate) next: u32,
    /// Ascending by number.
    pub(crate) tenants: Vec<(TenantNumber, TenantId)>,
    /// Ascending.
    pub(crate) erased: Vec<TenantNumber>,
}

impl Catalogue {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_varint(u64::from(self.next));
        bytes.put_varint(self.tenants.len() as u64);
        for (number, id) in &self.tenants {
            bytes.put_varint(u64::from(number.0));
            bytes.put_text(id.as_str());
        }
        bytes.put_varint(self.erased.len() as u64);
        self.erased.iter().for_each(|number| bytes.put_varint(u64::from(number.0)));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Catalogue> {
        let mut cursor = Cursor::new(bytes);
        let next = u32::try_from(cursor.varint()?).ok()?;
        let count = cursor.count(2)?;
        let mut tenants: Vec<(TenantNumber, TenantId)> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = TenantNumber(u32::try_from(cursor.varint()?).ok()?);
            let id = TenantId::new(cursor.text()?).ok()?;
            if number.0 >= next || tenants.last().is_some_and(|(last, _)| *last >= number) {
                return None;
            }
            tenants.push((number, id));
        }
        let count = cursor.count(1)?;
        let mut erased: Vec<TenantNumber> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = TenantNumber(u32::try_from(cursor.varint()?).ok()?);
            let known = tenants.binary_search_by_key(&number, |(other, _)| *other).is_ok();
            if number.0 >= next || known || erased.last().is_some_and(|last| *last >= number) {
                return None;
            }
            erased.push(number);
        }
        cursor.is_empty().then_some(Catalogue { next, tenants, erased })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_held() {
        let id = TenantId::new("acme").expect("valid");
        let catalogue =
            Catalogue { next: 300, tenants: vec![(TenantNumber(7), id)], erased: vec![TenantNumber(8)] };
        assert_eq!(catalogue.encode(), b"\xac\x02\x01\x07\x04acme\x01\x08");
    }

    #[test]
    fn a_catalogue_round_trips_and_its_damage_never_panics() {
        let id = |name| TenantId::new(name).expect("valid");
        let tenants = vec![(TenantNumber(1), id("acme")), (TenantNumber(4), id("b"))];
        let catalogue = Catalogue { next: 5, tenants, erased: vec![TenantNumber(2), TenantNumber(3)] };
        let bytes = catalogue.encode();
        assert_eq!(Catalogue::decode(&bytes), Some(catalogue));
        for length in 0..bytes.len() {
            assert_eq!(Catalogue::decode(&bytes[..length]), None);
        }
        for at in 0..bytes.len() {
            for mask in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let _ = Catalogue::decode(&damaged);
            }
        }
    }
}
