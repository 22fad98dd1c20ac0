//! Manifest files against the naive model of them: one content, the last that was stored. Histories of changes, failing
//! calls, crashes at any call, power cuts that keep anything of what was not synced, and rot are random and shrink.

use std::path::{Path, PathBuf};

use annals_vfs::{PublishError, SimCalls, SimCut, SimError, SimFault, SimVfs, Vfs};
use proptest::prelude::*;

use crate::twin::{Role, TwinError, TwinFiles};

const DIRECTORY: &str = "/t/7";
const TEMPORARY: &str = "/tmp";
const ROOT: [u8; 16] = [9; 16];
/// A change makes fewer mutating calls than this.
const CALLS_MAX: u64 = 12;

#[derive(Debug, Clone)]
enum Step {
    /// Stores a content of that many bytes; then old generations go.
    Change(usize),
    /// The same while that mutating call fails.
    ChangeThroughFault(usize, u64, SimError),
    /// The machine stops at that call of a change, or within it. It starts again after the process alone has ended, or
    /// after a power cut.
    ChangeCrashes(usize, u64, bool, Option<SimCut>),
    /// The machine stops at that call of the next start.
    StartCrashes(u64, SimCut),
    /// A bit of one half rots: it is named, and harms nothing.
    RotOfOneHalf(usize),
    /// A bit of each half rots: an error, never an older content. Then it is mended.
    RotOfBothHalves(usize, usize),
}

fn cut() -> impl Strategy<Value = SimCut> {
    (any::<u64>(), 0usize..12).prop_map(|(seed, which)| SimCut::all(seed)[which])
}

fn step() -> impl Strategy<Value = Step> {
    let (bytes, call) = (0usize..9_000, 0..CALLS_MAX);
    let error = prop::sample::select(SimError::all().to_vec());
    prop_oneof![
        bytes.clone().prop_map(Step::Change),
        (bytes.clone(), call.clone(), error)
            .prop_map(|(bytes, call, error)| Step::ChangeThroughFault(bytes, call, error)),
        (bytes, call.clone(), any::<bool>(), prop::option::of(cut()))
            .prop_map(|(bytes, call, within, cut)| Step::ChangeCrashes(bytes, call, within, cut)),
        (0u64..4, cut()).prop_map(|(call, cut)| Step::StartCrashes(call, cut)),
        any::<usize>().prop_map(Step::RotOfOneHalf),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Step::RotOfBothHalves(one, other)),
    ]
}

struct Machine {
    vfs: SimVfs,
    files: TwinFiles,
    /// Generation and content, as the last change or start left them.
    held: (u64, Vec<u8>),
    changes: u8,
}

impl Machine {
    fn new() -> Machine {
        let vfs = SimVfs::new();
        for directory in ["/t", DIRECTORY, TEMPORARY] {
            vfs.create_dir(Path::new(directory)).expect("an empty disk");
        }
        for directory in ["/", "/t"] {
            vfs.sync_dir(Path::new(directory)).expect("a disk without faults");
        }
        let files = TwinFiles { directory: PathBuf::from(DIRECTORY), role: Role::Manifest, owner: 7 };
        let mut machine = Machine { vfs, files, held: (0, Vec::new()), changes: 0 };
        let next = machine.next(5);
        machine.change(&next).expect("a disk without faults");
        machine.held = next;
        machine
    }

    fn next(&mut self, bytes: usize) -> (u64, Vec<u8>) {
        self.changes = self.changes.wrapping_add(1);
        (self.held.0 + 1, (0..bytes).map(|at| (at as u8).wrapping_mul(31) ^ self.changes).collect())
    }

    /// As a tenant commits a changed manifest.
    fn change(&self, (generation, content): &(u64, Vec<u8>)) -> Result<(), PublishError> {
        self.files.store(&self.vfs, Path::new(TEMPORARY), ROOT, *generation, content)?;
        let _ = self.files.remove_older(&self.vfs, *generation);
        Ok(())
    }

    fn load(&self) -> Result<(u64, Vec<u8>, bool), TwinError> {
        let twin = self.files.load(&self.vfs)?.expect("there is always one");
        assert_eq!(twin.root, ROOT);
        Ok((twin.generation, twin.content, twin.half_damaged.is_some()))
    }

    /// As a store opens: what is loaded is made to stay before anything is done by it.
    fn start(&mut self) -> std::io::Result<()> {
        let (generation, content, _) = self.load().expect("one of both is whole");
        self.vfs.sync_dir(Path::new(DIRECTORY))?;
        let _ = self.files.remove_older(&self.vfs, generation);
        self.held = (generation, content);
        Ok(())
    }

    /// Starts after an end at which `tried` may have become durable or not.
    fn start_with(&mut self, tried: &(u64, Vec<u8>)) {
        let before = self.held.clone();
        self.start().expect("a disk without faults");
        assert!(self.held == before || self.held == *tried, "neither what was held nor what was tried");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(bytes) => {
                let next = self.next(*bytes);
                self.change(&next).expect("a disk without faults");
                self.held = next;
            }
            Step::ChangeThroughFault(bytes, call, error) => {
                let next = self.next(*bytes);
                self.vfs.fail(SimFault::once(SimCalls::Mutating, *call, *error));
                let changed = self.change(&next);
                self.vfs.clear_faults();
                match changed {
                    Ok(()) => self.held = next,
                    // A later try may succeed, and this one has left nothing.
                    Err(PublishError::Nothing(_)) => {}
                    // Only a start can tell, whether the machine stays on until then or not.
                    Err(PublishError::Indeterminate(_)) => {
                        self.vfs.process_crash();
                        self.start_with(&next);
                    }
                }
            }
            Step::ChangeCrashes(bytes, call, within, cut) => {
                let next = self.next(*bytes);
                if *within {
                    self.vfs.set_crash_within(*call);
                } else {
                    self.vfs.set_crash_at(*call);
                }
                let changed = self.change(&next);
                if changed.is_ok() {
                    // What was said to be done stays, wherever the machine stopped after it.
                    self.held = next.clone();
                }
                match cut {
                    Some(cut) => self.vfs.power_cut(*cut),
                    None => self.vfs.process_crash(),
                }
                self.start_with(&next);
            }
            Step::StartCrashes(call, cut) => {
                self.vfs.process_crash();
                self.vfs.set_crash_at(*call);
                let before = self.held.clone();
                let _ = self.start();
                self.vfs.power_cut(*cut);
                self.start_with(&before);
            }
            Step::RotOfOneHalf(bit) => {
                self.with_rot(&[*bit], |machine| {
                    let (generation, content, half_damaged) =
                        machine.load().expect("the other half is whole");
                    assert_eq!((generation, content), machine.held);
                    assert!(half_damaged, "it is said");
                });
            }
            Step::RotOfBothHalves(one, other) => {
                let half = self.bytes().len() * 4;
                self.with_rot(&[one % half, half + other % half], |machine| {
                    assert!(machine.load().is_err(), "nothing is whole");
                });
            }
        }
        let (generation, content, half_damaged) = self.load().expect("whole");
        assert_eq!((generation, content), self.held);
        assert!(!half_damaged);
    }

    fn bytes(&self) -> Vec<u8> {
        self.vfs.read_file(self.files.path(self.held.0)).expect("there")
    }

    /// Flips bits of the newest file, looks, and flips them back.
    fn with_rot(&self, bits: &[usize], look: impl FnOnce(&Machine)) {
        let sound = self.bytes();
        let mut rotten = sound.clone();
        for bit in bits {
            let bit = bit % (rotten.len() * 8);
            rotten[bit / 8] ^= 1 << (bit % 8);
        }
        let path = self.files.path(self.held.0);
        self.vfs.write_file(&path, &rotten).expect("written");
        look(self);
        self.vfs.write_file(&path, &sound).expect("written");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_is_the_last_that_was_stored(steps in prop::collection::vec(step(), 1..30)) {
        let mut machine = Machine::new();
        steps.iter().for_each(|step| machine.step(step));
        // The power goes at last: what was said to be done is there.
        machine.vfs.power_cut(SimCut::Nothing);
        let (generation, content, _) = machine.load().expect("whole");
        prop_assert_eq!((generation, content), machine.held);
    }
}
