//! libFuzzer's door to the target `block_roundtrip`.
#![no_main]

annals_fuzz::libfuzzer!("block_roundtrip");
