//! libFuzzer's door to the target `export_manifest`.
#![no_main]

annals_fuzz::libfuzzer!("export_manifest");
