//! The simulated disk, without faults, answers as the machine's file system does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annals_vfs::{File, LockError, LockGuard, RealVfs, SimVfs, Vfs};
use proptest::prelude::*;

const NAMES: [&str; 9] = ["a", "b", "d", "e", "d/a", "d/b", "d/e", "e/a", "a/b"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Open(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    CreateDir(usize),
    RemoveDir(usize),
    SyncDir(usize),
    List(usize),
    Lock(usize),
    Release(usize),
    IsLocked(usize),
    Write { handle: usize, offset: u64, len: usize, byte: u8 },
    Read { handle: usize, offset: u64, len: usize },
    Allocate { handle: usize, len: u64 },
    Sync { handle: usize },
    Close { handle: usize },
    Map(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let handle = 0..4usize;
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        2 => name.clone().prop_map(Step::Open),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => name.clone().prop_map(Step::Unlink),
        2 => name.clone().prop_map(Step::CreateDir),
        1 => name.clone().prop_map(Step::RemoveDir),
        1 => name.clone().prop_map(Step::SyncDir),
        1 => name.clone().prop_map(Step::List),
        1 => name.clone().prop_map(Step::Lock),
        1 => handle.clone().prop_map(Step::Release),
        1 => name.clone().prop_map(Step::IsLocked),
        4 => (handle.clone(), 0..10_000u64, 0..6_000usize, any::<u8>())
            .prop_map(|(handle, offset, len, byte)| Step::Write { handle, offset, len, byte }),
        3 => (handle.clone(), 0..12_000u64, 0..9_000usize)
            .prop_map(|(handle, offset, len)| Step::Read { handle, offset, len }),
        1 => (handle.clone(), 0..12_000u64).prop_map(|(handle, len)| Step::Allocate { handle, len }),
        1 => handle.clone().prop_map(|handle| Step::Sync { handle }),
        1 => handle.prop_map(|handle| Step::Close { handle }),
        1 => name.prop_map(Step::Map),
    ]
}

/// One file system, what is open in it, and where it starts.
struct Side {
    vfs: Box<dyn Vfs>,
    root: PathBuf,
    files: Vec<Box<dyn File>>,
    guards: Vec<LockGuard>,
}

impl Side {
    /// Does a step; the answer is text, so that both sides' can be compared.
    fn run(&mut self, step: &Step) -> String {
        let path = |name: &usize| self.root.join(NAMES[*name]);
        match step {
            Step::Create(name) => {
                let created = self.vfs.create(&path(name));
                self.keep(created)
            }
            Step::Open(name) => {
                let opened = self.vfs.open(&path(name));
                self.keep(opened)
            }
            Step::Rename(from, to) => answer(self.vfs.rename(&path(from), &path(to))),
            Step::Link(from, to) => answer(self.vfs.link(&path(from), &path(to))),
            Step::Unlink(name) => answer(self.vfs.unlink(&path(name))),
            Step::CreateDir(name) => answer(self.vfs.create_dir(&path(name))),
            Step::RemoveDir(name) => answer(self.vfs.remove_dir(&path(name))),
            Step::SyncDir(name) => answer(self.vfs.sync_dir(&path(name))),
            Step::List(name) => answer(self.vfs.list(&path(name))),
            Step::IsLocked(name) => answer(self.vfs.is_locked(&path(name))),
            Step::Lock(name) => match self.vfs.lock(&path(name), "holder") {
                Ok(guard) => {
                    self.guards.push(guard);
                    "locked".to_owned()
                }
                Err(LockError::Held { holder, .. }) => format!("held by {holder}"),
                Err(LockError::Io { source, .. }) => answer::<()>(Err(source)),
            },
            Step::Release(at) => {
                if !self.guards.is_empty() {
                    self.guards.remove(at % self.guards.len());
                }
                "released".to_owned()
            }
            Step::Write { handle, offset, len, byte } => {
                self.with(*handle, |file| answer(file.write_at(&vec![*byte; *len], *offset)))
            }
            Step::Read { handle, offset, len } => self.with(*handle, |file| {
                let mut into = vec![0xee; *len];
                let read = file.read_at(&mut into, *offset);
                answer(read.and_then(|count| Ok((count, file.len()?, into))))
            }),
            Step::Allocate { handle, len } => self.with(*handle, |file| answer(file.allocate(*len))),
            Step::Sync { handle } => self.with(*handle, |file| answer(file.sync())),
            Step::Close { handle } => {
                if !self.files.is_empty() {
                    self.files.remove(handle % self.files.len());
                }
                "closed".to_owned()
            }
            // A link count of one keeps writers out: mapped files are never written, so map what nobody has open.
            Step::Map(name) if self.files.is_empty() && self.guards.is_empty() => {
                answer(self.vfs.map_sealed(&path(name)).map(|sealed| sealed.to_vec()))
            }
            Step::Map(_) => "not mapped".to_owned(),
        }
    }

    fn keep(&mut self, file: io::Result<Box<dyn File>>) -> String {
        answer(file.map(|file| self.files.push(file)))
    }

    fn with(&self, handle: usize, work: impl FnOnce(&dyn File) -> String) -> String {
        match self.files.len() {
            0 => "no handle".to_owned(),
            count => work(&*self.files[handle % count]),
        }
    }
}

fn answer<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Every file below a directory of the machine, with its bytes.
fn real_files(at: &Path, root: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(at).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            real_files(&path, root, into);
        } else {
            let bytes = fs::read(&path).expect("read");
            into.push((path.strip_prefix(root).expect("below it").to_owned(), bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn both_answer_alike_and_end_with_the_same_files(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(dir.path().join("d")).expect("created");
        let disk = SimVfs::new();
        disk.make_dirs(["/d"]);
        let mut real = Side {
            vfs: Box::new(RealVfs),
            root: dir.path().to_owned(),
            files: Vec::new(),
            guards: Vec::new(),
        };
        let mut sim = Side {
            vfs: Box::new(disk.clone()),
            root: PathBuf::from("/"),
            files: Vec::new(),
            guards: Vec::new(),
        };
        // A lock of a mapped file would write to it; the engine's lock files are never mapped.
        let mut mapped = false;
        for (at, step) in steps.iter().enumerate() {
            if mapped && matches!(step, Step::Lock(_)) {
                continue;
            }
            mapped |= matches!(step, Step::Map(_));
            prop_assert_eq!(real.run(step), sim.run(step), "step {}: {:?}", at, step);
        }
        let mut files = Vec::new();
        real_files(dir.path(), dir.path(), &mut files);
        files.sort();
        let simulated: Vec<(PathBuf, Vec<u8>)> = disk
            .paths()
            .into_iter()
            .map(|path| {
                let bytes = disk.read_file(&path).expect("a file");
                (path.strip_prefix("/").expect("absolute").to_owned(), bytes)
            })
            .collect();
        prop_assert_eq!(files, simulated);
    }
}
