//! P9: one library holds it all. What a host hands in is files, a clock, randomness and a key store; tenancy, keys, limits and
//! retention are the library's.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use annals::vfs::{SimEntropy, SimVfs, Vfs as _};
use annals::*;
use common::{Machine, NOW, attempts, failures, gauges, id, plan, raw_signals, write_samples, write_signals};

/// All that a disk holds.
fn files(vfs: &SimVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    vfs.paths().into_iter().map(|path| (path.clone(), vfs.read_file(&path).expect("there"))).collect()
}

/// Two tenants' lives, on a disk of their own, with keys on another: what was answered.
fn lives(machine: &Machine, keys: &SimVfs) -> Vec<String> {
    let mut told = Vec::new();
    for directory in ["/vault", "/vault-tmp"] {
        keys.create_dir(directory.as_ref()).expect("made");
    }
    let holder = FileKeyStore::new(Arc::new(keys.clone()), "/vault".as_ref(), "/vault-tmp".as_ref());
    let encryption = Encryption::Keys(Arc::new(holder));
    let machine = Machine {
        vfs: machine.vfs.clone(),
        clock: machine.clock.clone(),
        entropy: machine.entropy.clone(),
        options: Options { encryption, ..machine.options.clone() },
    };
    let store = machine.open();
    // Tenancy and rights: one that may write samples, and one that may not.
    let mut small = plan("starter");
    small.limits.batch_records_max = 3;
    let [large, small] = [("large", plan("enterprise")), ("small", small)]
        .map(|(name, plan)| store.create_tenant(&id(name), plan).expect("created"));
    for (tenant, records) in [(&large, 5), (&small, 3)] {
        let times: Vec<i64> = (0..records).map(|i| NOW - 120_000 - i).collect();
        let written = write_signals(tenant, &attempts(1, &times)).expect("written");
        told.push(format!("{} of {}", written.accepted(), written.records));
    }
    told.push(format!(
        "{:?}",
        write_samples(&large, &gauges(2, "up", &[(0, NOW, 1.0)])).map(|ack| ack.accepted())
    ));
    told.push(format!(
        "{:?}",
        write_samples(&small, &gauges(2, "up", &[(0, NOW, 1.0)])).map(|ack| ack.refused)
    ));
    // Limits.
    told.push(format!("{:?}", write_signals(&small, &attempts(3, &[NOW; 4])).err()));
    for tenant in [&large, &small] {
        let reader = tenant.reader();
        told.push(format!("{} {}", failures(&reader, machine.now()), raw_signals(&reader)));
    }
    store.settle().expect("settled");
    // Retention, by the clock alone.
    machine.clock.advance_ms(9 * DAY_MS as u64);
    for tenant in [&large, &small] {
        let reader = tenant.reader();
        told.push(format!("{} {}", failures(&reader, machine.now()), raw_signals(&reader)));
    }
    while let Some(done) = store.maintenance_step().expect("done") {
        // What it did, without the checks of what it wrote.
        told.push(format!("{done:?}").split([' ', '{']).next().unwrap_or_default().to_owned());
    }
    // Keys: what is erased is gone with its key.
    store.erase_tenant(&id("large")).expect("erased");
    told.push(format!(
        "{} keys",
        keys.paths().iter().filter(|path| path.extension().is_some_and(|e| e == "key")).count()
    ));
    drop((large, small));
    store.close().expect("closed");
    let store = machine.open();
    told.extend(store.tenants().into_iter().map(|tenant| tenant.id.to_string()));
    told
}

#[test]
fn p9_one_library_holds_tenancy_keys_limits_and_retention_and_its_world_is_handed_in() {
    let run = |seed: u64| {
        let machine = Machine { entropy: Arc::new(SimEntropy::new(seed)), ..Machine::new() };
        let keys = SimVfs::new();
        let told = lives(&machine, &keys);
        (told, files(&machine.vfs), files(&keys))
    };
    let (told, disk, vault) = run(1);
    assert_eq!(
        told[..9],
        [
            "5 of 5",
            "3 of 3",
            "Ok(1)",
            "Ok([(0, Refusal { reason: NotEntitled, field: None })])",
            "Some(BatchTooLarge { records: 4, limit: 3 })",
            "5 5",
            "3 3",
            "5 5",
            "0 0",
        ]
    );
    assert!(told.contains(&"1 keys".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("small"));
    assert!(!disk.keys().any(|path| path.starts_with("/data/keys")), "keys are where the host puts them");
    // The same world is the same store, byte for byte: nothing else was asked for time, randomness or files.
    assert_eq!(run(1), (told.clone(), disk.clone(), vault.clone()));
    let (other_told, other_disk, other_vault) = run(2);
    assert_eq!(other_told, told, "randomness changes no answer");
    assert!(other_disk != disk && other_vault != vault);
}
