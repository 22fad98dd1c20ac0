//! libFuzzer's door to the target `remote_write`.
#![no_main]

annals_fuzz::libfuzzer!("remote_write");
