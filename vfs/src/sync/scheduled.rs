//! The checker's locks in parking_lot's clothes, and the loop that runs schedules.
//!
//! What a wait with a time limit means: without a limit that ends it blocks, and a schedule in which nobody wakes it
//! fails as a deadlock; with one it returns at any moment, woken or not, as real ones may. So no schedule passes because
//! of a limit unless the code that waits looks again by itself.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

pub use shuttle::sync::atomic;
pub use shuttle::thread;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// A wait that is limited to this or more is not limited.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Threads of a schedule run on stacks of their own, in bytes.
const STACK_BYTES: usize = 1 << 20;
/// A schedule that takes more steps than this hangs: some threads turn in circles.
const STEPS_MAX: usize = 200_000;
/// How many times a schedule of the second kind takes the turn away from the thread that would have it.
const CHANGES_MAX: usize = 4;

/// A lock without poisoning.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// A held [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

/// A lock with many readers, without poisoning.
#[derive(Debug, Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

/// A condition that threads wait for.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { lock: self, held: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_deref().expect("a guard is empty only inside a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_deref_mut().expect("a guard is empty only inside a wait")
    }
}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> RwLock<T> {
        RwLock(shuttle::sync::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody reads or writes.
    pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condvar {
    /// A condition that nobody waits for.
    pub fn new() -> Condvar {
        Condvar(shuttle::sync::Condvar::new())
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits until woken.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("a guard is empty only inside a wait");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until woken or until the time is over.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        if timeout >= FOREVER {
            return self.wait(guard);
        }
        drop(guard.held.take());
        thread::yield_now();
        guard.held = guard.lock.lock().held;
    }

    /// Waits while the condition holds, at most until the time is over.
    pub fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) {
        if timeout < FOREVER {
            if condition(guard) {
                self.wait_for(guard, timeout);
            }
            return;
        }
        while condition(guard) {
            self.wait(guard);
        }
    }
}

/// A choice of the schedule: the same in each run of it.
#[must_use]
pub fn coin() -> bool {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().r#gen()
}

/// How many schedules run, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Explore {
    /// What they are called in the line that is printed.
    pub name: &'static str,
    /// How many schedules run.
    pub schedules: usize,
    /// Where the schedules come from.
    pub seed: u64,
}

/// Runs a body under many schedules: half of them choose at random at each step, half let a thread run on and take the
/// turn away at a few moments. A failure prints the schedule, which the checker can replay. Prints one line at the end.
///
/// # Panics
/// Where the body panics, deadlocks, or does not end.
pub fn explore(what: Explore, body: fn()) {
    let started = Instant::now();
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    let half = what.schedules / 2;
    let random = RandomScheduler::new_from_seed(what.seed, what.schedules - half);
    let mut states = Runner::new(random, config.clone()).run(body);
    if half > 0 {
        let few_changes = PctScheduler::new_from_seed(what.seed, CHANGES_MAX, half);
        states += Runner::new(few_changes, config).run(body);
    }
    println!(
        "campaign={} seeds={} states={states} failures=0 seconds={}",
        what.name,
        what.seed,
        started.elapsed().as_secs()
    );
}
