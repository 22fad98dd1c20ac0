//! The gateway over real sockets.

mod clients;
mod common;
mod hostile;
mod ingest;
mod page;
mod programs;
mod reading;
mod secured;
mod senders;
mod serving;
mod signed;
