//! libFuzzer's door to the target `rows_roundtrip`.
#![no_main]

annals_fuzz::libfuzzer!("rows_roundtrip");
