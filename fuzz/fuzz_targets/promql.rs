//! libFuzzer's door to the target `promql`.
#![no_main]

annals_fuzz::libfuzzer!("promql");
