//! A short slice of the campaigns of damage at rest, under an allocator that knows the largest request.
#![expect(unsafe_code, reason = "an allocator that measures can only be installed by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_sim::campaign::{Report, Size};
use annals_sim::damage::slice;

/// Far above any file of these stores, far below what a hostile count asks for.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// The system's allocator, which remembers the largest request.
struct Measured;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came, which keeps the trait's contract; the counter
// is touched by an atomic operation that allocates nothing.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are the same that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this `layout`: `alloc` and `realloc` hand on what it gave.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measured = Measured;

fn runs_clean(part: fn(&Size, &mut Report), count: u64) {
    let mut report = Report::new("damage");
    part(&Size::new(Some(count), 1, None), &mut report);
    assert!(report.failures.is_empty(), "{report}\n{}", report.failures.join("\n"));
    assert!(report.states >= count.min(50), "{report}");
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < REQUEST_BYTES_MAX, "a request of {largest} bytes");
}

#[test]
fn every_flipped_bit_is_found_and_found_once() {
    runs_clean(slice::flips, 1_500);
}

#[test]
fn cut_overwritten_lengthened_and_garbled_files_are_found() {
    runs_clean(slice::others, 500);
}

#[test]
fn bytes_in_anothers_place_are_found() {
    runs_clean(slice::moved, 300);
}

#[test]
fn hostile_numbers_behind_fitting_checks_neither_panic_nor_take_memory() {
    runs_clean(slice::hostile, 4_000);
}

#[test]
fn damage_costs_one_tenant_what_it_hit_and_is_repaired() {
    runs_clean(slice::whole, 60);
}

/// Stores whose repair once left something: a tenant's only record in the log damaged, and a log cut within its header.
#[test]
fn what_a_repair_once_left_is_repaired() {
    for seed in [113, 576, 835, 1393] {
        let mut report = Report::new("damage");
        slice::whole(&Size::new(Some(1), seed, None), &mut report);
        assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    }
}
