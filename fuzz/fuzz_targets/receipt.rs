//! libFuzzer's door to the target `receipt`.
#![no_main]

annals_fuzz::libfuzzer!("receipt");
