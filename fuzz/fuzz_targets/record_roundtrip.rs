//! libFuzzer's door to the target `record_roundtrip`.
#![no_main]

annals_fuzz::libfuzzer!("record_roundtrip");
