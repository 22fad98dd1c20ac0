//! Damage at rest: flipped bits, cut, exchanged and forged files.

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[];
