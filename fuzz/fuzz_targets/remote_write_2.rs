//! libFuzzer's door to the target `remote_write_2`.
#![no_main]

annals_fuzz::libfuzzer!("remote_write_2");
