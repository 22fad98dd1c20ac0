//! The quarantine: where files go that cannot be used, each with a record of what it is, until their date.
//!
//! A file `<name>` in `quarantine/` has a record `<name>.record` beside it, a text of one field a line:
//!
//! | field   | notes                                                                          |
//! |---------|--------------------------------------------------------------------------------|
//! | `file`  | where it was, relative to the root                                             |
//! | `owner` | the tenant's id, or `-`                                                        |
//! | `class` | what kind of wrong it was, one word                                            |
//! | `what`  | what was wrong                                                                 |
//! | `lost`  | what is not served because of it                                               |
//! | `since` | when it was set aside, milliseconds                                            |
//! | `due`   | when it is to be removed, milliseconds, or `never`; then the same as people read it |
//!
//! What a tenant's data is due, its quarantined copy is due; what has no owner, 30 days after it was set aside. The sweep
//! of retention removes both then, by the clock that it goes by; nothing else but an erasure or a deletion removes
//! anything here. A record without its file tells of data that is nowhere: a block that was missing.
//!
//! The record is durable before the file moves: whatever lies here can be explained after any crash. The recovery of the
//! log puts segments here without a record; the first sweep gives them one.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_block::BlockIdentity;
use annals_model::{DAY_MS, TenantId, TenantNumber, Timestamp};
use annals_vfs::{Draft, PublishError, Vfs, publish};

use crate::layout::Layout;
use crate::repair::identity_of;
use crate::verify::{Finding, FindingKind};

/// How the name of a record ends.
const RECORD_ENDING: &str = ".record";
/// A record is shorter; a hostile length is not read.
const RECORD_BYTES_MAX: usize = 8 << 10;
/// A field of a record is cut here: texts from elsewhere go into it.
const FIELD_BYTES_MAX: usize = 512;
/// How long what has no owner is kept.
const UNOWNED_KEEP_MS: i64 = 30 * DAY_MS;

/// Something that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it lies; the record's own path where there is no file.
    pub path: PathBuf,
    /// Its size; `None` where there is only a record.
    pub bytes: Option<u64>,
    /// Where it was, relative to the root; empty where no record says so.
    pub was: String,
    /// The tenant, as the record names it.
    pub owner: Option<String>,
    /// What kind of wrong it was.
    pub class: String,
    /// What is not served because of it.
    pub lost: String,
    /// When it is to be removed; `None` where that is never, or no record says so.
    pub due: Option<Timestamp>,
}

/// What is to be set aside, and why.
pub(crate) struct SetAside<'a> {
    /// What was found; its path is where the file lies.
    pub(crate) finding: &'a Finding,
    pub(crate) owner: Option<&'a TenantId>,
    pub(crate) now: Timestamp,
    /// When the data is due; `Some(None)`: never. `None`: as what has no owner.
    pub(crate) due: Option<Option<Timestamp>>,
}

impl SetAside<'_> {
    /// Moves the file into the quarantine, its record first; returns where it lies now.
    ///
    /// Safe to repeat after a crash at any step: a record whose file has not moved is used again.
    pub(crate) fn rename(&self, vfs: &dyn Vfs, layout: &Layout) -> io::Result<PathBuf> {
        let (name, recorded) = self.free_name(vfs, layout)?;
        if !recorded {
            self.record(vfs, layout, &name)?;
        }
        let to = layout.quarantine.join(&name);
        vfs.rename(&self.finding.path, &to)?;
        vfs.sync_dir(&layout.quarantine)?;
        if let Some(from) = self.finding.path.parent() {
            vfs.sync_dir(from)?;
        }
        Ok(to)
    }

    /// Puts a copy into the quarantine, its record first, and leaves the file: for what other files still refer to.
    pub(crate) fn copy(&self, vfs: &dyn Vfs, layout: &Layout, bytes: &[u8]) -> io::Result<PathBuf> {
        let (name, recorded) = self.free_name(vfs, layout)?;
        if !recorded {
            self.record(vfs, layout, &name)?;
        }
        put(vfs, layout, &name, bytes)?;
        Ok(layout.quarantine.join(name))
    }

    /// Leaves a record alone, of something that is nowhere.
    pub(crate) fn note(&self, vfs: &dyn Vfs, layout: &Layout) -> io::Result<PathBuf> {
        let (name, recorded) = self.free_name(vfs, layout)?;
        if !recorded {
            self.record(vfs, layout, &name)?;
        }
        Ok(layout.quarantine.join(name + RECORD_ENDING))
    }

    /// A name that no file in quarantine has, and whether its record is there already, from a try that was cut short.
    fn free_name(&self, vfs: &dyn Vfs, layout: &Layout) -> io::Result<(String, bool)> {
        let taken: BTreeSet<String> =
            vfs.list(&layout.quarantine)?.into_iter().map(|entry| entry.name).collect();
        let stem = quarantine_name(layout, &self.finding.path);
        let text = self.text(layout);
        for count in 0_u64.. {
            let name = if count == 0 { stem.clone() } else { format!("{stem}.{count}") };
            let record = name.clone() + RECORD_ENDING;
            match (taken.contains(&name), taken.contains(&record)) {
                (false, false) => return Ok((name, false)),
                (false, true) if says_the_same(vfs, &layout.quarantine.join(&record), &text) => {
                    return Ok((name, true));
                }
                _ => {}
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn record(&self, vfs: &dyn Vfs, layout: &Layout, name: &str) -> io::Result<()> {
        put(vfs, layout, &(name.to_owned() + RECORD_ENDING), self.text(layout).as_bytes())
    }

    fn text(&self, layout: &Layout) -> String {
        let Finding { path, kind, what, lost, .. } = self.finding;
        let file = path.strip_prefix(&layout.root).unwrap_or(path).display().to_string();
        let due = self.due.unwrap_or(Some(self.now.saturating_add(UNOWNED_KEEP_MS)));
        let due = due.map_or("never".to_owned(), due_text);
        let owner = self.owner.map_or("-", TenantId::as_str);
        let fields = [
            ("file", file.as_str()),
            ("owner", owner),
            ("class", kind.word()),
            ("what", what),
            ("lost", lost),
            ("since", &self.now.0.to_string()),
            ("due", &due),
        ];
        fields.iter().map(|(name, value)| format!("{name}: {}\n", one_line(value))).collect()
    }
}

/// A tenant's files here, its blocks with their identities, and the records of all of these. An error where it cannot be
/// seen whose a block is: what is not seen is not removed either.
pub(crate) fn of_tenant(
    vfs: &dyn Vfs,
    layout: &Layout,
    number: TenantNumber,
) -> io::Result<Vec<(PathBuf, Option<BlockIdentity>)>> {
    let prefix = format!("t-{number}-");
    let mut found = Vec::new();
    for entry in vfs.list(&layout.quarantine)? {
        let path = layout.quarantine.join(&entry.name);
        let file =
            entry.name.strip_suffix(RECORD_ENDING).map_or(path.clone(), |stem| layout.quarantine.join(stem));
        let identity = match identity_of(vfs, &file) {
            // A record of what was missing.
            Err(error) if error.kind() == ErrorKind::NotFound && file != path => None,
            identity => identity?,
        };
        if entry.name.starts_with(&prefix) || identity.is_some_and(|block| block.tenant == number) {
            found.push((path, identity.filter(|block| block.tenant == number)));
        }
    }
    // What a record tells of goes before it.
    found.sort_by_key(|(path, _)| path.to_string_lossy().ends_with(RECORD_ENDING));
    Ok(found)
}

/// The name that a file of the store has in quarantine: its path, in one word.
pub(crate) fn quarantine_name(layout: &Layout, path: &Path) -> String {
    let relative = path.strip_prefix(&layout.root).unwrap_or(path);
    let parts: Vec<String> =
        relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("-")
}

/// Everything in quarantine, by name. What cannot be listed is not damage of the store: it is empty then.
pub(crate) fn list(vfs: &dyn Vfs, layout: &Layout) -> Vec<Quarantined> {
    let entries = vfs.list(&layout.quarantine).unwrap_or_default();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let mut found = Vec::new();
    for name in &names {
        let (record, path) = match name.strip_suffix(RECORD_ENDING) {
            // It is told with its file.
            Some(stem) if names.contains(stem) => continue,
            Some(_) => (layout.quarantine.join(name), layout.quarantine.join(name)),
            None => (layout.quarantine.join(format!("{name}{RECORD_ENDING}")), layout.quarantine.join(name)),
        };
        let bytes = (record != path).then(|| vfs.open(&path).and_then(|file| file.len()).unwrap_or(0));
        let text = read_record(vfs, &record).unwrap_or_default();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap_or_default()
                .to_owned()
        };
        let due = field("due");
        let due = due.split(' ').next().and_then(|ms| ms.parse().ok()).map(Timestamp).filter(|&date| {
            // A date that was damaged is none.
            due_text(date) == due
        });
        let class = match field("class") {
            none if none.is_empty() && name.starts_with("wal-") => "log".to_owned(),
            none if none.is_empty() => "unknown".to_owned(),
            class => class,
        };
        let owner = Some(field("owner")).filter(|owner| !owner.is_empty() && owner != "-");
        found.push(Quarantined { path, bytes, was: field("file"), owner, class, lost: field("lost"), due });
    }
    found
}

/// What a sweep did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// What was due, and is gone.
    pub(crate) removed: Vec<PathBuf>,
    /// Before then, nothing else is due.
    pub(crate) next: Timestamp,
}

/// Removes what is due, and gives a record and with it a date to what has none.
pub(crate) fn sweep(vfs: &dyn Vfs, layout: &Layout, now: Timestamp) -> io::Result<Swept> {
    let mut swept = Swept { removed: Vec::new(), next: now.saturating_add(DAY_MS) };
    for aside in list(vfs, layout) {
        match aside.due {
            Some(due) if due <= now => {
                // What a record tells of goes before it.
                let record = aside.bytes.map(|_| {
                    let mut record = aside.path.clone().into_os_string();
                    record.push(RECORD_ENDING);
                    PathBuf::from(record)
                });
                for path in std::iter::once(aside.path).chain(record) {
                    match vfs.unlink(&path) {
                        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                        _ => swept.removed.push(path),
                    }
                }
            }
            Some(due) => swept.next = swept.next.min(due),
            None => {}
        }
    }
    if !swept.removed.is_empty() {
        vfs.sync_dir(&layout.quarantine)?;
    }
    record_unrecorded(vfs, layout, now)?;
    Ok(swept)
}

/// A date as records have it.
fn due_text(due: Timestamp) -> String {
    format!("{} ({due})", due.0)
}

/// Gives a record to what a recovery of the log put here without one; returns what was given one.
pub(crate) fn record_unrecorded(vfs: &dyn Vfs, layout: &Layout, now: Timestamp) -> io::Result<Vec<PathBuf>> {
    let entries = vfs.list(&layout.quarantine)?;
    let names: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
    let mut recorded = Vec::new();
    for name in &names {
        if name.ends_with(RECORD_ENDING) || names.contains(&format!("{name}{RECORD_ENDING}")) {
            continue;
        }
        let path = layout.quarantine.join(name);
        let what = "set aside when the log was recovered";
        let finding =
            Finding::new(path.clone(), FindingKind::Damaged, what, "records that no segment has whole");
        let record = SetAside { finding: &finding, owner: None, now, due: None };
        put(vfs, layout, &format!("{name}{RECORD_ENDING}"), record.text(layout).as_bytes())?;
        recorded.push(path);
    }
    Ok(recorded)
}

fn put(vfs: &dyn Vfs, layout: &Layout, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = layout.temporary.join(format!("quarantine-{name}"));
    let directory = layout.quarantine.clone();
    publish(vfs, &[Draft { draft, directory, name: name.to_owned(), bytes }])
        .map_err(PublishError::into_source)
}

fn read_record(vfs: &dyn Vfs, path: &Path) -> io::Result<String> {
    let file = vfs.open(path)?;
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a record tells of the same file and the same trouble; when it was written does not matter.
fn says_the_same(vfs: &dyn Vfs, record: &Path, text: &str) -> bool {
    let timeless = |text: &str| -> Vec<String> {
        let dated = |line: &&str| line.starts_with("since: ") || line.starts_with("due: ");
        text.lines().filter(|line| !dated(line)).map(str::to_owned).collect()
    };
    read_record(vfs, record).is_ok_and(|found| timeless(&found) == timeless(text))
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = line.len().min(FIELD_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_vfs::SimVfs;

    fn layout(vfs: &SimVfs) -> Layout {
        vfs.make_dirs(["/d", "/d/quarantine", "/d/tmp", "/d/t"]);
        Layout::new("/d".as_ref())
    }

    fn finding(path: &str) -> Finding {
        Finding::new(path.into(), FindingKind::Damaged, "check\nmismatch", "5 samples")
    }

    #[test]
    fn what_is_set_aside_is_listed_with_owner_class_and_due_date() {
        let vfs = SimVfs::new();
        let layout = layout(&vfs);
        vfs.write_file("/d/t/x.blk", b"bytes").expect("written");
        let (finding, owner) = (finding("/d/t/x.blk"), TenantId::new("acme").expect("valid"));
        let due = Some(Some(Timestamp(77)));
        let aside = SetAside { finding: &finding, owner: Some(&owner), now: Timestamp(5), due };
        let path = aside.rename(&vfs, &layout).expect("renamed");
        assert_eq!(path, Path::new("/d/quarantine/t-x.blk"));
        assert!(!vfs.exists("/d/t/x.blk"));
        let listed = list(&vfs, &layout);
        let expected = Quarantined {
            path,
            bytes: Some(5),
            was: "t/x.blk".to_owned(),
            owner: Some("acme".to_owned()),
            class: "damaged".to_owned(),
            lost: "5 samples".to_owned(),
            due: Some(Timestamp(77)),
        };
        assert_eq!(listed, [expected]);
    }

    #[test]
    fn what_is_due_goes_with_its_record_and_a_damaged_date_is_none() {
        let vfs = SimVfs::new();
        let layout = layout(&vfs);
        for (name, due) in [("early", Some(Timestamp(70))), ("late", Some(Timestamp(90))), ("kept", None)] {
            let path = format!("/d/t/{name}");
            vfs.write_file(&path, b"bytes").expect("written");
            let finding = finding(&path);
            let aside = SetAside { finding: &finding, owner: None, now: Timestamp(5), due: Some(due) };
            aside.rename(&vfs, &layout).expect("renamed");
        }
        vfs.write_file("/d/quarantine/wal-7.seg", b"bytes").expect("written");
        let names = || -> Vec<String> {
            vfs.list(&layout.quarantine).expect("there").into_iter().map(|entry| entry.name).collect()
        };
        let swept = sweep(&vfs, &layout, Timestamp(69)).expect("swept");
        assert_eq!(swept, Swept { removed: Vec::new(), next: Timestamp(70) });
        assert!(names().contains(&"wal-7.seg.record".to_owned()));
        let swept = sweep(&vfs, &layout, Timestamp(70)).expect("swept");
        let gone = ["/d/quarantine/t-early", "/d/quarantine/t-early.record"].map(PathBuf::from);
        assert_eq!(swept, Swept { removed: gone.into(), next: Timestamp(90) });
        let record = vfs.read_file("/d/quarantine/t-late.record").expect("there");
        let damaged = String::from_utf8(record).expect("a text").replace("due: 90", "due: 10");
        vfs.unlink("/d/quarantine/t-late.record".as_ref()).expect("removed");
        vfs.write_file("/d/quarantine/t-late.record", damaged.as_bytes()).expect("written");
        sweep(&vfs, &layout, Timestamp(80)).expect("swept");
        assert!(names().contains(&"t-late".to_owned()));
        sweep(&vfs, &layout, Timestamp(70 + UNOWNED_KEEP_MS)).expect("swept");
        assert_eq!(names(), ["t-kept", "t-kept.record", "t-late", "t-late.record"]);
    }

    #[test]
    fn no_name_in_quarantine_is_used_twice() {
        let vfs = SimVfs::new();
        let layout = layout(&vfs);
        for round in 0..3u8 {
            vfs.write_file("/d/t/x.blk", &[round]).expect("written");
            let finding = finding("/d/t/x.blk");
            let aside = SetAside { finding: &finding, owner: None, now: Timestamp(5), due: None };
            aside.rename(&vfs, &layout).expect("renamed");
        }
        let names: Vec<String> =
            vfs.list(&layout.quarantine).expect("there").into_iter().map(|e| e.name).collect();
        let files: Vec<&String> = names.iter().filter(|name| !name.ends_with(RECORD_ENDING)).collect();
        assert_eq!(files, ["t-x.blk", "t-x.blk.1", "t-x.blk.2"]);
        assert_eq!(names.len(), 6);
        for (round, name) in files.iter().enumerate() {
            assert_eq!(vfs.read_file(layout.quarantine.join(name)).expect("there"), [round as u8]);
        }
    }

    #[test]
    fn a_move_that_was_cut_short_goes_on_under_its_record() {
        let vfs = SimVfs::new();
        let layout = layout(&vfs);
        vfs.write_file("/d/t/x.blk", b"bytes").expect("written");
        let finding = finding("/d/t/x.blk");
        let aside = |now| SetAside { finding: &finding, owner: None, now: Timestamp(now), due: None };
        aside(5).note(&vfs, &layout).expect("recorded");
        let path = aside(9).rename(&vfs, &layout).expect("renamed");
        assert_eq!(path, Path::new("/d/quarantine/t-x.blk"));
        assert_eq!(list(&vfs, &layout).len(), 1);
    }
}
