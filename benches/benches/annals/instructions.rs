//! Instructions a value: what the clock of a busy machine cannot say. Counted by valgrind's cachegrind, which knows no
//! AVX-512, so that the widest vectors here are AVX2's. Each figure is what one more pass takes: the difference of two runs
//! of a child, so that whatever comes before the passes cancels out.

use std::process::Command;

use annals::ChunkAge;
use annals_benches::series::SETS;
use annals_block::fuzzing::{Encoder, Reused, decode_values_on, levels};

/// Says what a child is to do: kernel, level, age, passes, file of values.
const WORK: &str = "ANNALS_BENCH_INSTRUCTIONS";
/// Values of a set that are measured, and of a chunk of them.
const VALUES: usize = 64 << 10;
const AGES: [(&str, ChunkAge, usize); 3] =
    [("hot", ChunkAge::Fresh, 1024), ("warm", ChunkAge::Merged, 8192), ("cold", ChunkAge::Old, 8192)];

pub(crate) fn is_child() -> bool {
    std::env::var_os(WORK).is_some()
}

pub(crate) fn run() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions: SKIPPED: there is no valgrind");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("values");
    println!("instructions: a value, of {VALUES} values of each set; vectors portable, avx2");
    for (name, make) in SETS.iter().filter(|(name, _)| *name != "hicard") {
        let Some(series) = make() else {
            println!("instructions: SKIPPED {name}: its files are not there");
            continue;
        };
        // Some of each of a few series, as whole chunks.
        let values: Vec<u8> = series
            .iter()
            .step_by((series.len() / 8).max(1))
            .flat_map(|one| one.values.chunks(8192).next())
            .flatten()
            .take(VALUES)
            .flat_map(|value| value.to_le_bytes())
            .collect();
        std::fs::write(&file, &values).expect("written");
        let count = values.len() / 8;
        for (form, _, _) in AGES {
            let of = |kernel: &str, level: usize| {
                let run =
                    |passes: usize| counted(&format!("{kernel} {level} {form} {passes} {}", file.display()));
                (run(2) - run(1)) as f64 / count as f64
            };
            println!(
                "instructions: {name:<14} {form:<5} encode {:>7.1}  decode {:>6.2} portable, {:>6.2} avx2",
                of("encode", 0),
                of("decode", 0),
                of("decode", 1)
            );
        }
    }
}

/// How many instructions a child takes for this work.
fn counted(work: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program"))
        .env(WORK, work)
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{work}: {said}");
    let line = said.lines().find(|line| line.contains("refs:")).expect("a count of instructions");
    let digits: String =
        line.rsplit(':').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

pub(crate) fn child() {
    let work = std::env::var(WORK).expect("the parent says what");
    let words: Vec<&str> = work.splitn(5, ' ').collect();
    let [kernel, level, form, passes, file] = words[..] else { panic!("{work}") };
    let level: usize = level.parse().expect("a level");
    assert!(level < levels().len(), "this machine has no such vectors");
    let (_, age, chunk) = *AGES.iter().find(|(name, _, _)| *name == form).expect("an age");
    let passes: usize = passes.parse().expect("a number");
    let bytes = std::fs::read(file).expect("read");
    let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let mut encoder = Encoder::default();
    let mut encode = || {
        let mut chunks = Vec::new();
        for values in values.chunks(chunk) {
            let mut out = Vec::new();
            encoder.encode(values, age, &mut out);
            chunks.push((out, values.len()));
        }
        chunks
    };
    let chunks = encode();
    let (mut reused, mut out) = (Reused::default(), Vec::new());
    for _ in 0..passes {
        if kernel == "encode" {
            std::hint::black_box(encode());
            continue;
        }
        for (bytes, count) in &chunks {
            out.clear();
            assert!(decode_values_on(level, bytes, *count, &mut reused, &mut out), "our own");
            std::hint::black_box(&out);
        }
    }
}
