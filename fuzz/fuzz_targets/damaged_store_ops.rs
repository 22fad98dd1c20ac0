//! libFuzzer's door to the target `damaged_store_ops`.
#![no_main]

annals_fuzz::libfuzzer!("damaged_store_ops");
