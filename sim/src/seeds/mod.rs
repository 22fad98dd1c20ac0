//! Random histories: each seed draws a configuration, actors, faults and crashes, and an oracle checks what must hold.

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[];
