//! Power cuts of real file systems: the shutdown call of ext4 and XFS stops a file system dead, without flushing its
//! journal, while a child writes to it. Then it is mounted again, as after a power failure, and the oracle looks.
//!
//! The file system lies in an image in memory, mounted through a loop device. A store lives through many cuts. After
//! some, the power fails again as soon as the store is recovered: what the oracle read once must still be there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::Durability;

use super::check::{self, Book};
use super::child::Orders;
use super::load::Chance;
use super::process::{self, Running, run as run_command};
use crate::campaign::{Report, Size};

/// Cuts of a full run.
const CUTS: u64 = 500;
/// Cuts that a file system lives through before another is made.
const CUTS_PER_IMAGE: u64 = 25;
/// The longest time from the child's start to the cut.
const LIFE_MS_MAX: u64 = 160;
/// `ioctl(mount, _IOR('X', 125, u32), 2)`: shut down, the log is not flushed. Perl, because it is everywhere and
/// the call cannot be made without `unsafe` here.
const CUT: &str = "sysopen(my $d, $ARGV[0], 0) or die qq(open: $!\\n); my $how = pack('L', 2); \
                   defined(ioctl($d, 0x8004587d, $how)) or die qq(ioctl: $!\\n);";

/// A kind of file system that can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The fourth extended file system.
    Ext4,
    /// XFS.
    Xfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }

    /// What makes one, and its package.
    fn maker(self) -> (&'static str, &'static str) {
        match self {
            Kind::Ext4 => ("mkfs.ext4", "e2fsprogs"),
            Kind::Xfs => ("mkfs.xfs", "xfsprogs"),
        }
    }

    /// What its maker asks for at least, and a store of many cuts.
    fn megabytes(self) -> u64 {
        match self {
            Kind::Ext4 => 128,
            Kind::Xfs => 320,
        }
    }
}

/// Runs the campaign on ext4.
#[must_use]
pub fn ext4(size: &Size) -> Report {
    with_this_program(Kind::Ext4, size)
}

/// Runs the campaign on XFS.
#[must_use]
pub fn xfs(size: &Size) -> Report {
    with_this_program(Kind::Xfs, size)
}

fn with_this_program(kind: Kind, size: &Size) -> Report {
    match std::env::current_exe() {
        Ok(program) => run_with(&program, kind, size),
        Err(error) => Report { skipped: Some(error.to_string()), ..Report::new(kind.name()) },
    }
}

/// Runs the campaign with a program that can be the child.
#[must_use]
pub fn run_with(program: &Path, kind: Kind, size: &Size) -> Report {
    let mut report = Report::new(kind.name());
    let mut disk = match Disk::new(kind) {
        Ok(disk) => disk,
        Err(reason) => {
            report.skipped = Some(reason);
            return report;
        }
    };
    let rounds = size.count.unwrap_or(CUTS);
    let mut totals = Totals::default();
    let mut book = Book::default();
    for round in size.from..size.from + rounds {
        if size.is_over() {
            break;
        }
        if report.states > 0 && (report.states.is_multiple_of(CUTS_PER_IMAGE)) {
            book = Book::default();
            if let Err(what) = disk.format() {
                report.failures.push(format!("{}: round {round}: {what}", kind.name()));
                break;
            }
        }
        if let Err(what) = cut_once(program, &mut disk, &mut book, round, &mut totals) {
            report.failures.push(format!("{}: round {round}: {what}", kind.name()));
            book = Book::default();
            if let Err(what) = disk.format() {
                report.failures.push(format!("{}: round {round}: {what}", kind.name()));
                break;
            }
        }
        report.states += 1;
    }
    report.seeds = format!("{}..{}", size.from, size.from + report.states);
    report.count("acknowledged", totals.acknowledged);
    report.count("found_unannounced", totals.unannounced);
    report.count("cut_after_recovery", totals.cut_after_recovery);
    report
}

#[derive(Debug, Default)]
struct Totals {
    acknowledged: u64,
    unannounced: u64,
    cut_after_recovery: u64,
}

fn cut_once(
    program: &Path,
    disk: &mut Disk,
    book: &mut Book,
    round: u64,
    totals: &mut Totals,
) -> Result<(), String> {
    let chance = Chance::new(round);
    let root = disk.mount.join("store");
    let orders = Orders {
        root: root.clone(),
        durability: if chance.one_in(3) { Durability::Buffered } else { Durability::Synced },
        seed: round,
        depth: 1 + chance.below(4),
        batches: u64::MAX,
        newcomer: book.next_newcomer(),
        first: book.first(),
    };
    let said = book.acknowledged;
    let mut child = Running::start(program, &[], &orders, book).map_err(|error| error.to_string())?;
    child.listen(book, Duration::from_micros(chance.below(LIFE_MS_MAX * 1_000)));
    disk.cut()?;
    child.kill(book).map_err(|error| error.to_string())?;
    disk.unmount()?;
    disk.mount()?;
    totals.acknowledged += book.acknowledged - said;
    if orders.durability == Durability::Buffered {
        book.forget_unsynced();
    }
    // A full disk is the other campaign's.
    if let Some(what) = book.wrong.first() {
        return Err(format!(
            "the child saw: {what}; {orders:?}; {}",
            process::keep(&root, disk.kind.name(), round)
        ));
    }
    if !root.exists() {
        return if *book == Book::default() || book.first() == [0; 3] {
            Ok(())
        } else {
            Err("LOST: the store is gone".to_owned())
        };
    }
    let left = disk.base.join("left");
    process::remove(&left).and_then(|()| process::copy(&root, &left)).map_err(|error| error.to_string())?;
    let context = |what| format!("{what}; {orders:?}; {}", process::keep(&left, disk.kind.name(), round));
    if chance.one_in(3) && book.first() != [0; 3] {
        check::verify(&root).map_err(context)?;
    }
    let (store, checked) = check::open_and_compare(&root, book).map_err(context)?;
    totals.unannounced += checked.unannounced;
    if chance.one_in(3) {
        totals.cut_after_recovery += 1;
        disk.cut()?;
        drop(store);
        disk.unmount()?;
        disk.mount()?;
        let (store, again) = check::open_and_compare(&root, book).map_err(context)?;
        if again != checked {
            return Err(context("what was read after the first cut is gone after the second".to_owned()));
        }
        return store.close().map_err(|error| error.to_string());
    }
    store.close().map_err(|error| error.to_string())
}

/// A file system in an image, mounted. Unmounted and removed when it is dropped.
struct Disk {
    kind: Kind,
    base: PathBuf,
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn new(kind: Kind) -> Result<Disk, String> {
        if !process::is_root() {
            return Err("mounting needs root".to_owned());
        }
        process::provide(&[kind.maker(), ("losetup", "mount"), ("mount", "mount"), ("perl", "perl-base")])?;
        process::leftovers(&process::memory(), &prefix(kind)).iter().for_each(|base| remove_disk(base));
        let base = process::memory().join(format!("{}{}", prefix(kind), std::process::id()));
        let mut disk = Disk { kind, image: base.join("image"), mount: base.join("mount"), base };
        std::fs::create_dir_all(&disk.mount).map_err(|error| format!("{}: {error}", disk.mount.display()))?;
        disk.format()?;
        Ok(disk)
    }

    /// Makes an empty file system in place of what is there.
    fn format(&mut self) -> Result<(), String> {
        self.unmount()?;
        let _ = std::fs::remove_file(&self.image);
        let image = text(&self.image)?;
        let size = format!("{}M", self.kind.megabytes());
        run_command("truncate", &["-s", &size, image])?;
        match self.kind {
            Kind::Ext4 => run_command("mkfs.ext4", &["-q", "-F", image])?,
            Kind::Xfs => run_command("mkfs.xfs", &["-q", "-f", image])?,
        };
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        run_command("mount", &["-o", "loop", text(&self.image)?, text(&self.mount)?]).map(|_| ())
    }

    /// Unmounts it, where it is mounted; its loop device goes with that.
    fn unmount(&self) -> Result<(), String> {
        process::unmount(&self.mount)
    }

    /// Stops the file system dead.
    fn cut(&self) -> Result<(), String> {
        run_command("perl", &["-e", CUT, text(&self.mount)?]).map(|_| ())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        remove_disk(&self.base);
    }
}

fn prefix(kind: Kind) -> String {
    format!("annals-power-{}-", kind.name())
}

/// Unmounts what is mounted under a campaign's directory, detaches its image, and removes both.
fn remove_disk(base: &Path) {
    let (image, mount) = (base.join("image"), base.join("mount"));
    let unmounted = process::unmount(&mount);
    // A mount that failed half way leaves its device.
    if let Ok(devices) = run_command("losetup", &["-n", "-O", "NAME", "-j", &image.to_string_lossy()]) {
        for device in devices.lines() {
            let _ = run_command("losetup", &["-d", device.trim()]);
        }
    }
    // Never through a mount: what is under it would go.
    if unmounted.is_ok() {
        let _ = process::remove(base);
    }
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not text", path.display()))
}
