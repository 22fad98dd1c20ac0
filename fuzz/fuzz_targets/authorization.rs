//! libFuzzer's door to the target `authorization`.
#![no_main]

annals_fuzz::libfuzzer!("authorization");
