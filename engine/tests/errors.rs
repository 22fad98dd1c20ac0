//! Errors say where: who reads one at night knows which directory to look at.

mod common;

use annals::vfs::{SimCalls, SimError, SimFault};
use common::*;

#[test]
fn a_tenant_that_cannot_be_created_says_in_which_directory() {
    let mut refused = 0;
    for call in 0.. {
        let machine = Machine::new();
        let store = machine.open();
        machine.vfs.fail(SimFault::once(SimCalls::Mutating, call, SimError::NoSpace));
        let Err(error) = store.create_tenant(&id("acme"), plan("starter")) else { break };
        assert!(error.to_string().contains("/data"), "call {call}: {error}");
        refused += 1;
    }
    assert!(refused > 5, "only {refused} calls can fail");
}
