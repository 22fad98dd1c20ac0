//! libFuzzer's door to the target `json_signals`.
#![no_main]

annals_fuzz::libfuzzer!("json_signals");
