//! libFuzzer's door to the target `codec_roundtrip`.
#![no_main]

annals_fuzz::libfuzzer!("codec_roundtrip");
