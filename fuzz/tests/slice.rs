//! A short slice of every target.

use annals_fuzz::{TARGETS, run};

#[test]
fn no_decoder_panics_on_mutated_input() {
    for target in &TARGETS {
        run(target, 0, 150);
    }
}
