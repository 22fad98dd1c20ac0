//! Deliberate damage by hand to a real folder: each gives a clear message that names file and loss, and everything else
//! is served.

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bench, Ran, access_log};

/// Two tenants with the same three days, in blocks, and a little in the log.
fn store() -> Bench {
    let bench = Bench::with_tenant("archive");
    bench.ok(&["tenant", "create", "other", "--plan", "archive"]);
    let file = bench.file("access.log", access_log(0..9_000));
    for tenant in ["acme", "other"] {
        bench.ok(&["import", "--tenant", tenant, "--site", "www", "--format", "apache", &file]);
    }
    bench.ok(&["compact"]);
    bench
}

fn files(bench: &Bench, directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(bench.store().join(directory))
        .expect("a directory")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(ending))
        .collect();
    found.sort();
    found
}

/// The block of acme's second day.
fn block(bench: &Bench) -> PathBuf {
    let blocks = files(bench, "t/1/b", "20150518-raw");
    blocks.into_iter().next_back().expect("a block of that day")
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// What `dd conv=notrunc` does.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut permissions = fs::metadata(path).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test's own directory")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("ours");
    let file = fs::OpenOptions::new().write(true).open(path).expect("writable");
    file.write_all_at(bytes, at).expect("written");
}

fn verify(bench: &Bench) -> Ran {
    bench.run(&["verify"])
}

/// Exit code 3, and one finding that names the file and says what is lost.
fn names(ran: &Ran, file: &str, lost: &str) {
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(file), "`{file}` is not named: {}", ran.out);
    assert!(ran.out.contains(lost), "`{lost}` is not said: {}", ran.out);
    assert!(ran.out.contains("\n1 finding in "), "{}", ran.out);
}

/// Requests of a day, and what was said beside.
fn day(bench: &Bench, tenant: &str, at: &str) -> (String, String) {
    let ran = bench.run(&[
        "query",
        "sum(increase(http_requests[1d]))",
        "--tenant",
        tenant,
        "--at",
        at,
        "-o",
        "csv",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let value =
        ran.out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or_default().to_owned();
    (value, ran.err)
}

/// The other tenant, and the days of acme that were not hit.
fn the_rest_is_served(bench: &Bench) {
    for at in ["2015-05-18", "2015-05-19"] {
        let expected = if at == "2015-05-18" { "2520" } else { "4320" };
        assert_eq!(day(bench, "other", at), (expected.to_owned(), String::new()), "{at}");
    }
    assert_eq!(day(bench, "acme", "2015-05-18").0, "2520");
}

fn repaired(bench: &Bench) -> Ran {
    let ran = bench.run(&["verify", "--repair"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no damage in "), "{}", ran.out);
    let again = verify(bench);
    assert_eq!((again.code, &again.out), (0, &ran.out), "a repaired store stays so");
    ran
}

#[test]
fn a_backup_without_keys_is_checked_and_a_lost_key_is_named() {
    let bench = store();
    let keys = bench.store().join("keys");
    let (key, away) = (keys.join("1-4.key"), bench.store().join("away"));
    fs::rename(&key, &away).expect("there");
    names(&verify(&bench), "1-4.key", "the whole tenant, until this is repaired");
    let ran = bench.run(&["verify", "--repair"]);
    assert_eq!((ran.code, ran.out.contains("1-4.key")), (3, true), "{}{}", ran.out, ran.err);
    let ran = bench.run(&["verify", "--without-keys"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("sealed and was not opened"), "{}", ran.out);
    let hit = block(&bench);
    overwrite(&hit, 300, b"\0\x5a\0\x5a");
    let ran = bench.run(&["verify", "--without-keys"]);
    assert_eq!((ran.code, ran.out.contains(&name(&hit))), (3, true), "{}{}", ran.out, ran.err);
    fs::rename(&away, &key).expect("put back");
    repaired(&bench);
}

#[test]
fn bytes_written_into_a_block_cost_what_they_hit() {
    let bench = store();
    let hit = block(&bench);
    let length = fs::metadata(&hit).expect("there").len();
    overwrite(&hit, length / 3, &[0x5a; 8]);
    let ran = verify(&bench);
    names(&ran, &name(&hit), "samples after 2015-05-1");
    assert!(ran.out.contains("(tenant acme)"), "{}", ran.out);
    the_rest_is_served(&bench);
    let (value, said) = day(&bench, "acme", "2015-05-19");
    assert!(value == "4320" || said.contains(&name(&hit)), "{value}: {said}");

    let json = bench.run(&["verify", "-o", "json"]);
    assert_eq!(json.code, 3);
    let list: serde_json::Value = serde_json::from_str(&json.out).expect("json");
    assert!(list.to_string().contains(&name(&hit)), "{list}");

    let done = repaired(&bench);
    assert!(done.err.contains(&name(&hit)) && done.err.contains("quarantine"), "{}", done.err);
    assert!(done.out.contains("tenant acme's") && done.out.contains("quarantine"), "{}", done.out);
    the_rest_is_served(&bench);
    assert!(bench.ok(&["compact"]).contains("flushed"));
}

#[test]
fn a_deleted_block_is_named_and_given_up_by_a_repair_only() {
    let bench = store();
    let hit = block(&bench);
    fs::remove_file(&hit).expect("removed");
    names(&verify(&bench), &name(&hit), "samples after 2015-05-1");
    the_rest_is_served(&bench);
    let (_, said) = day(&bench, "acme", "2015-05-19");
    assert!(said.contains(&name(&hit)), "{said}");
    let done = repaired(&bench);
    assert!(done.out.contains("missing, a record alone"), "{}", done.out);
    the_rest_is_served(&bench);
}

#[test]
fn blocks_that_changed_places_are_named_and_put_back() {
    let bench = store();
    let (a, b) = (block(&bench), files(&bench, "t/2/b", "20150518-raw").remove(0));
    let aside = bench.path("aside");
    fs::rename(&a, &aside)
        .and_then(|()| fs::rename(&b, &a))
        .and_then(|()| fs::rename(&aside, &b))
        .expect("moved");
    let ran = verify(&bench);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("it holds block") && ran.out.contains("2 findings"), "{}", ran.out);
    let (_, said) = day(&bench, "acme", "2015-05-19");
    assert!(said.contains(&name(&a)), "never another tenant's answer without a word: {said}");
    repaired(&bench);
    the_rest_is_served(&bench);
    assert_eq!(day(&bench, "acme", "2015-05-19"), ("4320".to_owned(), String::new()));
}

#[test]
fn a_foreign_file_is_named_and_set_aside() {
    let bench = store();
    fs::write(bench.store().join("t/1/b/notes.txt"), "not ours").expect("written");
    names(&verify(&bench), "notes.txt", "lost    nothing");
    the_rest_is_served(&bench);
    repaired(&bench);
    assert!(!bench.store().join("t/1/b/notes.txt").exists());
}

#[test]
fn one_copy_of_a_manifest_is_enough_and_none_costs_that_tenant_only() {
    let bench = store();
    let manifest = files(&bench, "t/1", "manifest-").pop().expect("a manifest");
    let whole = fs::read(&manifest).expect("readable");
    overwrite(&manifest, 64, &[0xff; 32]);
    names(&verify(&bench), &name(&manifest), "the other copy is whole");
    // Whoever reads the store is told of it; every answer is whole.
    for tenant in ["acme", "other"] {
        let (value, said) = day(&bench, tenant, "2015-05-19");
        assert!(value == "4320" && said.contains(&name(&manifest)), "{value}: {said}");
    }
    repaired(&bench);
    the_rest_is_served(&bench);

    // Cut in the middle of its first copy: nothing of it is left.
    let newest = files(&bench, "t/1", "manifest-").pop().expect("a manifest");
    fs::remove_file(&newest).expect("ours");
    fs::write(&newest, &whole[..whole.len() / 2 - 100]).expect("written");
    let ran = verify(&bench);
    names(&ran, &name(&newest), "the whole tenant, until this is repaired");
    assert_eq!(day(&bench, "other", "2015-05-19").0, "4320");
    let refused = bench.run(&["query", "vector(1)", "--tenant", "acme"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains(&name(&newest)), "{}", refused.err);
    // Verbs of the whole store do the rest, and say whom they leave out.
    for verb in ["stats", "compact"] {
        let ran = bench.run(&[verb]);
        assert!(ran.code == 0 && ran.err.contains("tenant acme is unavailable"), "{verb}: {}", ran.err);
    }
    let before = files(&bench, "t/1/b", ".blk");
    let left = bench.run(&["verify", "--repair"]);
    assert_eq!(left.code, 3, "{}", left.out);
    assert_eq!(files(&bench, "t/1/b", ".blk"), before, "nothing is adopted, nothing is deleted");
}

#[test]
fn a_deleted_log_is_named_and_what_is_in_blocks_is_served() {
    let bench = store();
    for segment in files(&bench, "wal", ".seg") {
        fs::remove_file(segment).expect("removed");
    }
    names(&verify(&bench), "wal", "what is not in blocks yet");
    let told = "there is no segment of the log, and there was one";
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.code == 3 && doctor.out.contains(told), "{}", doctor.out);
    let asked = bench.run(&["labels", "--tenant", "acme"]);
    assert!(asked.code == 0 && asked.err.contains(told), "{}{}", asked.out, asked.err);
    // Whose records it had is not known: each answer is there, and says so.
    for tenant in ["acme", "other"] {
        let (count, warning) = day(&bench, tenant, "2015-05-18");
        assert!(count == "2520" && warning.contains(told), "{tenant}: {count}, {warning}");
    }
}

#[test]
fn a_newer_format_is_left_alone() {
    let bench = store();
    let hit = block(&bench);
    overwrite(&hit, 8, &2u16.to_le_bytes());
    let mut header = fs::read(&hit).expect("readable");
    header.truncate(60);
    overwrite(&hit, 60, &crc32(&header).to_le_bytes());
    names(&verify(&bench), "block format 2 is newer", "samples after");
    the_rest_is_served(&bench);
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.code == 3 && doctor.out.contains("block format 2 is newer"), "{}", doctor.out);
    let left = bench.run(&["verify", "--repair"]);
    assert_eq!(left.code, 3, "{}", left.out);
    assert!(hit.exists(), "a newer engine can read it");
}

/// The check of a block's header.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).expect("created");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: a tmpfs cannot be mounted here, so no disk can be filled");
        return;
    }
    let outcome = std::panic::catch_unwind(|| fill_and_read(&bench));
    let _ = Command::new("umount").arg(&disk).status();
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed);
    }
}

fn fill_and_read(bench: &Bench) {
    let data = ["--data", "disk/store"];
    let with = |args: &[&str]| bench.run(&[args, &data].concat());
    let created = with(&["tenant", "create", "acme", "--plan", "archive"]);
    if created.code != 0 {
        // Space that is kept back does not fit: said as such.
        assert!(created.err.contains("space"), "{}", created.err);
        let _ = writeln!(std::io::stderr(), "SKIPPED: a store does not fit a disk of 6 MiB");
        return;
    }
    let file = bench.file("a.log", access_log(0..2_000));
    let imported = with(&["import", "--site", "www", "--format", "apache", &file]);
    let filler = bench.path("disk/filler");
    let free = vec![0; 8 << 20];
    let _ = fs::write(&filler, &free);
    let more = bench.file("b.log", access_log(2_000..60_000));
    let refused = with(&["import", "--site", "www", "--format", "apache", &more]);
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert!(refused.err.to_lowercase().contains("space") || refused.err.contains("full"), "{}", refused.err);
    let read = with(&["query", "sum(increase(http_requests[1d]))", "--at", "2015-05-18", "-o", "csv"]);
    assert_eq!(read.code, 0, "{}", read.err);
    assert_eq!(with(&["verify"]).code, 0);
    let doctor = with(&["doctor"]);
    assert!(doctor.code == 3 && doctor.out.contains(" are free on the disk\n"), "{}", doctor.out);
    fs::remove_file(&filler).expect("removed");
    assert_eq!(imported.code, 0, "{}", imported.err);
    let again = with(&["import", "--site", "www", "--format", "apache", &file]);
    assert_eq!(again.code, 0, "{}", again.err);
}
