//! The page for readers in other languages says what the code does.

use annals_model::SeriesKind;

use super::{FEATURE_HISTOGRAMS, FEATURE_SEALED, FEATURE_STARTS, HEADER_BYTES, SECTION_KINDS};
use crate::codec::ints::{self, Packing};
use crate::codec::predict::PREDICTORS;
use crate::codec::values::Mapping;
use crate::series::{Form, HAS_STARTS};

/// The page for those who write a reader in another language.
const PAGE: &str = include_str!("../../../docs/format/block.md");

fn row(what: &str) -> &'static str {
    let start = format!("| {what} |");
    PAGE.lines().find(|line| line.starts_with(&start)).expect("the page has that row")
}

#[test]
fn the_page_of_the_format_has_the_numbers_of_the_code() {
    for kind in SECTION_KINDS {
        assert!(row("section kind").contains(&format!("`{}` {}", kind.name(), kind as u8)), "{kind:?}");
    }
    for predictor in PREDICTORS {
        assert!(row("predictor").contains(&format!("`{predictor:?}` {}", predictor as u8)));
    }
    for number in 0..6u8 {
        let (_, packing, _) = ints::parse_form(number << 4).expect("a packing");
        assert!(row("packing").contains(&format!("`{packing:?}` {}", packing as u8)));
    }
    assert!(ints::parse_form((Packing::Cold as u8 + 1) << 4).is_none());
    for kind in SeriesKind::ALL {
        assert!(row("kind of a series").contains(&format!("`{}` {}", kind.name(), kind.tag())));
    }
    for (name, form) in
        [("doubles", Form::Doubles), ("histograms", Form::Histograms), ("rollups", Form::Rollups)]
    {
        assert!(row("form of its chunks").contains(&format!("{name} {}", form as u8)));
    }
    for (name, feature) in
        [("sealed", FEATURE_SEALED), ("histograms", FEATURE_HISTOGRAMS), ("start times", FEATURE_STARTS)]
    {
        assert!(row("required feature").contains(&format!("{name} {feature}")));
    }
    assert!(row("form of its chunks").contains(&format!("{HAS_STARTS} more where they have start times")));
    for mapping in [Mapping::Raw, Mapping::Bits, Mapping::Decimal, Mapping::Cold] {
        assert!(row("mapping of values").contains(&format!("`{mapping:?}` {}", mapping as u8)));
    }
    assert!(PAGE.contains(&format!("{HEADER_BYTES} B")));
}

#[test]
fn the_chunk_of_the_page_is_read_as_it_says() {
    let mut bytes = vec![0x02, 0x11, 0xc8, 0x01, 0x03, 0x00];
    bytes.extend([0; 96]);
    // Number 9 is in lane 1, at bit 3 of it.
    bytes[6 + 4] = 5 << 3;
    let (mut values, mut decoding) = (Vec::new(), ints::Decoding::default());
    let level = crate::codec::kernel::Level::widest();
    let decoded = crate::codec::values::decode(&bytes, 256, level, &mut decoding, 0..256, &mut values);
    assert_eq!(decoded, Some(()));
    let expected: Vec<f64> = (0..256).map(|i| if i < 9 { 100.0 } else { 105.0 }).collect();
    assert_eq!(values, expected);
}
