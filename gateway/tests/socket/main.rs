//! The gateway over real sockets.

mod common;
mod serving;
