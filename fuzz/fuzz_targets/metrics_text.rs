//! libFuzzer's door to the target `metrics_text`.
#![no_main]

annals_fuzz::libfuzzer!("metrics_text");
