//! Enumerations: every call of every scenario crashes or fails.

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[];
