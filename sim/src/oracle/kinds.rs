//! The signal kinds that are switched off for a tenant.

use std::collections::BTreeSet;

use annals::{Tenant, TenantError};

use super::Violation;
use super::account::Account;
use super::plans::is_in_doubt;

/// The kinds that a tenant has off.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds {
    /// Those that records are refused by.
    pub(super) off: BTreeSet<String>,
    /// What holds where a switch took place of which nobody knows: the next open shows it.
    doubt: Option<BTreeSet<String>>,
}

impl Kinds {
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt.is_some()
    }

    /// What came of switching a kind.
    pub(super) fn switched(
        &mut self,
        kind: &str,
        on: bool,
        answer: &Result<bool, TenantError>,
    ) -> Result<(), Violation> {
        let mut then = self.off.clone();
        let changes = if on { then.remove(kind) } else { then.insert(kind.to_owned()) };
        match answer {
            Ok(changed) if *changed != changes => {
                let what = format!("switching {kind} changed something: {changed}; off are {:?}", self.off);
                return Err(Violation::new("I1", what));
            }
            Ok(_) => self.off = then,
            Err(error) if is_in_doubt(error) => self.doubt = Some(then),
            Err(_) => {}
        }
        Ok(())
    }
}

impl Account {
    /// Asks a store which kinds are off.
    pub(super) fn learn_kinds(&mut self, tenant: &Tenant, reopened: bool) -> Result<(), Violation> {
        let kinds = &mut self.kinds;
        let shown: BTreeSet<String> = tenant.summary().kinds_off.into_iter().collect();
        let doubt = if reopened { kinds.doubt.take() } else { None };
        if shown != kinds.off {
            if doubt.is_none_or(|then| then != shown) {
                let what = format!("off were {:?}, and {shown:?} is shown", kinds.off);
                return Err(Violation::new("I1", what));
            }
            kinds.off = shown;
        }
        Ok(())
    }
}
