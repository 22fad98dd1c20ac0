//! libFuzzer's door to the target `access_log`.
#![no_main]

annals_fuzz::libfuzzer!("access_log");
