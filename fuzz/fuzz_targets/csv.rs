//! libFuzzer's door to the target `csv`.
#![no_main]

annals_fuzz::libfuzzer!("csv");
