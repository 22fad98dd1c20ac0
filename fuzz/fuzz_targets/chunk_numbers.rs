//! libFuzzer's door to the target `chunk_numbers`.
#![no_main]

annals_fuzz::libfuzzer!("chunk_numbers");
