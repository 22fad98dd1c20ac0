//! What every codec must do, whichever an encoder would choose: each form of a run in turn, and a stored chunk of each
//! codec that must decode for ever.

use annals_model::bytes::{Cursor, PutBytes};

use super::ints::{Decoding, Effort, Packing, decode, put_head};
use super::kernel::Level;
use super::predict::{PREDICTORS, Predictor, Run, Shape};
use super::values::{self, ValueEncoder, codec_name, tests::ODD};
use super::{cold, entropy, packed, sparse};
use crate::squeeze::Squeezer;
use crate::testing::Rng;

/// Every form that a run has.
fn forms(numbers: &[i64]) -> Vec<(Predictor, Packing, Vec<u8>)> {
    let (shape, mut squeezer) = (Shape::of(numbers), Squeezer::new());
    let mut forms = Vec::new();
    for predictor in PREDICTORS {
        let Some(run) = shape.begin(numbers, predictor) else { continue };
        let mut residuals = Vec::new();
        run.residuals(numbers, &mut residuals);
        let mut add = |packing: Packing, body: &[u8]| {
            let mut bytes = Vec::new();
            put_head(run, packing, &mut bytes);
            bytes.put(body);
            forms.push((predictor, packing, bytes));
        };
        if residuals.iter().all(|&residual| residual == 0) {
            add(Packing::Zero, &[]);
        }
        let mut body = Vec::new();
        packed::encode(&residuals, &mut body);
        add(Packing::Packed, &body);
        let mut squeezed = Vec::new();
        squeezed.put_varint(body.len() as u64);
        squeezed.put_blob(&squeezer.repeats(&body).expect("zstd"));
        add(Packing::Squeezed, &squeezed);
        let mut body = Vec::new();
        if entropy::encode(&residuals, usize::MAX, &mut squeezer, &mut body) {
            add(Packing::Entropy, &body);
        }
        let mut body = Vec::new();
        if sparse::encode(&residuals, &mut body) {
            add(Packing::Sparse, &body);
        }
    }
    if let Some(chunk) = cold::encode(numbers) {
        let run = Run { predictor: Predictor::Plain, start: 0, step: 0, factor: 1 };
        let mut bytes = Vec::new();
        put_head(run, Packing::Cold, &mut bytes);
        bytes.put_blob(&chunk);
        forms.push((Predictor::Plain, Packing::Cold, bytes));
    }
    forms
}

fn runs() -> Vec<Vec<i64>> {
    let mut rng = Rng(17);
    let mut runs = Vec::new();
    // Under miri few: it takes minutes for what takes milliseconds.
    let lengths: &[usize] = if cfg!(miri) { &[3, 257] } else { &[1, 2, 3, 7, 255, 256, 257, 300, 511, 1024] };
    let shifts: &[u32] = if cfg!(miri) { &[0, 60] } else { &[0, 20, 40, 54, 60, 63] };
    for &length in lengths {
        for &shift in shifts {
            let mut last = 0i64;
            let mut noise = || rng.next() as i64 >> shift;
            runs.push((0..length).map(|_| noise()).collect());
            runs.push((0..length).map(|i| i as i64 * 10_000 + noise() % 7).collect());
            runs.push(
                (0..length)
                    .map(|_| {
                        last = last.wrapping_add(noise());
                        last
                    })
                    .collect(),
            );
            runs.push((0..length).map(|i| if i % 90 == 17 { noise() } else { 5 }).collect());
            runs.push((0..length).map(|_| noise().wrapping_mul(4096).wrapping_add(3)).collect());
        }
        runs.push((0..length).map(|i| [i64::MIN, i64::MAX, 0, -1][i % 4]).collect());
    }
    runs
}

#[test]
fn every_form_of_every_run_decodes_to_it_on_every_level() {
    let mut seen = Vec::new();
    let mut decoding = Decoding::default();
    for numbers in runs() {
        for (predictor, packing, bytes) in forms(&numbers) {
            for level in Level::all() {
                let (mut cursor, mut back) = (Cursor::new(&bytes), Vec::new());
                let decoded = decode(&mut cursor, numbers.len(), level, &mut decoding, &mut back);
                assert!(decoded.is_some() && cursor.is_empty(), "{predictor:?} {packing:?} {level:?}");
                assert_eq!(back, numbers, "{predictor:?} {packing:?} {level:?}");
            }
            if !seen.contains(&packing) {
                seen.push(packing);
            }
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn no_form_decodes_when_it_is_cut_short() {
    let mut decoding = Decoding::default();
    for numbers in runs().into_iter().filter(|numbers| numbers.len() >= 255).step_by(5) {
        for (predictor, packing, bytes) in forms(&numbers) {
            for length in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                let (mut cursor, mut back) = (Cursor::new(&bytes[..length]), Vec::new());
                let decoded = decode(&mut cursor, numbers.len(), Level::widest(), &mut decoding, &mut back);
                assert!(decoded.is_none(), "{predictor:?} {packing:?} cut to {length} of {}", bytes.len());
            }
        }
    }
}

/// A column for each codec: its file's name, the effort with which it is chosen, and the values.
fn columns() -> Vec<(&'static str, Effort, Vec<f64>)> {
    let mut rng = Rng(23);
    let mut walk = |step: u64, power: f64| -> Vec<f64> {
        let mut level = 500i64;
        (0..600)
            .map(|_| {
                level += (rng.next() % (2 * step + 1)) as i64 - step as i64;
                level as f64 / power
            })
            .collect()
    };
    let hot = walk(3, 1.0);
    let mut level = 0i64;
    let warm: Vec<f64> = (0..600)
        .map(|_| {
            level += [0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 5, 0, -5, 0, 0, 0][(rng.next() % 16) as usize];
            level as f64
        })
        .collect();
    let cold: Vec<f64> = (0..600)
        .map(|_| {
            let scale = [3, 40, 900, 70_000][(rng.next() % 4) as usize];
            (1_000_000 + scale * 10 + rng.next() % scale) as f64 / 1000.0
        })
        .collect();
    let noise: Vec<f64> = (0..600).map(|_| f64::from_bits(rng.next())).collect();
    let ratios: Vec<f64> = (0..600).map(|_| 20.0 + (rng.next() >> 11) as f64 / (1u64 << 53) as f64).collect();
    let repeats: Vec<f64> = (0..600).map(|i| ratios[i * i % 7]).collect();
    let mut state = 5.0;
    let sparse: Vec<f64> = (0..600)
        .map(|i| {
            state = if i % 100 == 31 { f64::from(i) } else { state };
            state
        })
        .collect();
    let mut odd = hot.clone();
    odd.iter_mut().step_by(70).zip(ODD).for_each(|(value, bits)| *value = f64::from_bits(bits));
    vec![
        ("constant", Effort::Hot, vec![42.5; 600]),
        (
            "line",
            Effort::Hot,
            (0..600).map(|i| f64::from(i) * 0.1).map(|v| (v * 10.0).round() / 10.0).collect(),
        ),
        ("sparse", Effort::Hot, sparse),
        ("hot", Effort::Hot, hot),
        ("hot-exceptions", Effort::Hot, odd),
        ("warm", Effort::Warm, warm),
        ("cold", Effort::Cold, cold),
        ("hot-bits", Effort::Hot, ratios.clone()),
        ("repeated-bits", Effort::Warm, repeats),
        ("cold-doubles", Effort::Cold, ratios.iter().map(|ratio| ratio.sqrt()).collect()),
        ("raw", Effort::Hot, noise),
    ]
}

#[test]
fn a_stored_chunk_of_each_codec_decodes_for_ever() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/values");
    let mut names = Vec::new();
    for (name, effort, values) in columns() {
        let path = directory.join(name).with_extension("bin");
        if std::env::var_os("ANNALS_WRITE_GOLDEN").is_some() {
            let mut bytes = Vec::new();
            ValueEncoder::new().encode(&values, effort, &mut bytes);
            std::fs::write(&path, bytes).expect("writable");
        }
        let stored = std::fs::read(&path).expect("golden files are part of the repository");
        for level in Level::all() {
            let mut back = Vec::new();
            let mut decoding = Decoding::default();
            let decoded =
                values::decode(&stored, values.len(), level, &mut decoding, 0..values.len(), &mut back);
            assert_eq!(decoded, Some(()), "{name}");
            assert!(
                back.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())),
                "{name} {level:?}"
            );
        }
        names.push(codec_name(&stored).expect("a chunk"));
    }
    names.sort_unstable();
    names.dedup();
    let expected = [
        "cold",
        "cold doubles",
        "constant",
        "hot",
        "hot bits",
        "raw",
        "sparse",
        "warm",
        "warm repeated bits",
    ];
    assert_eq!(names, expected);
}
