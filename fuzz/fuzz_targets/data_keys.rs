//! libFuzzer's door to the target `data_keys`.
#![no_main]

annals_fuzz::libfuzzer!("data_keys");
