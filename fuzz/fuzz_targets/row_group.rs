//! libFuzzer's door to the target `row_group`.
#![no_main]

annals_fuzz::libfuzzer!("row_group");
