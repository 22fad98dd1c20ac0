//! libFuzzer's door to the target `record`.
#![no_main]

annals_fuzz::libfuzzer!("record");
