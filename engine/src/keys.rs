//! The default key store: one secret per tenant, in files of its own.
//!
//! `keys/<n>.key` is kept apart from the data so that a backup of the data never holds it: without it pseudonyms
//! cannot be recomputed.
//!
//! | offset | bytes | field    | notes                      |
//! |-------:|------:|----------|----------------------------|
//! |      0 |     8 | `magic`  | `ANNKEY01`                 |
//! |      8 |     4 | `check`  | CRC-32 of all below        |
//! |     12 |     4 | `tenant` | the tenant's number        |
//! |     16 |    32 | `secret` | random                     |
//!
//! What is used is derived from the secret by HKDF-SHA256 (RFC 5869), each purpose with a label of its own.

use std::io;
use std::path::PathBuf;

use annals_model::TenantNumber;
use annals_model::bytes::{Cursor, PutBytes};
use annals_vfs::{Draft, Entropy, PublishError, Vfs, publish};
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::files::read_whole;
use crate::layout::{Layout, key_file_name};

const MAGIC: &[u8; 8] = b"ANNKEY01";

/// What a tenant's secret is used for, derived once. Never printed.
pub(crate) struct TenantKeys {
    pub(crate) pseudonyms: annals_signals::PseudonymKey,
    /// Keys the digests by which batches are recognised: a digest of low-entropy content must tell nothing.
    digests: hmac::Key,
}

/// Why a tenant's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read: a later try may succeed.
    #[error("cannot read the key file {}: {source}; the tenant's data is untouched", path.display())]
    Unavailable {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the key file {} is damaged; restore it from the copy of the key store", path.display())]
    Corrupt {
        /// The key file.
        path: PathBuf,
    },
}

fn path(layout: &Layout, tenant: TenantNumber) -> PathBuf {
    layout.keys.join(key_file_name(tenant))
}

/// Draws and stores the secret of a new tenant.
pub(crate) fn create(
    vfs: &dyn Vfs,
    entropy: &dyn Entropy,
    layout: &Layout,
    tenant: TenantNumber,
) -> io::Result<()> {
    let mut secret = Zeroizing::new([0; 32]);
    entropy.fill(&mut secret[..])?;
    let mut checked = Zeroizing::new(Vec::with_capacity(36));
    checked.put_u32(tenant.0);
    checked.put(&secret[..]);
    let mut bytes = Zeroizing::new(Vec::with_capacity(48));
    bytes.put(MAGIC);
    bytes.put_u32(crc32fast::hash(&checked));
    bytes.put(&checked);
    let name = key_file_name(tenant);
    publish(
        vfs,
        &[Draft { draft: layout.temporary.join(&name), directory: layout.keys.clone(), name, bytes: &bytes }],
    )
    .map_err(PublishError::into_source)
}

/// Reads a tenant's secret and derives its keys.
pub(crate) fn load(vfs: &dyn Vfs, layout: &Layout, tenant: TenantNumber) -> Result<TenantKeys, KeyError> {
    let path = path(layout, tenant);
    let bytes = match read_whole(vfs, &path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => return Err(KeyError::Unavailable { path, source }),
    };
    let secret = decode(&bytes, tenant).ok_or(KeyError::Corrupt { path })?;
    Ok(TenantKeys::derive(&secret))
}

fn decode(bytes: &[u8], tenant: TenantNumber) -> Option<Zeroizing<[u8; 32]>> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array::<8>()? != *MAGIC {
        return None;
    }
    let check = cursor.u32()?;
    let checked = cursor.take(36)?;
    let mut fields = Cursor::new(checked);
    let whole = cursor.is_empty() && crc32fast::hash(checked) == check && fields.u32()? == tenant.0;
    fields.array().filter(|_| whole).map(Zeroizing::new)
}

impl TenantKeys {
    fn derive(secret: &[u8; 32]) -> TenantKeys {
        let pseudonyms = expand(secret, b"annals pseudonyms 1");
        let digests = expand(secret, b"annals batch digests 1");
        TenantKeys {
            pseudonyms: annals_signals::PseudonymKey::new(&pseudonyms),
            digests: hmac::Key::new(hmac::HMAC_SHA256, &digests[..]),
        }
    }

    /// A keyed digest of content that is handed over in pieces.
    pub(crate) fn digest(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.digests);
        feed(&mut |piece| context.update(piece));
        let tag = context.sign();
        let mut digest = [0; 16];
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

fn expand(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(secret)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out[..]))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_file_is_refused_whole() {
        let mut checked = Vec::new();
        checked.put_u32(3);
        checked.put(&[7; 32]);
        let mut bytes = MAGIC.to_vec();
        bytes.put_u32(crc32fast::hash(&checked));
        bytes.put(&checked);
        assert!(decode(&bytes, TenantNumber(3)).is_some());
        assert!(decode(&bytes, TenantNumber(4)).is_none());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged, TenantNumber(3)).is_none(), "byte {at} bit {bit}");
            }
            assert!(decode(&bytes[..at], TenantNumber(3)).is_none());
        }
    }
}
