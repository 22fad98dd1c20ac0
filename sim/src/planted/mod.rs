//! Planted bugs: each is switched on in turn, and a short campaign must notice it.

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[];
