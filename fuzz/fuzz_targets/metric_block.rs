//! libFuzzer's door to the target `metric_block`.
#![no_main]

annals_fuzz::libfuzzer!("metric_block");
