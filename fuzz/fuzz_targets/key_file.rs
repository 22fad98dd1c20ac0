//! libFuzzer's door to the target `key_file`.
#![no_main]

annals_fuzz::libfuzzer!("key_file");
