//! libFuzzer's door to the target `block_in_store`.
#![no_main]

annals_fuzz::libfuzzer!("block_in_store");
