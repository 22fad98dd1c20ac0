//! Who may what: tokens and site secrets, in a file that operators change while the gateway runs.
//!
//! ```text
//!   list.rs        what is granted, and the file that holds it      Store, changed by one process at a time
//!   credential.rs  what a request shows                             Authorization: Bearer | Basic | Token
//!   caller.rs      who that is, and what that gives them            Caller, Reader, Door
//! ```

mod caller;
mod credential;
mod list;

pub(crate) use caller::{Caller, Denied, Door, Reader, Right, TENANT_HEADER, granted};
#[cfg(feature = "fuzzing")]
pub(crate) use credential::token;
pub(crate) use list::hex;
pub use list::{AccessError, AccessList, AccessStore, Grant, NewToken, Role, SiteKey, Token};
