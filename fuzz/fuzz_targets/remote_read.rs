//! libFuzzer's door to the target `remote_read`.
#![no_main]

annals_fuzz::libfuzzer!("remote_read");
