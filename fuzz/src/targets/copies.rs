//! What was taken out of a store: backups, each file put into one that is then checked and restored; and manifests of
//! exports.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use annals::vfs::{SimClock, SimEntropy, SimVfs, Vfs};
use annals::{
    Annals, At, Background, Encryption, Options, ReadOnly, RestoreInto, TenantId, restore, snapshots,
    verify_backup,
};
use annals_export::{Format, MANIFEST_NAME, Request};

use super::files::read_all;
use crate::seeds;

const BACKUP: &str = "/backup";
const EXPORT: &str = "/export";
const RESTORED: &str = "/restored";

/// A store that is not sealed, two snapshots of it, and an export of a tenant.
static COPIED: LazyLock<SimVfs> = LazyLock::new(|| {
    let vfs = seeds::store();
    let store = Annals::open(Arc::new(vfs.clone()), clock(), entropy(), Path::new("/data"), options());
    let store = store.expect("a sound store opens");
    let tenant = store.tenant(&TenantId::new("one").expect("valid")).expect("there");
    store.backup(Path::new(BACKUP)).expect("taken");
    tenant.flush().expect("flushed");
    store.backup(Path::new(BACKUP)).expect("taken");
    let formats = [Format::JsonLines];
    let request = Request { directory: Path::new(EXPORT), formats: &formats };
    drop(tenant);
    store.close().expect("closed");
    let store = ReadOnly::open(Arc::new(vfs.clone()), clock(), Path::new("/data")).expect("opens");
    let reader = store.export(&TenantId::new("one").expect("valid")).expect("the plan has the right");
    annals_export::export(&reader, &vfs, &request, &mut |_| {}).expect("exported");
    vfs
});

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::new(seeds::NOW))
}

fn entropy() -> Arc<SimEntropy> {
    Arc::new(SimEntropy::new(11))
}

fn options() -> Options {
    let encryption = Encryption::None;
    Options { background: Background::Steps, log_bytes_max: 1 << 20, encryption, ..Options::default() }
}

/// The machine with `bytes` in place of the newest file whose path holds `part`.
fn with(part: &str, bytes: &[u8]) -> SimVfs {
    let vfs = COPIED.snapshot();
    let path = vfs.paths().into_iter().rfind(|path| path.to_string_lossy().contains(part));
    vfs.write_file(path.expect("there is one"), bytes).expect("the directory is there");
    vfs
}

fn in_backup(part: &str, bytes: &[u8]) {
    let vfs: Arc<dyn Vfs> = Arc::new(with(part, bytes));
    let directory = Path::new(BACKUP);
    let listed = snapshots(&*vfs, directory);
    let checked = verify_backup(&*vfs, directory);
    assert!(listed.is_ok() || checked.is_err(), "what cannot be listed was checked");
    let options = options();
    let into = RestoreInto { root: Path::new(RESTORED), options: &options };
    let restored = restore(&vfs, &*clock(), &*entropy(), directory, At::Newest, None, into);
    let Ok(store) = ReadOnly::open(vfs, clock(), Path::new(RESTORED)) else {
        assert!(restored.is_err(), "what was restored cannot be opened");
        return;
    };
    for tenant in store.tenants() {
        if let Ok(reader) = store.tenant(&tenant.id) {
            read_all(reader.with_limits(super::files::limits()));
        }
    }
}

pub(super) fn snapshot(bytes: &[u8]) {
    in_backup("/snapshot-", bytes);
}

pub(super) fn log_piece(bytes: &[u8]) {
    in_backup("/files/log-", bytes);
}

pub(super) fn export_manifest(bytes: &[u8]) {
    let vfs = with(MANIFEST_NAME, bytes);
    if let Ok(verified) = annals_export::verify(&vfs, Path::new(EXPORT)) {
        let whole = COPIED.read_file(Path::new(EXPORT).join(MANIFEST_NAME)).expect("there");
        // Who says so is who holds the digest.
        let same = annals_export::verify(&*COPIED, Path::new(EXPORT)).expect("whole");
        assert_eq!(verified.sha256 == same.sha256, bytes == whole, "a forged manifest");
    }
}

pub(super) fn backup_seeds(part: &str) -> Vec<Vec<u8>> {
    seeds::files_of(&COPIED, part)
}

pub(super) fn export_seeds() -> Vec<Vec<u8>> {
    vec![COPIED.read_file(Path::new(EXPORT).join(MANIFEST_NAME)).expect("there")]
}
