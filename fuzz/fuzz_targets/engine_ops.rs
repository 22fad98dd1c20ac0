//! libFuzzer's door to the target `engine_ops`.
#![no_main]

annals_fuzz::libfuzzer!("engine_ops");
