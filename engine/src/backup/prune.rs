//! Removing old snapshots, and what is left of tenants whose keys are destroyed.
//!
//! ```text
//!   1  erased-<gen> says whose files are to go          from here on no snapshot has them
//!   2  old snapshots go, oldest first
//!   3  files that no snapshot names go                  as at the beginning of every backup
//! ```
//!
//! Content of the twin file `erased-<gen>`: how many (LEB128), then the numbers of tenants, ascending (LEB128). What the log
//! has of them shares its pieces with others' records; it cannot be read, and goes with the last snapshot that needs a piece.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{TenantId, TenantNumber};
use annals_vfs::{Clock, Vfs};

use super::{BackupError, Backups, Writable};
use crate::key_store::{KeyName, KeyStanding, KeyStore};
use crate::manifest::take_list;

/// What was removed from a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The snapshots that went.
    pub snapshots: Vec<u64>,
    /// Tenants whose keys are destroyed, and whose files went with this.
    pub erased: Vec<TenantId>,
    /// Files that went.
    pub files: u64,
}

/// Keeps the newest `keep` snapshots of a backup, at least one, and the newest that has no faults, and of those no file of a tenant whose key `keys` says is
/// destroyed.
pub fn prune_backup(
    vfs: &dyn Vfs,
    clock: &dyn Clock,
    directory: &Path,
    keep: usize,
    keys: Option<&dyn KeyStore>,
) -> Result<Pruned, BackupError> {
    // Said before anything is made.
    Backups::read(vfs, directory)?;
    let Writable { mut backups, _lock } = Writable::open(vfs, clock, directory)?;
    backups.must_be_readable()?;
    let destroyed = keys.map_or(Ok(BTreeMap::new()), |keys| destroyed(&backups, keys))?;
    let mut pruned = Pruned { erased: destroyed.values().cloned().collect(), ..Pruned::default() };
    if !destroyed.is_empty() {
        backups.erased.extend(destroyed.keys());
        let store = backups.snapshots.values().next().map(|snapshot| snapshot.store).unwrap_or_default();
        let (files, generation) = (backups.place.erased(), backups.erased_generation + 1);
        let content = encode_numbers(&backups.erased);
        files
            .store(vfs, &backups.place.temporary, store, generation, &content)
            .map_err(BackupError::published("write", &files.path(generation)))?;
        let _ = files.remove_older(vfs, generation);
    }
    let numbers: Vec<u64> = backups.snapshots.keys().copied().collect();
    let (old, _) = numbers.split_at(numbers.len().saturating_sub(keep.max(1)));
    // Where the newest ones lack something, it may be all that there is of that.
    let last_whole = backups.snapshots.iter().rev().find(|(_, snapshot)| snapshot.faults.is_empty());
    let last_whole = last_whole.map(|(number, _)| *number);
    let old: Vec<u64> = old.iter().copied().filter(|number| Some(*number) != last_whole).collect();
    for &number in &old {
        let path = backups.place.snapshots().path(number);
        vfs.unlink(&path).map_err(BackupError::io("remove", &path))?;
        backups.snapshots.remove(&number);
        pruned.snapshots.push(number);
    }
    if !old.is_empty() {
        let directory = &backups.place.directory;
        vfs.sync_dir(directory).map_err(BackupError::io("sync", directory))?;
    }
    pruned.files = backups.collect(vfs)?;
    Ok(pruned)
}

/// Tenants of whom there may be files, and whose key is destroyed.
fn destroyed(
    backups: &Backups,
    keys: &dyn KeyStore,
) -> Result<BTreeMap<TenantNumber, TenantId>, BackupError> {
    let mut destroyed = BTreeMap::new();
    for snapshot in backups.snapshots.values() {
        for tenant in snapshot.tenants.iter().filter(|tenant| !backups.erased.contains(&tenant.number)) {
            let name = KeyName { store: snapshot.store, tenant: tenant.number };
            if keys.standing(name).map_err(BackupError::Keys)? == KeyStanding::Destroyed {
                destroyed.insert(tenant.number, tenant.id.clone());
            }
        }
    }
    Ok(destroyed)
}

fn encode_numbers(numbers: &BTreeSet<TenantNumber>) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(numbers.len() as u64);
    numbers.iter().for_each(|number| out.put_varint(u64::from(number.0)));
    out
}

/// Decodes the content of a list of erased tenants; `None` where it is not one.
pub(crate) fn decode_numbers(bytes: &[u8]) -> Option<BTreeSet<TenantNumber>> {
    let mut cursor = Cursor::new(bytes);
    let numbers = take_list(&mut cursor, 1, |c| Some(TenantNumber(u32::try_from(c.varint()?).ok()?)))?;
    let ascending = numbers.is_sorted_by(|a, b| a < b) && cursor.is_empty();
    ascending.then(|| numbers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_list_of_erased_tenants_are_held() {
        let numbers: BTreeSet<TenantNumber> = [TenantNumber(300), TenantNumber(7)].into();
        assert_eq!(encode_numbers(&numbers), b"\x02\x07\xac\x02");
        assert_eq!(decode_numbers(b"\x02\x07\xac\x02"), Some(numbers));
        for bad in [&b""[..], b"\x01", b"\x02\x07\x07", b"\x02\x08\x07", b"\x01\x07\x07", b"\xff\xff\x03\x01"]
        {
            assert_eq!(decode_numbers(bad), None, "{bad:?}");
        }
    }
}
