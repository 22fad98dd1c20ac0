//! libFuzzer's door to the target `catalogue`.
#![no_main]

annals_fuzz::libfuzzer!("catalogue");
