//! libFuzzer's door to the target `block_in_store`.
#![no_main]
#![expect(unsafe_code, reason = "libFuzzer calls what it fuzzes by its exported name")]

annals_fuzz::libfuzzer!("block_in_store");
