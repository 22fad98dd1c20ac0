//! libFuzzer's door to the target `sshd_log`.
#![no_main]

annals_fuzz::libfuzzer!("sshd_log");
