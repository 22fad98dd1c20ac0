//! libFuzzer's door to the target `wal_segment`.
#![no_main]

annals_fuzz::libfuzzer!("wal_segment");
