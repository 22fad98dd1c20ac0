//! libFuzzer's door to the target `chunk_histograms`.
#![no_main]

annals_fuzz::libfuzzer!("chunk_histograms");
