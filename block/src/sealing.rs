//! How a block's parts are sealed: which key, which nonce, and what is authenticated with each.
//!
//! Second half of the header, 64 bytes, there in every block:
//!
//! | offset | bytes | field        | notes                                                                 |
//! |-------:|------:|--------------|-----------------------------------------------------------------------|
//! |     64 |     4 | `key`        | the data key; 0 where the block is plain, and all below is zero       |
//! |     68 |    32 | `salt`       | random, of this file alone                                            |
//! |    100 |    16 | `commitment` | tells the file's key from every other: a wrong key is no damage       |
//! |    116 |     8 |              | zero                                                                  |
//! |    124 |     4 | `check`      | CRC-32 of the 124 bytes of the header above                           |
//!
//! The file's key follows from the data key, `salt`, and what the file is ([`file_info`]). Each chunk, column of stamps
//! and group of rows is sealed by itself, every other section as a whole, after it was compressed; a sealed part is
//! `SEAL_BYTES` longer, and checks (CRC-32) cover it as it is stored, so that rot is found without keys.
//!
//! **Nonce**: section kind (1), zero (3), ordinal (8; all ones for a section as a whole). A file is written once, under a
//! key of its own, and each place in it once: the writer asserts that ordinals ascend within a kind.
//!
//! **Authenticated** with each part: format version (2), tenant (4), day (4), sequence (8), content (1), key (4), section
//! kind (1), packing (1), ordinal (8), bytes before sealing and once unpacked (8). A part of another tenant, file or
//! place does not open, whatever its check says.
//!
//! **The footer stays plain**, so that planning needs no key: what it says of times, counts and sizes is visible. It
//! cannot lie to a reader with keys: its field `seal` authenticates the whole header and all of the footer's fields,
//! and is verified before any part is opened. To a reader without keys it is as good as its check. A plan that is made
//! of the manifest alone trusts the manifest: who may write there can leave a block out, with its footer or without.

use annals_model::{COMMITMENT_BYTES, DataKeys, KeyId, NONCE_BYTES, SEAL_BYTES, Sealer};

use crate::error::BlockIdentity;

/// Bytes of a file's salt.
pub const SALT_BYTES: usize = 32;
/// Stands for the footer in nonces and checks.
pub(crate) const FOOTER_TAG: u8 = 0xff;
/// The ordinal that stands for a section as a whole.
pub(crate) const WHOLE: u64 = u64::MAX;
const AAD_BYTES: usize = 2 + 4 + 4 + 8 + 1 + 4 + 1 + 1 + 8 + 8;

/// What a new block is to be sealed with.
#[derive(Clone, Copy)]
pub struct SealWith<'a> {
    /// The tenant's keys for the block's content.
    pub keys: &'a dyn DataKeys,
    /// Random, and never used for another file.
    pub salt: [u8; SALT_BYTES],
}

/// What the second half of the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealHeader {
    pub(crate) key: KeyId,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

impl SealHeader {
    /// Of a block that is not sealed.
    pub(crate) const PLAIN: SealHeader =
        SealHeader { key: KeyId::NONE, salt: [0; SALT_BYTES], commitment: [0; COMMITMENT_BYTES] };
}

/// Which part of a file is meant: its place gives the nonce.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The section's kind, or [`FOOTER_TAG`].
    pub(crate) tag: u8,
    pub(crate) packing: u8,
    pub(crate) ordinal: u64,
    /// How long it is once opened and unpacked.
    pub(crate) plain_bytes: u64,
}

/// One file's key and identity.
pub(crate) struct FileSeal {
    key: KeyId,
    sealer: Box<dyn Sealer>,
    identity: BlockIdentity,
    version: u16,
}

impl FileSeal {
    /// For a new file, with what its header is to say.
    ///
    /// # Panics
    /// Where the keys do not have their own active key.
    pub(crate) fn create(
        seal: SealWith<'_>,
        identity: BlockIdentity,
        version: u16,
    ) -> (FileSeal, SealHeader) {
        let SealWith { keys, salt } = seal;
        let key = keys.active();
        assert_ne!(key, KeyId::NONE, "the number that says that nothing is sealed");
        let sealer =
            keys.sealer(key, &salt, &file_info(identity, version)).expect("keys have their active key");
        let header = SealHeader { key, salt, commitment: sealer.commitment() };
        (FileSeal { key, sealer, identity, version }, header)
    }

    /// For a file that says so in its header; `None` where the keys do not have that key.
    pub(crate) fn find(
        keys: &dyn DataKeys,
        header: &SealHeader,
        identity: BlockIdentity,
        version: u16,
    ) -> Option<FileSeal> {
        let sealer = keys.sealer(header.key, &header.salt, &file_info(identity, version))?;
        Some(FileSeal { key: header.key, sealer, identity, version })
    }

    /// Whether it is the key that the file was sealed with.
    pub(crate) fn fits(&self, header: &SealHeader) -> bool {
        self.sealer.commitment() == header.commitment
    }

    /// Seals what lies in `bytes` from `start` on.
    pub(crate) fn seal(&self, place: Place, bytes: &mut Vec<u8>, start: usize) {
        self.sealer.seal(nonce(place), &self.aad(place), bytes, start);
    }

    /// Opens all of `bytes`; false where they are not what was sealed there.
    #[must_use]
    pub(crate) fn open(&self, place: Place, bytes: &mut Vec<u8>) -> bool {
        self.sealer.open(nonce(place), &self.aad(place), bytes)
    }

    /// What authenticates header and footer, which stay plain.
    pub(crate) fn seal_frame(&self, frame: &[u8]) -> [u8; SEAL_BYTES] {
        let mut tag = Vec::with_capacity(SEAL_BYTES);
        self.sealer.seal(nonce(FRAME), frame, &mut tag, 0);
        tag.try_into().expect("sealing nothing gives the tag alone")
    }

    /// Whether header and footer are those that were sealed.
    #[must_use]
    pub(crate) fn is_frame(&self, frame: &[u8], tag: [u8; SEAL_BYTES]) -> bool {
        self.sealer.open(nonce(FRAME), frame, &mut tag.to_vec())
    }

    fn aad(&self, place: Place) -> [u8; AAD_BYTES] {
        let BlockIdentity { tenant, id } = self.identity;
        let fields: [&[u8]; 10] = [
            &self.version.to_le_bytes(),
            &tenant.0.to_le_bytes(),
            &id.day.0.to_le_bytes(),
            &id.sequence.to_le_bytes(),
            &[id.content.tag()],
            &self.key.0.to_le_bytes(),
            &[place.tag],
            &[place.packing],
            &place.ordinal.to_le_bytes(),
            &place.plain_bytes.to_le_bytes(),
        ];
        let mut aad = [0; AAD_BYTES];
        aad.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        aad
    }
}

impl std::fmt::Debug for FileSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSeal(key {})", self.key)
    }
}

/// Header and footer.
const FRAME: Place = Place { tag: FOOTER_TAG, packing: 0, ordinal: WHOLE, plain_bytes: 0 };

fn nonce(place: Place) -> [u8; NONCE_BYTES] {
    let [a, b, c, d, e, f, g, h] = place.ordinal.to_le_bytes();
    [place.tag, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// What a file's key is derived for: purpose, format version (2), tenant (4), day (4), sequence (8), content (1).
fn file_info(identity: BlockIdentity, version: u16) -> Vec<u8> {
    let BlockIdentity { tenant, id } = identity;
    let mut info = b"annals block".to_vec();
    info.extend(version.to_le_bytes());
    info.extend(tenant.0.to_le_bytes());
    info.extend(id.day.0.to_le_bytes());
    info.extend(id.sequence.to_le_bytes());
    info.push(id.content.tag());
    info
}

/// Sees to it that no nonce of a file is used twice.
#[derive(Debug, Default)]
pub(crate) struct UsedNonces(Vec<(u8, u64)>);

impl UsedNonces {
    /// # Panics
    /// Where the place does not come after all others of its kind.
    pub(crate) fn take(&mut self, place: Place) {
        match self.0.iter_mut().find(|(tag, _)| *tag == place.tag) {
            Some((_, last)) => {
                assert!(place.ordinal > *last, "a nonce would be used twice");
                *last = place.ordinal;
            }
            None => self.0.push((place.tag, place.ordinal)),
        }
    }
}
