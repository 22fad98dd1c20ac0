//! What the tests of blocks share.

use annals_block::BlockIdentity;
use annals_model::{BlockContent, BlockId, Day, Lsn, LsnRange, TenantNumber};

/// splitmix64: the same numbers everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) const DAY: Day = Day(16_572);
pub(crate) const LSNS: LsnRange = LsnRange { after: Lsn(3), through: Lsn(77) };

pub(crate) fn identity(content: BlockContent) -> BlockIdentity {
    BlockIdentity { tenant: TenantNumber(5), id: BlockId { day: DAY, content, sequence: 42 } }
}

/// All identities that differ from `identity` in one part.
pub(crate) fn other_identities(identity: BlockIdentity) -> [BlockIdentity; 4] {
    let other_content = match identity.id.content {
        BlockContent::RawMetrics => BlockContent::RawSignals,
        _ => BlockContent::RawMetrics,
    };
    [
        BlockIdentity { tenant: TenantNumber(6), ..identity },
        BlockIdentity { id: BlockId { sequence: 43, ..identity.id }, ..identity },
        BlockIdentity { id: BlockId { day: Day(16_573), ..identity.id }, ..identity },
        BlockIdentity { id: BlockId { content: other_content, ..identity.id }, ..identity },
    ]
}

/// Compares with the stored file, or writes it where `ANNALS_WRITE_GOLDEN` is set.
pub(crate) fn assert_golden(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("ANNALS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).expect("writable");
    }
    let stored = std::fs::read(&path).expect("golden files are part of the repository");
    assert!(
        stored == bytes,
        "{name} changed: a new format needs a new version, and this file must still open"
    );
}
