//! Erasure receipts: what was erased, signed, so that anybody who has the store's public key can check it.
//!
//! A receipt is a text, one `name: value` a line, in this order; times are milliseconds, then the same as people read it:
//!
//! | line | notes |
//! |---|---|
//! | `annals erasure receipt 1` | the version of this format |
//! | `store: ` | the store's id, 16 bytes in hexadecimal |
//! | `tenant: ` | the tenant's id |
//! | `number: ` | its number in that store, which no other tenant ever has |
//! | `sealed: ` | `yes`: only the keys below opened its data; `no`: who has a copy of its files can read it |
//! | `hidden: ` | from then on nobody saw it |
//! | `keys destroyed: ` | by then its key-encryption key was destroyed, for ever |
//! | `bytes removed: ` | by then its files, its quarantined files and its records in the log were removed |
//! | `removal due: ` | when that was promised |
//! | `log: ` | its records were those up to this number |
//! | `key: ` | id and class of a data key; a line each |
//! | `block: ` | name, bytes, and `sha256:` of a file's bytes as they were, or `unreadable`; a line each |
//! | `blocks: ` | how many of these |
//! | `signer: ` | `ed25519:` and the public key, 32 bytes in hexadecimal |
//! | `signature: ` | Ed25519 over every byte before this line, 64 bytes in hexadecimal |
//!
//! It holds no content and opens nothing. The digests are of sealed bytes: whoever finds an old copy of a file can tell by
//! them that it is of an erased tenant.

use std::io;
use std::path::{Path, PathBuf};

use annals_model::{BlockMeta, Lsn, TenantId, TenantNumber, Timestamp};
use annals_vfs::{Draft, PublishError, Vfs, publish};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::layout::{Layout, block_file_name};
use crate::life::{Erased, Measured};

const TITLE: &str = "annals erasure receipt 1";
const SIGNATURE: &str = "signature: ";

/// The public key by which a store's receipts are checked: 32 bytes, Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// What a receipt says, once its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The tenant that was erased.
    pub tenant: TenantId,
    /// Its number.
    pub number: TenantNumber,
    /// Whether its data was sealed: if not, old copies of its files can be read by who has them.
    pub sealed: bool,
    /// From then on nobody saw it.
    pub hidden: Timestamp,
    /// By then its key was destroyed.
    pub keys_destroyed: Timestamp,
    /// By then its bytes were removed.
    pub bytes_removed: Timestamp,
    /// Its records in the log were those up to this one.
    pub log_through: Lsn,
    /// How many blocks it had.
    pub blocks: usize,
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It is no receipt of a version that this build knows, or was cut or changed.
    #[error("line {line}: {what}; it is not a receipt as this build writes them")]
    Malformed {
        /// Which line, from 1.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Another key signed it.
    #[error("it was signed with {signer}, not with the key that it is to be checked by")]
    OtherKey {
        /// Whose key, as the receipt says.
        signer: PublicKey,
    },
    /// Its text is not what was signed.
    #[error("the signature is not of this text: it was changed, or is forged")]
    Forged,
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ed25519:{}", hex(&self.0))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PublicKey, &'static str> {
        let digits = text.trim();
        let digits = digits.strip_prefix("ed25519:").unwrap_or(digits);
        unhex(digits)
            .map(PublicKey)
            .ok_or("a public key is 64 hexadecimal digits, as `annals receipt key` prints it")
    }
}

/// The text of a receipt up to its signature.
pub(crate) fn text(
    store: &[u8; 16],
    tenant: (&TenantId, TenantNumber),
    blocks: &[BlockMeta],
    (erased, measured): (&Erased, &Measured),
    removed: Timestamp,
    signer: PublicKey,
) -> String {
    let time = |time: Timestamp| format!("{} ({time})", time.0);
    let mut lines = vec![
        TITLE.to_owned(),
        format!("store: {}", hex(store)),
        format!("tenant: {}", tenant.0),
        format!("number: {}", tenant.1),
        format!("sealed: {}", if erased.sealed { "yes" } else { "no" }),
        format!("hidden: {}", time(erased.since)),
        format!("keys destroyed: {}", time(measured.destroyed)),
        format!("bytes removed: {}", time(removed)),
        format!("removal due: {}", time(erased.due)),
        format!("log: {}", erased.through),
    ];
    lines.extend(erased.keys.iter().map(|(id, class)| format!("key: {id} {}", class.word())));
    let digests = measured.digests.iter().copied().chain(std::iter::repeat(None));
    lines.extend(blocks.iter().zip(digests).map(|(block, digest)| {
        let digest = digest.map_or("unreadable".to_owned(), |digest| format!("sha256:{}", hex(&digest)));
        format!("block: {} {} {digest}", block_file_name(block.id), block.bytes)
    }));
    lines.push(format!("blocks: {}", blocks.len()));
    lines.push(format!("signer: {signer}"));
    lines.join("\n") + "\n"
}

/// The whole receipt.
pub(crate) fn signed(text: &str, signature: &[u8; 64]) -> String {
    format!("{text}{SIGNATURE}{}\n", hex(signature))
}

impl Receipt {
    /// Checks a receipt by the public key of the store that wrote it.
    pub fn verify(receipt: &[u8], key: &PublicKey) -> Result<Receipt, ReceiptError> {
        let (parsed, signer, signature, text) = parse(receipt)?;
        if signer != *key {
            return Err(ReceiptError::OtherKey { signer });
        }
        let checked = UnparsedPublicKey::new(&ED25519, &key.0).verify(text, &signature);
        checked.map(|()| parsed).map_err(|_| ReceiptError::Forged)
    }

    /// Checks a receipt by the key that it names itself: that it is whole, not who wrote it.
    pub(crate) fn verify_whole(receipt: &[u8]) -> Result<Receipt, ReceiptError> {
        let (_, signer, ..) = parse(receipt)?;
        Receipt::verify(receipt, &signer)
    }
}

/// Where the receipt of a tenant lies.
pub(crate) fn path(layout: &Layout, number: TenantNumber) -> PathBuf {
    layout.receipts.join(file_name(number))
}

pub(crate) fn file_name(number: TenantNumber) -> String {
    format!("{number}.receipt")
}

/// Whether the receipt of a tenant is there.
pub(crate) fn exists(vfs: &dyn Vfs, layout: &Layout, number: TenantNumber) -> io::Result<bool> {
    Ok(vfs.list(&layout.receipts)?.iter().any(|entry| entry.name == file_name(number)))
}

/// Publishes a receipt.
pub(crate) fn store(
    vfs: &dyn Vfs,
    layout: &Layout,
    number: TenantNumber,
    receipt: &str,
) -> Result<(), PublishError> {
    let name = file_name(number);
    let draft = layout.temporary.join(&name);
    let directory: &Path = &layout.receipts;
    publish(vfs, &[Draft { draft, directory: directory.to_owned(), name, bytes: receipt.as_bytes() }])
}

type Parsed<'a> = (Receipt, PublicKey, [u8; 64], &'a [u8]);

fn parse(receipt: &[u8]) -> Result<Parsed<'_>, ReceiptError> {
    let whole = std::str::from_utf8(receipt).map_err(|_| malformed(1, "it is not text"))?;
    let end = whole.rfind(SIGNATURE).filter(|&at| whole.get(..at).is_some_and(|text| text.ends_with('\n')));
    let count = whole.lines().count();
    let end = end.ok_or(malformed(count, "there is no signature"))?;
    let (text, last) = whole.split_at(end);
    let signature = last.strip_prefix(SIGNATURE).and_then(|last| unhex(last.strip_suffix('\n')?));
    let signature = signature.ok_or(malformed(count, "the signature is not 128 hexadecimal digits"))?;
    let mut lines = Lines { lines: text.lines().enumerate().peekable() };
    if lines.lines.next().map(|(_, line)| line) != Some(TITLE) {
        return Err(malformed(1, "the title is missing"));
    }
    lines.field("store: ", unhex::<16>)?;
    let tenant = lines.field("tenant: ", |value| TenantId::new(value).ok())?;
    let number = lines.field("number: ", |value| value.parse().ok().map(TenantNumber))?;
    let sealed = lines.field("sealed: ", |value| match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    })?;
    let time = |value: &str| value.split(' ').next()?.parse().ok().map(Timestamp);
    let hidden = lines.field("hidden: ", time)?;
    let keys_destroyed = lines.field("keys destroyed: ", time)?;
    let bytes_removed = lines.field("bytes removed: ", time)?;
    lines.field("removal due: ", time)?;
    let log_through = lines.field("log: ", |value| value.parse().ok().map(Lsn))?;
    while lines.is_next("key: ") {
        lines.field("key: ", Some)?;
    }
    let mut found = 0;
    while lines.is_next("block: ") {
        lines.field("block: ", |value| (value.split(' ').count() == 3).then_some(()))?;
        found += 1;
    }
    let blocks = lines.field("blocks: ", |value| value.parse().ok().filter(|count| *count == found))?;
    let signer = lines.field("signer: ", |value| value.parse().ok())?;
    if let Some((at, _)) = lines.lines.next() {
        return Err(malformed(at + 1, "nothing is expected there"));
    }
    let parsed =
        Receipt { tenant, number, sealed, hidden, keys_destroyed, bytes_removed, log_through, blocks };
    Ok((parsed, signer, signature, text.as_bytes()))
}

struct Lines<'a> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
}

impl<'a> Lines<'a> {
    fn is_next(&mut self, name: &str) -> bool {
        self.lines.peek().is_some_and(|(_, line)| line.starts_with(name))
    }

    fn field<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ReceiptError> {
        let Some((at, line)) = self.lines.next() else { return Err(malformed(0, "it ends too early")) };
        let value = line.strip_prefix(name).and_then(read);
        value.ok_or(malformed(at + 1, "another field, or another value, is expected there"))
    }
}

fn malformed(line: usize, what: &'static str) -> ReceiptError {
    ReceiptError::Malformed { line, what }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    let digit = |byte: u8| (byte as char).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    for (into, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *into = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(bytes)
}
