//! What proves something to somebody: receipts of erasures, and the audit log.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, Operator, Options, PublicKey, ReadOnly, Receipt, TenantId, Timestamp, audit_trail,
};

use crate::seeds;

/// A receipt, and the key that it is checked by.
static RECEIPT: LazyLock<(Vec<u8>, PublicKey)> = LazyLock::new(|| {
    let vfs = seeds::sealed_store();
    let (clock, entropy) = (Arc::new(SimClock::new(seeds::NOW)), Arc::new(SimEntropy::new(7)));
    let options = Options { background: Background::Steps, log_bytes_max: 1 << 20, ..Options::default() };
    let store =
        Annals::open(Arc::new(vfs.clone()), clock, entropy, Path::new("/data"), options).expect("opens");
    let erasure = store.erase_tenant(&TenantId::new("one").expect("valid")).expect("erased");
    while store.maintenance_step().expect("maintenance works").is_some() {}
    (vfs.read_file(erasure.receipt).expect("written"), store.receipt_key().expect("there"))
});

/// The files of an audit log.
static AUDIT: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let vfs = seeds::store();
    for operator in ["ann", "bob"] {
        let clock = Arc::new(SimClock::new(seeds::NOW));
        let store = ReadOnly::open(Arc::new(vfs.clone()), clock, Path::new("/data")).expect("opens");
        let operator = Operator::new(operator, "ticket 4711").expect("valid");
        let reader = store.operator_reader(&TenantId::new("one").expect("valid"), operator).expect("there");
        for query in ["cpu", "a\tb\n", "sum(cpu)"] {
            let _ = reader.query(query, Timestamp(seeds::NOW));
        }
    }
    ["1", "2"].map(|number| vfs.read_file(format!("/data/audit/0000000{number}.log")).expect("there")).into()
});

/// Nothing but what was signed is believed.
pub(super) fn receipt(bytes: &[u8]) {
    let (signed, key) = &*RECEIPT;
    let believed = Receipt::verify(bytes, key).is_ok();
    assert_eq!(believed, bytes == signed, "a forged receipt");
}

pub(super) fn receipt_seeds() -> Vec<Vec<u8>> {
    vec![RECEIPT.0.clone()]
}

/// The bytes stand before, behind or in place of a file that is whole.
pub(super) fn audit(bytes: &[u8]) {
    let vfs = SimVfs::new();
    vfs.make_dirs(["/data", "/data/audit"]);
    let Some((&order, bytes)) = bytes.split_first() else { return };
    let whole = AUDIT.first().map_or(&[][..], Vec::as_slice);
    let files = if order % 2 == 0 { [whole, bytes] } else { [bytes, whole] };
    for (file, number) in files.into_iter().zip(1..) {
        vfs.write_file(format!("/data/audit/{number:08}.log"), file).expect("written");
    }
    let trail = audit_trail(&vfs, Path::new("/data")).expect("readable");
    assert_eq!(trail.entries.len(), trail.hashes.len());
    let changed = trail.entries.iter().any(|entry| !["ann", "bob"].contains(&entry.operator.as_str()));
    assert!(!changed || !trail.findings.is_empty(), "an entry that nobody wrote");
}

pub(super) fn audit_seeds() -> Vec<Vec<u8>> {
    AUDIT.iter().flat_map(|file| [0, 1].map(|order| [&[order], file.as_slice()].concat())).collect()
}
