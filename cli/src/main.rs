//! The `annals` command: import, query, report, inspect, verify.
//!
//! ```text
//!   args       the command line                       verbs/    one file per verb
//!   access     opens stores, finds tenants            import/   files to batches, pipelined
//!   times      times and spans as people write them   demo/     two weeks of made-up activity
//!   output/    tables, csv, json, charts              error     messages and exit codes
//! ```
//!
//! Data goes to standard output, everything else to standard error. Reading verbs open the store beside whoever writes
//! to it.

mod access;
mod args;
mod demo;
mod error;
mod import;
mod output;
mod times;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{
    Args, AuditVerb, BackupVerb, ExportVerb, PlanVerb, PromqlVerb, ReceiptVerb, RetentionVerb, TenantVerb,
    Verb,
};
use error::Outcome;
use output::Screen;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output with code 0; a reader that went away is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut screen = Screen::stdout();
    let outcome = run(args.verb, &mut screen).and_then(|code| {
        screen.finish()?;
        Ok(code)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // What was written before the error is part of the answer.
            let _ = screen.finish();
            let text = error.to_string();
            if !text.is_empty() {
                eprintln!("{text}");
            }
            ExitCode::from(error.code())
        }
    }
}

fn run(verb: Verb, screen: &mut Screen) -> Outcome {
    match verb {
        Verb::Demo(args) => demo::run(&args, screen),
        Verb::Import(args) => import::run(&args, screen),
        Verb::Query(args) => verbs::query::instant(&args, screen),
        Verb::Range(args) => verbs::query::range(&args, screen),
        Verb::Explain(args) => verbs::explain::explain(&args, screen),
        Verb::Promql(PromqlVerb::Test { files }) => verbs::promql::test(&files, screen),
        Verb::Promql(PromqlVerb::Parse { expression }) => verbs::promql::parse(&expression, screen),
        Verb::Promql(PromqlVerb::Format { expression }) => verbs::promql::format(&expression, screen),
        Verb::Series(args) => verbs::series::series(&args, screen),
        Verb::Labels(args) => verbs::series::labels(&args, screen),
        Verb::Audit(AuditVerb::Show { store, tenant, output }) => {
            verbs::audit::show(tenant.as_deref(), &store, output, screen)
        }
        Verb::Audit(AuditVerb::Verify { store, head }) => {
            verbs::audit::verify(head.as_deref(), &store, screen)
        }
        Verb::Delete(args) => verbs::delete::delete(&args, screen),
        Verb::Report(args) => verbs::report::run(&args, screen),
        Verb::Tenant(TenantVerb::Create { name, plan, store }) => {
            verbs::tenant::create(&name, &plan, &store, screen)
        }
        Verb::Tenant(TenantVerb::Cancel { name, undo, store }) => {
            verbs::retention::cancel(&name, undo, &store, screen)
        }
        Verb::Tenant(TenantVerb::Erase { name, yes, store }) => {
            verbs::receipt::erase(&name, yes, &store, screen)
        }
        Verb::Backup(BackupVerb::Take { directory, store }) => {
            verbs::backup::take(&directory, &store, screen)
        }
        Verb::Backup(BackupVerb::List { directory, output }) => {
            verbs::backup::list(&directory, output, screen)
        }
        Verb::Backup(BackupVerb::Verify { directory }) => verbs::backup::verify(&directory, screen),
        Verb::Backup(BackupVerb::Prune { directory, keep, keys, store }) => {
            verbs::backup::prune(&directory, keep, keys, &store, screen)
        }
        Verb::Restore(args) => verbs::backup::restore(&args, screen),
        Verb::Receipt(ReceiptVerb::Verify { file, key }) => verbs::receipt::verify(&file, &key, screen),
        Verb::Receipt(ReceiptVerb::Key(store)) => verbs::receipt::key(&store, screen),
        Verb::Tenant(TenantVerb::Export(args)) => verbs::export::export(&args, screen),
        Verb::Export(ExportVerb::Verify { directory }) => verbs::export::verify(&directory, screen),
        Verb::Tenant(TenantVerb::List { store, output }) => verbs::tenant::list(&store, output, screen),
        Verb::Tenant(TenantVerb::Show { name, store, output }) => {
            verbs::tenant::show(name.as_deref(), &store, output, screen)
        }
        Verb::Plan(PlanVerb::List { output }) => verbs::plan::list(output, screen),
        Verb::Plan(PlanVerb::Show { name, output }) => verbs::plan::show(&name, output, screen),
        Verb::Plan(PlanVerb::Change { tenant, plan, preview, undo, store, output }) => match plan {
            Some(plan) if preview => verbs::retention::preview(&tenant, &plan, &store, output, screen),
            Some(plan) => verbs::retention::change(&tenant, &plan, &store, screen),
            None => {
                debug_assert!(undo, "required by the command line");
                verbs::retention::undo(&tenant, &store, screen)
            }
        },
        Verb::Retention(RetentionVerb::Explain { store, tenant, output }) => {
            verbs::retention::explain(tenant.as_deref(), &store, output, screen)
        }
        Verb::Retention(RetentionVerb::ConfirmClock(store)) => {
            verbs::retention::confirm_clock(&store, screen)
        }
        Verb::Compact(args) => verbs::upkeep::compact(&args, screen),
        Verb::Verify(args) => verbs::verify::verify(&args, screen),
        Verb::Stats(args) => verbs::stats::stats(&args, screen),
        Verb::Inspect(args) => verbs::upkeep::inspect(&args, screen),
    }
}
