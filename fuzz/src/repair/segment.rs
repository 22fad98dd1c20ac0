//! Repairs a segment of the log; `wal/src/header.rs` and `frame.rs` hold the tables.

use crc32fast::Hasher;

const HEADER_BYTES: usize = 4096;
const HALF_BYTES: usize = 2048;
const FRAME_HEADER_BYTES: usize = 32;
const FRAME_ALIGN: usize = 8;
const RECORD: u8 = 1;

/// Both halves of the header, then frame after frame for as long as they lie inside. A frame that would end outside is
/// cut at the end.
pub(crate) fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let length = bytes.len() as u64;
    for half in 0..2u8 {
        let half_bytes = &mut bytes[usize::from(half) * HALF_BYTES..][..HALF_BYTES];
        half_bytes[..8].copy_from_slice(b"annalwal");
        half_bytes[8..10].copy_from_slice(&1u16.to_le_bytes());
        half_bytes[10] = half;
        half_bytes[11] &= 1;
        half_bytes[12..16].fill(0);
        half_bytes[56..64].copy_from_slice(&length.to_le_bytes());
        half_bytes[100..104].fill(0);
        half_bytes[112..HALF_BYTES - 4].fill(0);
        let check = crc32fast::hash(&half_bytes[..HALF_BYTES - 4]);
        half_bytes[HALF_BYTES - 4..].copy_from_slice(&check.to_le_bytes());
    }
    let seed = |salt: &[u8]| {
        let mut hasher = Hasher::new();
        hasher.update(salt);
        hasher.update(&bytes[32..40]);
        hasher.finalize()
    };
    let (header_seed, payload_seed) = (seed(&bytes[40..48]), seed(&bytes[48..56]));
    let check = |seed: u32, offset: usize, parts: &[u8]| {
        let mut hasher = Hasher::new_with_initial(seed);
        hasher.update(&(offset as u64).to_le_bytes());
        hasher.update(parts);
        hasher.finalize()
    };
    let mut offset = HEADER_BYTES;
    while offset + FRAME_HEADER_BYTES <= bytes.len() {
        let frame = &mut bytes[offset..];
        let frame_type = frame[29];
        if !(1..=4).contains(&frame_type) {
            return;
        }
        let room = (frame.len() - FRAME_HEADER_BYTES) as u32;
        let stated = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let payload_bytes = if frame_type == RECORD { stated.min(room) } else { 0 };
        frame[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        let payload = &frame[FRAME_HEADER_BYTES..][..payload_bytes as usize];
        let payload_check = check(payload_seed, offset, payload);
        frame[24..28].copy_from_slice(&payload_check.to_le_bytes());
        frame[30..32].fill(0);
        let header_check = check(header_seed, offset, &frame[4..FRAME_HEADER_BYTES]);
        frame[..4].copy_from_slice(&header_check.to_le_bytes());
        offset += FRAME_HEADER_BYTES + (payload_bytes as usize).next_multiple_of(FRAME_ALIGN);
    }
}
