//! libFuzzer's door to the target `rows`.
#![no_main]

annals_fuzz::libfuzzer!("rows");
