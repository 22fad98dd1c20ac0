//! libFuzzer's door to the target `schema_toml`.
#![no_main]

annals_fuzz::libfuzzer!("schema_toml");
