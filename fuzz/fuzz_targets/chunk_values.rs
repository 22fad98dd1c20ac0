//! libFuzzer's door to the target `chunk_values`.
#![no_main]

annals_fuzz::libfuzzer!("chunk_values");
