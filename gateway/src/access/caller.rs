//! Who is asking, and what that gives them.
//!
//! The tenant of a tenant's token is that of the token; a header that names another is refused. An operator's token names
//! no tenant: the tenant comes with `X-Annals-Tenant`, and `X-Annals-Reason` says why; both stand in the audit log before
//! anything is read.
//!
//! Whether a tenant exists cannot be told from outside: one that is not there, one that is unavailable, and one that the
//! token is not for are refused with the same words, after the same work.

use std::sync::Arc;
use std::time::Duration;

use annals::query::promql::{Answer, Expr, QueryOptions, Times};
use annals::{
    Budget, Operator, OperatorReader, QueryLimits, SeriesSource, Tenant, TenantId, TenantNumber,
    TenantReader, Timestamp,
};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::credential;
use super::list::{Grant, Role};
use crate::app::Gateway;
use crate::reply::ApiError;

/// Names a tenant: for an operator the one that is meant, for others theirs.
pub(crate) const TENANT_HEADER: &str = "x-annals-tenant";
/// What clients of other multi-tenant stores call it.
const TENANT_HEADER_OF_OTHERS: &str = "x-scope-orgid";
/// Why an operator reads.
const REASON_HEADER: &str = "x-annals-reason";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To write metrics.
    Write,
    /// To read metrics.
    Read,
    /// To read reports.
    Report,
    /// To see what became of what was sent.
    Intake,
}

impl Right {
    fn is_of(self, role: Role) -> bool {
        matches!(
            (self, role),
            (_, Role::Manager)
                | (Right::Write | Right::Intake, Role::Ingest)
                | (Right::Read | Right::Report | Right::Intake, Role::Viewer)
                | (Right::Report, Role::Report)
        )
    }
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It shows no token that is known.
    Unauthenticated,
    /// Its token is not for this, or not for this tenant, or there is no such tenant.
    Forbidden,
    /// An operator who does not say what for.
    NoReason,
    /// The tenant has used more than it may; it may come back after this.
    TooMany(Duration),
}

/// Somebody who may do what they ask for.
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
    /// Set where it is not the tenant.
    pub(crate) operator: Option<Operator>,
}

impl Caller {
    /// Who sends these headers, if they have this right.
    pub(crate) fn of(gateway: &Gateway, headers: &HeaderMap, right: Right) -> Result<Caller, Denied> {
        let caller = Caller::known(gateway, headers, right)?;
        let tenant = &caller.tenant;
        let rates = gateway.config().rates(tenant.id().as_str());
        let counted = gateway.rates.request(tenant.number(), rates, gateway.clock.monotonic());
        counted.map_err(Denied::TooMany)?;
        Ok(caller)
    }

    fn known(gateway: &Gateway, headers: &HeaderMap, right: Right) -> Result<Caller, Denied> {
        let grant = granted(gateway, headers)?;
        let asked = named_tenant(headers)?;
        match &grant {
            Grant::Tenant { tenant, number, role } => {
                // Looked up in any case, so that time tells nothing.
                let found = live(gateway, tenant, Some(TenantNumber(*number)));
                if !right.is_of(*role) || asked.is_some_and(|asked| asked != tenant) {
                    return Err(Denied::Forbidden);
                }
                Ok(Caller { tenant: found.ok_or(Denied::Forbidden)?, operator: None })
            }
            Grant::Operator { operator } => {
                let reason = headers.get(REASON_HEADER).and_then(|reason| reason.to_str().ok());
                let operator = Operator::new(operator, reason.ok_or(Denied::NoReason)?);
                let operator = Some(operator.map_err(|_| Denied::NoReason)?);
                let found = asked.and_then(|asked| live(gateway, asked, None));
                if right == Right::Write {
                    return Err(Denied::Forbidden);
                }
                Ok(Caller { tenant: found.ok_or(Denied::Forbidden)?, operator })
            }
        }
    }
}

/// What the token of these headers gives.
pub(crate) fn granted(gateway: &Gateway, headers: &HeaderMap) -> Result<Grant, Denied> {
    let text = credential::token(headers);
    let now = Timestamp(gateway.clock.now_ms());
    let list = gateway.access_list();
    Ok(list.token(&text, now).ok_or(Denied::Unauthenticated)?.grant.clone())
}

/// The tenant that headers name, where they name one.
fn named_tenant(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut named = None;
    for header in [TENANT_HEADER, TENANT_HEADER_OF_OTHERS] {
        for value in headers.get_all(header) {
            let value = value.to_str().map_err(|_| Denied::Forbidden)?;
            if named.is_some_and(|other| other != value) {
                return Err(Denied::Forbidden);
            }
            named = Some(value);
        }
    }
    Ok(named)
}

/// The tenant of that id, where it can be used and is the one that had it then.
fn live(gateway: &Gateway, id: &str, number: Option<TenantNumber>) -> Option<Tenant> {
    let tenant = gateway.store.tenant(&TenantId::new(id).ok()?).ok()?;
    number.is_none_or(|number| number == tenant.number()).then_some(tenant)
}

/// Somebody who may read: a tenant, or an operator whose reading is written down.
pub(crate) enum Door {
    Tenant(TenantReader),
    Operator(OperatorReader),
}

impl Door {
    pub(crate) fn budget(&self) -> Budget {
        match self {
            Door::Tenant(reader) => reader.budget(),
            Door::Operator(reader) => reader.budget(),
        }
    }

    pub(crate) fn with(self, limits: QueryLimits, options: QueryOptions) -> Door {
        match self {
            Door::Tenant(reader) => Door::Tenant(reader.with_limits(limits).with_options(options)),
            Door::Operator(reader) => Door::Operator(reader.with(limits, options)),
        }
    }

    pub(crate) fn answer(&self, expr: &Expr, times: Times, budget: &Budget) -> Result<Answer, ApiError> {
        match self {
            Door::Tenant(reader) => Ok(reader.answer(expr, times, budget)?),
            Door::Operator(reader) => Ok(reader.answer(expr, times, budget)?),
        }
    }

    pub(crate) fn source(&self) -> &dyn SeriesSource {
        match self {
            Door::Tenant(reader) => reader,
            Door::Operator(reader) => reader,
        }
    }
}

/// A request of somebody who may read metrics.
pub(crate) struct Reader {
    pub(crate) tenant: Tenant,
    pub(crate) door: Door,
}

impl Reader {
    /// The door of a caller.
    pub(crate) fn of(Caller { tenant, operator }: Caller) -> Reader {
        let door = match operator {
            None => Door::Tenant(tenant.reader()),
            Some(operator) => Door::Operator(tenant.operator_reader(operator)),
        };
        Reader { tenant, door }
    }
}

impl FromRequestParts<Arc<Gateway>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Reader, ApiError> {
        Ok(Reader::of(Caller::of(gateway, &parts.headers, Right::Read)?))
    }
}
