//! libFuzzer's door to the target `labels`.
#![no_main]

annals_fuzz::libfuzzer!("labels");
