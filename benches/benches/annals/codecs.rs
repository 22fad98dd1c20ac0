//! Values only, chunk by chunk: bytes a value, and millions of values a second encoded and decoded by one thread.

use annals::ChunkAge;
use annals_benches::cpu_time;
use annals_benches::series::{SETS, counter_entropy_bytes};
use annals_block::fuzzing::{Encoder, Reused, decode_values_on, levels};
use zstd::bulk::{Compressor, Decompressor};

use crate::rivals::{gorilla, scaled};

/// Values of a set that are measured: enough to be steady, few enough to stay in a cache.
const VALUES_MAX: usize = 10_000_000;
/// Seconds that a decoder runs at least.
const SECONDS_MIN: f64 = 0.15;

pub(crate) fn run() {
    let levels = levels();
    println!("codecs: values only, one thread; bytes/value, encode M values/s, decode M values/s");
    println!("codecs: vectors {}", levels.join(", "));
    for (name, make) in SETS {
        let Some(series) = make() else {
            println!("codecs: SKIPPED {name}: its files are not there");
            continue;
        };
        if name == "hicard" {
            continue;
        }
        let stride = (series.iter().map(|one| one.values.len()).sum::<usize>() / VALUES_MAX).max(1);
        let columns: Vec<&[f64]> = series.iter().step_by(stride).map(|one| one.values.as_slice()).collect();
        if name == "counter" {
            println!("codecs: {name:<14} entropy of its increments {:.3}", counter_entropy_bytes());
        }
        for (form, age, chunk) in
            [("hot", ChunkAge::Fresh, 1024), ("warm", ChunkAge::Merged, 8192), ("cold", ChunkAge::Old, 8192)]
        {
            let chunks = cut(&columns, chunk);
            let mut encoder = Encoder::default();
            let (encoded, encode_s) = encode(&chunks, |values| {
                let mut out = Vec::new();
                encoder.encode(values, age, &mut out);
                out
            });
            let mut reused = Reused::default();
            let speeds: Vec<String> = levels
                .iter()
                .enumerate()
                .map(|(level, name)| {
                    let speed = decode(&chunks, &encoded, |bytes, count, out| {
                        assert!(decode_values_on(level, bytes, count, &mut reused, out), "our own");
                    });
                    format!("{speed:.0} {name}")
                })
                .collect();
            print(name, form, &chunks, &encoded, encode_s, &speeds.join(", "));
        }
        let chunks = cut(&columns, 1024);
        let (encoded, encode_s) = encode(&chunks, gorilla::encode);
        let speed = decode(&chunks, &encoded, gorilla::decode);
        print(name, "gorilla", &chunks, &encoded, encode_s, &format!("{speed:.0}"));
        let mut compressor = Compressor::new(1).expect("zstd");
        let (encoded, encode_s) = encode(&chunks, |values| scaled::encode(values, &mut compressor));
        let mut decompressor = Decompressor::new().expect("zstd");
        let speed = decode(&chunks, &encoded, |bytes, count, out| {
            scaled::decode(bytes, count, &mut decompressor, out);
        });
        print(name, "scaled+zstd", &chunks, &encoded, encode_s, &format!("{speed:.0}"));
    }
}

fn cut<'a>(columns: &[&'a [f64]], samples: usize) -> Vec<&'a [f64]> {
    columns.iter().flat_map(|values| values.chunks(samples)).collect()
}

fn encode(chunks: &[&[f64]], mut one: impl FnMut(&[f64]) -> Vec<u8>) -> (Vec<Vec<u8>>, f64) {
    let started = cpu_time::of_thread().unwrap_or(0.0);
    let encoded = chunks.iter().map(|values| one(values)).collect();
    (encoded, cpu_time::of_thread().unwrap_or(0.0) - started)
}

/// The best of some passes over all chunks, in millions of values a second. What is decoded is compared once.
fn decode(chunks: &[&[f64]], encoded: &[Vec<u8>], mut one: impl FnMut(&[u8], usize, &mut Vec<f64>)) -> f64 {
    let mut out = Vec::new();
    for (values, bytes) in chunks.iter().zip(encoded) {
        out.clear();
        one(bytes, values.len(), &mut out);
        assert!(out.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())), "bit for bit");
    }
    let values: usize = chunks.iter().map(|values| values.len()).sum();
    let (mut best, mut all) = (f64::MAX, 0.0);
    while all < SECONDS_MIN {
        let started = cpu_time::of_thread().unwrap_or(0.0);
        for (values, bytes) in chunks.iter().zip(encoded) {
            out.clear();
            one(bytes, values.len(), &mut out);
        }
        let seconds = cpu_time::of_thread().unwrap_or(0.0) - started;
        (best, all) = (f64::min(best, seconds), all + seconds.max(1e-4));
    }
    values as f64 / best / 1e6
}

fn print(set: &str, form: &str, chunks: &[&[f64]], encoded: &[Vec<u8>], encode_s: f64, decoded: &str) {
    let values: usize = chunks.iter().map(|values| values.len()).sum();
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    println!(
        "codecs: {set:<14} {form:<12} {:>6.3} bytes/value  encode {:>5.0}  decode {decoded}",
        bytes as f64 / values as f64,
        values as f64 / encode_s / 1e6
    );
}
