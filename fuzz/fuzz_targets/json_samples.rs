//! libFuzzer's door to the target `json_samples`.
#![no_main]

annals_fuzz::libfuzzer!("json_samples");
