//! libFuzzer's door to the target `signal_block`.
#![no_main]

annals_fuzz::libfuzzer!("signal_block");
