//! libFuzzer's door to the target `block_index`.
#![no_main]

annals_fuzz::libfuzzer!("block_index");
