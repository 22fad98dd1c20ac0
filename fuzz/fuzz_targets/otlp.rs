//! libFuzzer's door to the target `otlp`.
#![no_main]

annals_fuzz::libfuzzer!("otlp");
