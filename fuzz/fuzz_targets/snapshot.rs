//! libFuzzer's door to the target `snapshot`.
#![no_main]

annals_fuzz::libfuzzer!("snapshot");
