//! Switching signal kinds off for a tenant, and on again.
//!
//! One manifest is the commit point. What is admitted after it is refused ([`RefusalReason::KindOff`]); what was admitted
//! before stays, and so does what is derived from it.
//!
//! [`RefusalReason::KindOff`]: annals_model::RefusalReason::KindOff

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::TenantError;
use crate::manifest::Manifest;
use crate::shared::Shared;
use crate::tenant::TenantShared;

/// Switches a kind of the host's schema; false where it was so already. One that a tenant has off can be switched on
/// whether or not the schema still has it.
pub(crate) fn switch_kind(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    kind: &str,
    on: bool,
) -> Result<bool, TenantError> {
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let manifest = tenant.data.read().manifest.clone();
    let is_off = manifest.kinds_off.contains(kind);
    if !is_off && shared.options.schema.kind(kind).is_none() {
        let kinds = shared.options.schema.kinds.iter().map(|kind| kind.name.to_string()).collect();
        return Err(TenantError::UnknownKind { tenant: tenant.id.clone(), kinds });
    }
    if is_off != on {
        return Ok(false);
    }
    let mut off: BTreeSet<Box<str>> = (*manifest.kinds_off).clone();
    if on {
        off.remove(kind);
    } else {
        off.insert(kind.into());
    }
    let manifest = Manifest { kinds_off: Arc::new(off), ..manifest };
    // Nobody is being admitted meanwhile: whoever is asked after this returns goes by it.
    let _ingest = tenant.ingest.lock();
    tenant
        .commit_manifest(shared, &mut change, manifest, "switch a signal kind", |_| ())
        .map_err(TenantError::Change)?;
    Ok(true)
}
