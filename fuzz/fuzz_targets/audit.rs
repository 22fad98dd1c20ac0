//! libFuzzer's door to the target `audit`.
#![no_main]

annals_fuzz::libfuzzer!("audit");
