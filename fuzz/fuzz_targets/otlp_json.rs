//! libFuzzer's door to the target `otlp_json`.
#![no_main]

annals_fuzz::libfuzzer!("otlp_json");
