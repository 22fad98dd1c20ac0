//! Mapped files: bytes as they were when they were mapped, until the disk below them rots.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A mapping. Its bytes are a copy: sealed files do not change, and whoever writes to one is caught elsewhere.
#[derive(Debug)]
pub(super) struct SimMap {
    bytes: Vec<u8>,
    rot: OnceLock<Rot>,
}

/// What a mapping shows from some use on.
#[derive(Debug)]
struct Rot {
    bytes: Vec<u8>,
    uses_left: AtomicU64,
}

impl SimMap {
    pub(super) fn new(bytes: Vec<u8>) -> SimMap {
        SimMap { bytes, rot: OnceLock::new() }
    }

    /// Flips bits of one byte after so many more uses; `false` where the mapping is too short or rotten already.
    pub(super) fn corrupt(&self, offset: u64, mask: u8, after: u64) -> bool {
        let mut bytes = self.bytes.clone();
        let Some(byte) = usize::try_from(offset).ok().and_then(|at| bytes.get_mut(at)) else { return false };
        *byte ^= mask;
        self.rot.set(Rot { bytes, uses_left: AtomicU64::new(after) }).is_ok()
    }
}

impl Deref for SimMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.rot.get() {
            None => &self.bytes,
            Some(rot) => {
                let less_one = |left: u64| left.checked_sub(1);
                match rot.uses_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one) {
                    Ok(_) => &self.bytes,
                    Err(_) => &rot.bytes,
                }
            }
        }
    }
}
