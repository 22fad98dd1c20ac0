//! libFuzzer's door to the target `influx`.
#![no_main]

annals_fuzz::libfuzzer!("influx");
