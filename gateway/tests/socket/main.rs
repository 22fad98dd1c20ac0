//! The gateway over real sockets.

mod clients;
mod common;
mod hostile;
mod ingest;
mod page;
mod reading;
mod secured;
mod serving;
mod signed;
