//! libFuzzer's door to the target `log_piece`.
#![no_main]

annals_fuzz::libfuzzer!("log_piece");
