//! Real kernels: SIGKILL, injected system-call errors, small file systems, power cuts of ext4 and XFS.

use crate::campaign::Campaign;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[];
