//! Enumerations: every call of every scenario crashes or fails.
//!
//! ```text
//!   book        what was tried, what is known of it, and whether a store shows exactly that
//!   host        a host of the engine, made of steps
//!   scenarios   pieces of a store's life, each with what came before it
//!   rules       what files are for: the disk itself judges the order of calls
//!   recover     what must hold once a machine is on again
//!   sweep       pieces of work on two threads; states seen; failures of one kind
//!   crash       a crash at every mutating call, every power cut
//!   double      a crash at every call of the recovery from a crash
//!   errors      every call fails with every error
//!   space       every size of a disk that is too small
//!   sequences   all sequences of up to three operations, with crashes
//! ```
//!
//! A state is a disk and what is known of it; equal ones are checked and counted once. The book is not the oracle of
//! random histories: it is copied for each state, and what its batches hold is chosen so that it can be small.

use crate::campaign::Campaign;

mod book;
mod crash;
mod double;
mod errors;
mod host;
mod recover;
mod rules;
mod scenarios;
mod sequences;
mod space;
mod sweep;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "crash",
        about: "a crash before and within every mutating call of every scenario, then every power cut",
        run: crash::run,
    },
    Campaign {
        name: "double",
        about: "a crash before and within every call of the recovery from a crash; recovering again changes nothing",
        run: double::run,
    },
    Campaign {
        name: "errors",
        about: "every call of every scenario fails, of its recovery, and of a read-only open, with every error",
        run: errors::run,
    },
    Campaign {
        name: "space",
        about: "every scenario on a disk of every size that is too small",
        run: space::run,
    },
    Campaign {
        name: "sequences",
        about: "all sequences of up to three operations, with a crash at every call of the last",
        run: sequences::run,
    },
];
