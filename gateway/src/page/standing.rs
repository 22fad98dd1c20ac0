//! How a tenant stands: who asks, what is kept until when, and what became of what was sent.

use std::sync::Arc;

use annals::{BlockContent, BlockState, Tenant, TenantSummary, Timestamp};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::look;
use crate::access::{Grant, Right, Role, TENANT_HEADER, granted};
use crate::app::Gateway;
use crate::reply::{ApiError, success};

/// `whoami`: an operator who names no tenant yet is told that it is one.
pub(crate) async fn whoami(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (role, operator, right) = match granted(&gateway, &headers)? {
        Grant::Operator { operator } if headers.contains_key(TENANT_HEADER) => {
            ("operator", Some(operator), Right::Read)
        }
        Grant::Operator { operator } => {
            return Ok(success(&identity(None, "operator", Some(operator), None)));
        }
        Grant::Tenant { role, .. } => {
            let right = match role {
                Role::Ingest => Right::Intake,
                Role::Report => Right::Report,
                Role::Viewer | Role::Manager => Right::Read,
            };
            (role.name(), None, right)
        }
    };
    look(&gateway, &headers, (right, "from when to when there is data"), move |_, tenant| {
        // Who only writes is told nothing of what is there.
        let summary = (right != Right::Intake).then(|| tenant.summary());
        identity(Some(tenant), role, operator, summary)
    })
    .await
}

fn identity(
    tenant: Option<&Tenant>,
    role: &str,
    operator: Option<String>,
    summary: Option<TenantSummary>,
) -> Value {
    let of =
        |time: fn(&TenantSummary) -> Option<Timestamp>| summary.as_ref().and_then(time).map(|time| time.0);
    json!({
        "tenant": tenant.map(|tenant| tenant.id().as_str()),
        "role": role,
        "operator": operator,
        "earliest": of(|summary| summary.earliest),
        "latest": of(|summary| summary.latest),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// `retention`
pub(crate) async fn retention(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    look(&gateway, &headers, (Right::Read, "what is kept of it, and until when"), |_, tenant| {
        let retention = tenant.retention();
        let plan = retention.plan();
        let keeps = BlockContent::ALL.into_iter().filter_map(|content| {
            let keep = plan.keep(content)?;
            Some(json!({ "content": content.word(), "keep": keep.to_string() }))
        });
        let blocks = retention.blocks().into_iter().map(|kept| {
            let day = kept.block.id.day.range();
            json!({
                "id": kept.block.id.to_string(),
                "content": kept.block.id.content.word(),
                "start": day.start.0,
                "end": day.end.0,
                "rows": kept.block.rows,
                "bytes": kept.block.bytes,
                "rule": kept.rule.to_string(),
                "due": kept.due.map(|due| due.0),
                "state": match kept.state {
                    BlockState::Live => "live",
                    BlockState::Held => "held",
                    BlockState::Due => "due",
                },
            })
        });
        json!({
            "plan": plan.name,
            "next": retention.next_plan().map(|(from, plan)| json!({ "plan": plan.name, "from": from.0 })),
            "cancelled": retention.cancelled().map(|due| due.0),
            "lag_ms": retention.lag_ms(),
            "late_window_ms": plan.late_window_ms,
            "keeps": keeps.collect::<Value>(),
            "blocks": blocks.collect::<Value>(),
        })
    })
    .await
}

/// `intake`
pub(crate) async fn intake(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    look(&gateway, &headers, (Right::Intake, "what became of what was sent"), |gateway, tenant| {
        let intake = tenant.intake();
        let refused =
            intake.refused.iter().map(|(reason, count)| json!({ "reason": reason.word(), "count": count }));
        json!({
            "since": gateway.started.0,
            "batches": {
                "written": intake.batches_written,
                "duplicate": intake.batches_duplicate,
                "conflicting": intake.batches_conflicting,
                "failed": intake.batches_failed,
            },
            "records": intake.records,
            "refused": refused.collect::<Value>(),
        })
    })
    .await
}
