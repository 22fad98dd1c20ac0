//! The gateway over real sockets.

mod common;
mod page;
mod serving;
