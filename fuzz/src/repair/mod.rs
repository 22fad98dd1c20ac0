//! Makes checks and sizes of mutated bytes fit again, in place, so that a fuzzer gets behind them.
//!
//! Each is written from the tables in the documentation of the format that it repairs; a test holds that repairing
//! what the encoders wrote changes nothing.

mod segment;

pub(crate) use annals_block::fuzzing::repair as block;
pub(crate) use segment::repair as segment;

/// For what has no checks.
pub(crate) fn nothing(_: &mut [u8]) {}

/// How a twin file begins, and how long the header of each half is.
const TWIN_MAGIC: &[u8; 8] = b"ANNTWIN1";
const TWIN_HEADER_BYTES: usize = 48;
const TWIN_ALIGN: usize = 4096;

/// A manifest.
pub(crate) fn manifest(bytes: &mut [u8]) {
    twin(bytes, 2);
}

/// A catalogue.
pub(crate) fn catalogue(bytes: &mut [u8]) {
    twin(bytes, 1);
}

/// The wrapped keys of a tenant.
pub(crate) fn data_keys(bytes: &mut [u8]) {
    twin(bytes, 3);
}

/// What a snapshot consists of.
pub(crate) fn snapshot(bytes: &mut [u8]) {
    twin(bytes, 5);
}

/// A twin file of that role: lengths are clamped, checks recomputed; generation, owner and root stay.
fn twin(bytes: &mut [u8], role: u8) {
    let half_bytes = (bytes.len() / 2).next_multiple_of(TWIN_ALIGN).min(bytes.len());
    let (first, second) = bytes.split_at_mut(half_bytes);
    for (index, half) in [first, second].into_iter().enumerate() {
        if half.len() < TWIN_HEADER_BYTES {
            continue;
        }
        half[..8].copy_from_slice(TWIN_MAGIC);
        half[12..14].copy_from_slice(&1u16.to_le_bytes());
        half[14] = role;
        half[15] = index as u8;
        let room = (half.len() - TWIN_HEADER_BYTES) as u32;
        let length = u32::from_le_bytes([half[44], half[45], half[46], half[47]]).min(room);
        half[44..48].copy_from_slice(&length.to_le_bytes());
        let check = crc32fast::hash(&half[12..TWIN_HEADER_BYTES + length as usize]);
        half[8..12].copy_from_slice(&check.to_le_bytes());
    }
}

/// A key file.
pub(crate) fn key_file(bytes: &mut [u8]) {
    if bytes.len() > 12 {
        bytes[..8].copy_from_slice(b"ANNKEY01");
        let check = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&check.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn a_repair_leaves_what_the_encoders_wrote_as_it_is() {
        type Repair = fn(&mut [u8]);
        let kinds: [(&str, Repair); 6] = [
            ("/manifest-", manifest),
            ("/catalog-", catalogue),
            ("/keys/", key_file),
            ("/keys-", data_keys),
            (".blk", block),
            ("/wal/", segment),
        ];
        for (part, repair) in kinds {
            let found =
                if part.starts_with("/keys") { seeds::sealed_files(part) } else { seeds::files(part) };
            assert!(!found.is_empty(), "{part}");
            for bytes in found {
                let mut repaired = bytes.clone();
                repair(&mut repaired);
                // A segment says how long it was allocated; the seed ends where it was written.
                if part == "/wal/" {
                    for half in [0, 2048] {
                        repaired[half + 56..half + 64].copy_from_slice(&bytes[half + 56..half + 64]);
                        repaired[half + 2044..half + 2048].copy_from_slice(&bytes[half + 2044..half + 2048]);
                    }
                }
                assert!(repaired == bytes, "{part}");
            }
        }
    }

    #[test]
    fn what_is_repaired_passes_its_checks() {
        for mut bytes in seeds::files(".blk") {
            // Within the last chunk or group, the index, and the counts of the footer.
            let identity = annals_block::fuzzing::identity(&bytes).expect("a block");
            let footer = bytes.len() - 40;
            bytes[footer] ^= 1;
            bytes[134] ^= 1;
            block(&mut bytes);
            let sealed = annals::vfs::Sealed::new(bytes);
            let verified = match identity.id.content {
                annals::BlockContent::RawMetrics => {
                    annals_block::MetricBlock::open(sealed, identity, "b").map(|block| block.verify())
                }
                annals::BlockContent::Rollup5m | annals::BlockContent::Rollup1h => {
                    annals_block::RollupBlock::open(sealed, identity, "b").map(|block| block.verify())
                }
                annals::BlockContent::RawSignals => {
                    annals_block::SignalBlock::open(sealed, identity, "b").map(|block| block.verify())
                }
            };
            // What is found then is no failed check.
            let found = verified.map_or_else(|error| error.to_string(), |found| format!("{found:?}"));
            assert!(!found.contains("check mismatch"), "{found}");
        }
    }
}
