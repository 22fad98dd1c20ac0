//! libFuzzer's door to the target `damaged_store_ops`.
#![no_main]
#![expect(unsafe_code, reason = "libFuzzer calls what it fuzzes by its exported name")]

annals_fuzz::libfuzzer!("damaged_store_ops");
