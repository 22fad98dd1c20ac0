//! libFuzzer's door to the target `chunk_values`.
#![no_main]
#![expect(unsafe_code, reason = "libFuzzer calls what it fuzzes by its exported name")]

annals_fuzz::libfuzzer!("chunk_values");
