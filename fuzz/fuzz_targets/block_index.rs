//! libFuzzer's door to the target `block_index`.
#![no_main]
#![expect(unsafe_code, reason = "libFuzzer calls what it fuzzes by its exported name")]

annals_fuzz::libfuzzer!("block_index");
