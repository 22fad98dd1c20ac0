//! libFuzzer's door to the target `manifest`.
#![no_main]

annals_fuzz::libfuzzer!("manifest");
