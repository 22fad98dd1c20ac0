//! Reading beside a live writer, a second writer, damage, a full disk.

mod common;

use std::path::PathBuf;

use annals::vfs::{SimCalls, SimError, SimFault, SimOp};
use annals::*;
use common::*;

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_store() {
    let machine = Machine::new();
    let store = machine.open();
    let error = machine.try_open().expect_err("held");
    assert!(matches!(error, OpenError::AlreadyOpen(_)), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    machine.open();
}

#[test]
fn a_reader_beside_a_writer_sees_blocks_and_the_durable_log() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let later = Timestamp(NOW + 60_000);
    let seen = || failures(&machine.read_only().tenant(&id("acme")).expect("there"), later);
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    tenant.flush().expect("flushed");
    assert_eq!(seen(), 1.0);
    write_signals(&tenant, &attempts(2, &[NOW])).expect("written");
    write_signals(&tenant, &attempts(3, &[NOW])).expect("written");
    // The second is known to be durable once the third says so.
    assert!(seen() >= 2.0);
    let old = machine.read_only();
    tenant.flush().expect("flushed");
    store.settle().expect("settled");
    assert_eq!(seen(), 3.0);
    // A reader of before goes on with the files that it has opened.
    assert!(failures(&old.tenant(&id("acme")).expect("there"), later) >= 2.0);
    write_signals(&tenant, &attempts(4, &[NOW])).expect("written");
    store.close().expect("closed");
    assert_eq!(seen(), 4.0);
}

#[test]
fn without_a_writer_a_reader_sees_all_that_was_acknowledged() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    machine.vfs.process_crash();
    let reader = machine.read_only().tenant(&id("acme")).expect("there");
    assert_eq!(failures(&reader, Timestamp(NOW + 60_000)), 1.0);
    assert_eq!(raw_signals(&reader), 1);
}

#[test]
fn a_read_only_open_of_nothing_creates_nothing() {
    let machine = Machine::new();
    let vfs = std::sync::Arc::new(machine.vfs.clone());
    let error = ReadOnly::open(vfs, machine.clock.clone(), "/data".as_ref()).expect_err("nothing there");
    assert!(matches!(error, OpenError::NoStore { .. }), "{error}");
    assert_eq!(machine.vfs.paths(), Vec::<PathBuf>::new());
}

/// Two tenants, each with a block per content of two days, and a log tail.
fn filled() -> Machine {
    let machine = Machine::new();
    let store = machine.open();
    for name in ["one", "two"] {
        let tenant = store.create_tenant(&id(name), plan("archive")).expect("created");
        write_signals(&tenant, &attempts(1, &[NOW, NOW - DAY_MS])).expect("written");
        tenant.flush().expect("flushed");
        write_signals(&tenant, &attempts(2, &[NOW + 1])).expect("written");
    }
    store.close().expect("closed");
    machine
}

fn files(machine: &Machine, part: &str) -> Vec<PathBuf> {
    machine.vfs.paths().into_iter().filter(|p| p.to_string_lossy().contains(part)).collect()
}

#[test]
fn a_damaged_block_is_named_and_the_rest_is_served() {
    let whole = filled();
    let later = Timestamp(NOW + HOUR_MS);
    assert_eq!(
        verify(std::sync::Arc::new(whole.vfs.clone()), "/data".as_ref()).expect("readable").findings,
        []
    );
    for path in files(&whole, "/t/1/b/") {
        let bytes = whole.vfs.read_file(&path).expect("readable");
        for at in (0..bytes.len()).step_by(7) {
            let machine = Machine { vfs: whole.vfs.snapshot(), ..Machine::new() };
            machine.vfs.corrupt(&path, at as u64, 0x10).expect("there");
            let found = verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref())
                .expect("readable")
                .findings;
            assert!(
                !found.is_empty() && found.iter().all(|f| f.path == path),
                "{} byte {at}: {found:?}",
                path.display()
            );
            let store = machine.open();
            let one = store.tenant(&id("one")).expect("there").reader();
            let answer = one.query("sum(increase(auth_attempts[60d]))", later).expect("answered");
            let told = answer.warnings.iter().any(|w| w.text.contains(&path.display().to_string()));
            let all = failures(&one, later) == 3.0;
            assert!(told || all, "byte {at}: less than all, and not a word");
            assert_eq!(failures(&store.tenant(&id("two")).expect("there").reader(), later), 3.0);
            write_signals(&store.tenant(&id("one")).expect("there"), &attempts(9, &[NOW])).expect("written");
            store.settle().err();
        }
    }
}

#[test]
fn a_truncated_block_is_named_and_the_rest_is_served() {
    let whole = filled();
    let later = Timestamp(NOW + HOUR_MS);
    for path in files(&whole, "/t/1/").into_iter().filter(|p| p.extension().is_some_and(|e| e == "blk")) {
        let bytes = whole.vfs.read_file(&path).expect("readable");
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let machine = Machine { vfs: whole.vfs.snapshot(), ..Machine::new() };
            machine.vfs.write_file(&path, &bytes[..length]).expect("there");
            let found = verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref())
                .expect("readable")
                .findings;
            assert_eq!(found.iter().map(|f| &f.path).collect::<Vec<_>>(), [&path]);
            let reader = machine.read_only().tenant(&id("one")).expect("there");
            let answer = reader.query("sum(increase(auth_attempts[60d]))", later).expect("answered");
            let mut missing = 0;
            missing += reader.scan_signals(TimeRange::ALL, &[], &mut |_| {}).len();
            assert!(!answer.warnings.is_empty() || missing == 1, "{}", path.display());
        }
    }
}

#[test]
fn one_damaged_copy_of_a_manifest_is_repaired_and_two_cost_that_tenant_only() {
    let whole = filled();
    let later = Timestamp(NOW + HOUR_MS);
    let manifest = files(&whole, "/t/1/manifest-").pop().expect("there is one");
    let half = whole.vfs.read_file(&manifest).expect("readable").len() as u64 / 2;
    let machine = Machine { vfs: whole.vfs.snapshot(), ..Machine::new() };
    machine.vfs.corrupt(&manifest, 60, 0xff).expect("there");
    let store = machine.open();
    assert!(store.recovery().findings[0].contains("manifest-"), "{:?}", store.recovery().findings);
    assert_eq!(failures(&store.tenant(&id("one")).expect("there").reader(), later), 3.0);
    drop(store);
    machine.vfs.corrupt(&manifest, half + 60, 0xff).expect("there");
    let store = machine.open();
    let error = store.tenant(&id("one")).expect_err("its manifest is gone");
    assert!(error.to_string().contains("manifest-"), "{error}");
    assert_eq!(failures(&store.tenant(&id("two")).expect("there").reader(), later), 3.0);
    store.settle().expect("the others go on");
    drop(store);
    // Nothing was deleted: with the manifest back, all of it is there.
    machine.vfs.write_file(&manifest, &whole.vfs.read_file(&manifest).expect("readable")).expect("there");
    assert_eq!(failures(&machine.open().tenant(&id("one")).expect("there").reader(), later), 3.0);
}

#[test]
fn a_flipped_bit_in_the_log_is_found_and_costs_at_most_its_record() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    for n in 0..4 {
        write_signals(&tenant, &attempts(n, &[NOW])).expect("written");
    }
    store.close().expect("closed");
    let later = Timestamp(NOW + HOUR_MS);
    let segment = files(&machine, "/wal/").pop().expect("there is one");
    let used = {
        let bytes = machine.vfs.read_file(&segment).expect("readable");
        bytes.iter().rposition(|&b| b != 0).expect("frames") + 1
    };
    for at in (0..used).step_by(3) {
        let damaged = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
        damaged.vfs.corrupt(&segment, at as u64, 0x04).expect("there");
        let store = damaged.try_open().unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let reader = store.tenant(&id("acme")).expect("there").reader();
        let (counted, mut raw) = (failures(&reader, later), 0);
        let missing = reader.scan_signals(TimeRange::ALL, &[], &mut |_| raw += 1);
        assert!(raw >= 3, "byte {at}: {raw} raw signals");
        // The first record names the series: without it the samples of the others have no series.
        let told = !store.recovery().findings.is_empty() && !missing.is_empty();
        assert!(
            (counted, raw) == (4.0, 4) || told,
            "byte {at}: {counted} counted, {raw} raw, and not a word"
        );
        let answer = reader.query("sum(increase(auth_attempts[1h]))", later).expect("answered");
        assert_eq!(answer.warnings.is_empty(), missing.is_empty(), "byte {at}");
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(0, &[NOW])).expect("written");
    machine.vfs.fail(SimFault::forever(SimCalls::Mutating, 0, SimError::NoSpace));
    let later = Timestamp(NOW + HOUR_MS);
    let mut refused = 0;
    let mut written = 1.0;
    for n in 1..200 {
        let times: Vec<i64> = (0..400).map(|i| NOW + i).collect();
        match write_signals(&tenant, &attempts(n, &times)) {
            Ok(_) => written += 400.0,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
    assert_eq!(failures(&tenant.reader(), later), written, "reads go on");
    assert!(tenant.flush().is_err());
    assert_eq!(failures(&tenant.reader(), later), written, "a failed flush changes nothing");
    machine.vfs.clear_faults();
    drop((tenant, store));
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert!(failures(&tenant.reader(), later) >= written);
    assert_eq!(write_signals(&tenant, &attempts(500, &[NOW])).expect("written").accepted(), 1);
}

#[test]
fn a_log_with_kinds_that_the_schema_does_not_have_is_not_opened_and_loses_nothing() {
    let schema = signals::register(
        "[[kind]]\nname = \"shop.order\"\n[[kind.field]]\nname = \"state\"\ntype = \"enumeration\"\n\
         values = [\"paid\", \"failed\"]\nrequired = true\n",
    )
    .expect("a schema");
    let host =
        Machine { options: Options { schema: schema.clone(), ..Machine::new().options }, ..Machine::new() };
    let store = host.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let order = Signal::new("shop.order", Timestamp(NOW)).with("state", "paid");
    let batch = SignalBatch { id: batch_id(1), site: site("shop.example"), signals: vec![order] };
    assert_eq!(write_signals(&tenant, &batch).expect("written").accepted(), 1);
    drop((tenant, store));
    let other = Machine { vfs: host.vfs.clone(), ..Machine::new() };
    let error = other.try_open().expect_err("it would lose the order");
    assert!(error.to_string().contains("shop.order"), "{error}");
    assert!(other.read_only().findings().iter().any(|finding| finding.contains("shop.order")));
    let store = host.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(raw_signals(&tenant.reader()), 1);
    tenant.flush().expect("flushed");
    drop((tenant, store));
    // In a block the kind's schema lies beside the rows.
    let store = other.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(raw_signals(&tenant.reader()), 1);
    assert_eq!(
        number(&tenant.reader(), "sum(increase(signals{kind=\"shop.order\"}[1h]))", Timestamp(NOW + 60_000)),
        1.0
    );
}

#[test]
fn writes_resume_when_space_returns() {
    let machine =
        Machine { options: Options { log_bytes_max: 4 << 20, ..Machine::new().options }, ..Machine::new() };
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let times: Vec<i64> = (0..2_000).map(|i| NOW + i).collect();
    write_signals(&tenant, &attempts(0, &times)).expect("written");
    machine.vfs.set_space(0);
    let mut number = 1;
    let refused = loop {
        match write_signals(&tenant, &attempts(number, &times)) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 10_000, "a full disk takes no end of writes");
    };
    assert!(matches!(refused, WriteError::NoSpace(_)), "{refused}");
    let later = Timestamp(NOW + HOUR_MS);
    assert_eq!(failures(&tenant.reader(), later), (number * 2_000) as f64);
    machine.vfs.set_space(u64::MAX);
    assert_eq!(write_signals(&tenant, &attempts(number, &times)).expect("space is back").accepted(), 2_000);
    assert_eq!(failures(&tenant.reader(), later), ((number + 1) * 2_000) as f64);
    store.settle().expect("settled");
    assert_eq!(failures(&tenant.reader(), later), ((number + 1) * 2_000) as f64);
}

#[test]
fn nothing_to_verify_is_no_store_and_a_missing_file_is_found() {
    let all = |machine: &Machine| verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref());
    let error = all(&Machine::new()).expect_err("nothing there");
    assert!(matches!(error, OpenError::NoStore { .. }), "{error}");
    let whole = filled();
    for part in ["/t/1/b/", "/t/2/s/", "/keys/1-4.key", "/wal/", "/t/2/manifest-"] {
        let machine = Machine { vfs: whole.vfs.snapshot(), ..Machine::new() };
        for path in files(&whole, part) {
            vfs::Vfs::unlink(&machine.vfs, &path).expect("there");
        }
        assert!(!all(&machine).expect("readable").findings.is_empty(), "without {part}");
    }
}

#[test]
fn data_without_a_catalogue_is_refused_and_left_alone() {
    let machine = filled();
    for path in files(&machine, "/data/catalog-") {
        vfs::Vfs::unlink(&machine.vfs, &path).expect("there");
    }
    let before = machine.vfs.paths();
    let error = machine.try_open().expect_err("which tenants there are is lost");
    assert!(matches!(error, OpenError::Catalogue(_)), "{error}");
    assert_eq!(machine.vfs.paths(), before);
}

#[test]
fn a_flush_that_fails_for_space_leaves_no_files_behind() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    let before = machine.vfs.paths();
    for _ in 0..3 {
        // Two blocks, then the manifest.
        for after in 0..3 {
            machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Create), after, SimError::NoSpace));
            tenant.flush().expect_err("no space");
            assert_eq!(machine.vfs.paths(), before, "create {after}");
        }
    }
    tenant.flush().expect("flushed");
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + HOUR_MS)), 1.0);
}

#[test]
fn a_directory_that_cannot_be_listed_when_a_store_is_opened_is_in_nobodys_way() {
    let mut opened = 0;
    for after in 0..12 {
        let machine = Machine::new();
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
        write_samples(&tenant, &gauges(1, "m", &[(0, NOW, 1.0)])).expect("written");
        // A block that no manifest names stays behind.
        machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Create), 1, SimError::NoSpace));
        machine
            .vfs
            .fail(SimFault { forever: true, ..SimFault::once(SimCalls::Of(SimOp::Unlink), 0, SimError::Io) });
        tenant.flush().expect_err("no space");
        assert_eq!(
            machine.vfs.paths().iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).count(),
            1
        );
        machine.vfs.clear_faults();
        drop((tenant, store));
        machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::List), after, SimError::Io));
        let Ok(store) = machine.try_open() else { continue };
        opened += 1;
        machine.vfs.clear_faults();
        let Ok(tenant) = store.tenant(&id("acme")) else { continue };
        tenant.flush().unwrap_or_else(|error| panic!("listing {after} failed: {error}"));
        assert_eq!(number(&tenant.reader(), "m", Timestamp(NOW)), 1.0);
    }
    assert!(opened > 2, "{opened}");
}

#[test]
fn a_suspended_tenant_keeps_no_other_from_its_flush() {
    let options = Options { head_age_ms_max: 0, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let [one, two] =
        ["one", "two"].map(|name| store.create_tenant(&id(name), plan("archive")).expect("created"));
    write_signals(&one, &attempts(1, &[NOW])).expect("written");
    // The directories of both blocks and of drafts, then the manifest's.
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::SyncDir), 3, SimError::Io));
    let error = one.flush().expect_err("not known to be durable");
    assert!(matches!(error, MaintenanceError::Indeterminate { .. }), "{error}");
    assert!(matches!(one.flush(), Err(MaintenanceError::Suspended { .. })));
    write_signals(&two, &attempts(1, &[NOW])).expect("written");
    let done = store.maintenance_step().expect("the other has its turn");
    assert!(matches!(&done, Some(Done::Flushed { tenant, .. }) if tenant.as_str() == "two"), "{done:?}");
    for tenant in [&one, &two] {
        assert_eq!(failures(&tenant.reader(), Timestamp(NOW + HOUR_MS)), 1.0);
    }
    drop((one, two, store));
    let one = machine.open().tenant(&id("one")).expect("there");
    assert_eq!(failures(&one.reader(), Timestamp(NOW + HOUR_MS)), 1.0);
}

#[test]
fn a_log_that_could_not_be_truncated_is_truncated_later() {
    let options = Options { log_bytes_max: 512 << 10, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let times: Vec<i64> = (0..1_000).map(|i| NOW - i).collect();
    for n in 0.. {
        match write_signals(&tenant, &attempts(n, &times)) {
            Ok(_) => {}
            Err(WriteError::Overloaded { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    // After the older manifest's.
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Unlink), 1, SimError::Io));
    let error = tenant.flush().expect_err("a segment could not be removed");
    assert!(matches!(error, MaintenanceError::Log(_)), "{error}");
    write_signals(&tenant, &attempts(5_000, &times)).expect_err("the log is full");
    while store.maintenance_step().expect("nothing fails any more").is_some() {}
    write_signals(&tenant, &attempts(5_000, &times)).expect("there is room");
}

#[test]
fn a_store_closes_while_others_write_and_flush() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for round in 0..60u64 {
            // Every head is due at once: the maintenance thread flushes all the time.
            let options =
                Options { background: Background::Threads, head_age_ms_max: 0, ..Machine::new().options };
            let machine = Machine { options, ..Machine::new() };
            let store = machine.open();
            let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
            let writer = tenant.clone();
            let writing = std::thread::spawn(move || {
                (0..).take_while(|&n| write_signals(&writer, &attempts(n, &[NOW])).is_ok()).count()
            });
            let flusher = tenant.clone();
            let flushing = std::thread::spawn(move || (0..20).filter(|_| flusher.flush().is_err()).count());
            std::thread::sleep(std::time::Duration::from_millis(round % 7));
            store.close().expect("closed");
            let written = writing.join().expect("no panic");
            flushing.join().expect("no panic");
            drop(tenant);
            let store = Machine { options: Machine::new().options, ..machine }.open();
            let reader = store.tenant(&id("acme")).expect("there").reader();
            let counted = failures(&reader, Timestamp(NOW + HOUR_MS));
            assert!(counted == written as f64 || counted == written as f64 + 1.0, "{counted} of {written}");
        }
        done.send(()).expect("the test waits");
    });
    finished.recv_timeout(std::time::Duration::from_secs(60)).expect("no store hangs");
}

/// Batches that fill the log of 512 KiB several times over, with a flush whenever it is full.
fn write_through(store: &Annals, tenant: &Tenant, from: u64) {
    let times: Vec<i64> = (0..1_000).map(|i| NOW - i).collect();
    for n in from..from + 100 {
        if let Err(error) = write_signals(tenant, &attempts(n, &times)) {
            assert!(matches!(error, WriteError::Overloaded { .. }), "{error}");
            store.settle().expect("settled");
            write_signals(tenant, &attempts(n, &times)).expect("there is room after a flush");
        }
    }
}

#[test]
fn a_tenant_that_cannot_be_used_does_not_fill_the_log_of_the_others() {
    for lost in ["/t/1/manifest-", "/keys/1-4.key"] {
        let options = Options { log_bytes_max: 512 << 10, ..Machine::new().options };
        let machine = Machine { options, ..Machine::new() };
        let store = machine.open();
        let [one, two] =
            ["one", "two"].map(|name| store.create_tenant(&id(name), plan("archive")).expect("created"));
        // In blocks, and out of the log once it moves on.
        write_signals(&one, &attempts(1, &[NOW])).expect("written");
        store.settle().expect("settled");
        write_through(&store, &two, 0);
        drop((one, two, store));
        let kept: Vec<_> = files(&machine, lost)
            .into_iter()
            .map(|path| (path.clone(), machine.vfs.read_file(&path).expect("readable")))
            .collect();
        let damage = |at: usize| {
            for (path, bytes) in &kept {
                let bytes = if at == 0 { vec![0xee; bytes.len()] } else { bytes.clone() };
                machine.vfs.write_file(path, &bytes).expect("there");
            }
        };
        damage(0);
        let store = machine.open();
        assert_eq!(store.recovery().unavailable.len(), 1, "{lost}");
        write_through(&store, &store.tenant(&id("two")).expect("there"), 1_000);
        drop(store);
        damage(1);
        let store = machine.open();
        let one = store.tenant(&id("one")).expect("usable again");
        assert_eq!(failures(&one.reader(), Timestamp(NOW + HOUR_MS)), 1.0, "{lost}");
    }
}

#[test]
fn what_the_log_holds_of_a_tenant_that_cannot_be_used_stays() {
    for lost in ["/t/1/manifest-", "/keys/1-4.key"] {
        let options = Options { log_bytes_max: 512 << 10, ..Machine::new().options };
        let machine = Machine { options, ..Machine::new() };
        let store = machine.open();
        let [one, two] =
            ["one", "two"].map(|name| store.create_tenant(&id(name), plan("archive")).expect("created"));
        write_signals(&one, &attempts(1, &[NOW])).expect("written");
        write_signals(&two, &attempts(1, &[NOW])).expect("written");
        drop((one, two, store));
        let path = files(&machine, lost).pop().expect("there");
        let bytes = machine.vfs.read_file(&path).expect("readable");
        machine.vfs.write_file(&path, &vec![0xee; bytes.len()]).expect("there");
        let store = machine.open();
        let two = store.tenant(&id("two")).expect("there");
        let times: Vec<i64> = (0..1_000).map(|i| NOW - i).collect();
        for n in 2..40 {
            let _ = write_signals(&two, &attempts(n, &times));
            store.settle().expect("settled");
        }
        drop((two, store));
        machine.vfs.write_file(&path, &bytes).expect("there");
        let one = machine.open().tenant(&id("one")).expect("usable again");
        assert_eq!(failures(&one.reader(), Timestamp(NOW + HOUR_MS)), 1.0, "{lost}");
    }
}

#[test]
fn a_segment_that_could_not_be_made_ready_gives_its_space_back() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    // The reserve is made first, and is there from then on.
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Rename), 1, SimError::Io));
    store.maintenance_step().expect_err("the next segment");
    let before = machine.vfs.paths();
    for (op, after, done) in [
        (SimOp::SyncDir, 0, false),
        (SimOp::SyncDir, 1, false),
        (SimOp::Rename, 0, false),
        (SimOp::Rename, 0, true),
    ] {
        let fault = SimFault::once(SimCalls::Of(op), after, SimError::Io);
        machine.vfs.fail(SimFault { done, ..fault });
        store.maintenance_step().expect_err("the next segment");
        assert_eq!(machine.vfs.paths(), before, "{op:?} {after} {done}");
    }
    while store.maintenance_step().expect("nothing fails any more").is_some() {}
    write_signals(&tenant, &attempts(2, &[NOW])).expect("written");
}
