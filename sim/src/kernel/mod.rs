//! Real kernels: SIGKILL, injected system-call errors, small file systems, power cuts of ext4 and XFS.
//!
//! A child process writes to a store and says what was acknowledged ([`child`]); what comes between differs, and
//! the oracle is the same ([`check`]): what was acknowledged is there, once and bit for bit; what was on its way is
//! there whole or not at all.
//!
//! ```text
//!   kill        SIGKILL at random times and at the n-th system call             kill.rs
//!   calls       the n-th system call fails, in the shipped command and the child  calls.rs, command.rs
//!   tmpfs       small file systems, limits on the length of files                 space.rs
//!   ext4, xfs   power cuts                                                        power.rs
//!   mapped      files that are damaged while they are mapped                      mapped.rs
//! ```
//!
//! Where a machine cannot run a tier, its report says so in `skipped`, and counts nothing.

pub mod calls;
pub mod check;
pub mod child;
pub mod command;
pub mod kill;
pub mod load;
pub mod mapped;
pub mod power;
pub mod process;
pub mod space;

use std::ffi::OsString;

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "kill",
        about: "SIGKILL at random times and at system calls, 5,000 rounds",
        run: kill::run,
    },
    Campaign { name: "calls", about: "every system call of the shipped command fails", run: calls::run },
    Campaign { name: "tmpfs", about: "disks full of bytes or files, and limits on lengths", run: space::run },
    Campaign { name: "ext4", about: "500 power cuts of ext4; needs root", run: power::ext4 },
    Campaign { name: "xfs", about: "500 power cuts of XFS; needs root", run: power::xfs },
    Campaign { name: "mapped", about: "blocks cut or removed under a reader", run: mapped::run },
];

/// Becomes the child process, where the program's arguments ask for it: it then never returns.
pub fn become_child(arguments: impl Iterator<Item = OsString>) {
    let arguments: Vec<OsString> = arguments.skip(1).collect();
    match arguments.split_first() {
        Some((verb, rest)) if verb == child::VERB => child::run(rest),
        Some((verb, rest)) if verb == mapped::VERB => mapped::read(rest),
        _ => {}
    }
}
