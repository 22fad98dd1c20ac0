//! What charts look like: lines, bars and heat maps in terminals of 40 and 100 columns, without UTF-8, and as SVG. The
//! pictures are in `testdata/charts`; to accept new ones: `INSTA_UPDATE=always cargo test -p annals-cli --test charts`.

mod common;

use std::process::Command;

use common::Bench;

/// What is drawn over a range: its name, and the question.
const LINES: [(&str, &str); 6] = [
    ("a wave below and above zero", "sin(vector(time() / 3000)) * 40"),
    (
        "two lines, one with a gap",
        "label_replace(vector(time() % 3600), \"of\", \"saw\", \"\", \"\") or label_replace(vector(900) > (time() % 7200 < bool 4000) * 1800, \"of\", \"steps\", \"\", \"\")",
    ),
    ("all equal", "vector(7)"),
    (
        "not a number, infinities, and numbers between",
        "vector((time() % 3600 - 1800) / (time() % 7200 > bool 3600))",
    ),
    ("the largest numbers there are", "1.7e308 * sin(vector(time() / 2000))"),
    ("nothing", "vector(1) > 2"),
];

/// What is drawn of an instant.
const BARS: [(&str, &str); 5] = [
    (
        "a few",
        "label_replace(vector(1200), \"status\", \"200\", \"\", \"\") or label_replace(vector(310.5), \"status\", \"304\", \"\", \"\") or label_replace(vector(1), \"status\", \"500\", \"\", \"\") or label_replace(vector(0), \"status\", \"503\", \"\", \"\")",
    ),
    (
        "below and above zero, not a number, infinities",
        "label_replace(vector(-4), \"of\", \"a long name of many letters that a narrow terminal has no room for\", \"\", \"\") or label_replace(vector(8), \"of\", \"b\", \"\", \"\") or label_replace(vector(NaN), \"of\", \"c\", \"\", \"\") or label_replace(vector(Inf), \"of\", \"d\", \"\", \"\") or label_replace(vector(-Inf), \"of\", \"e\", \"\", \"\")",
    ),
    (
        "all equal",
        "label_replace(vector(3), \"of\", \"a\", \"\", \"\") or label_replace(vector(3), \"of\", \"b\", \"\", \"\")",
    ),
    ("one", "vector(42)"),
    ("nothing", "vector(1) > 2"),
];

/// Histograms: counts that lie at or below each bound.
const HEAT: [(&str, &str); 3] = [
    (
        "a classic histogram",
        "label_replace(vector(3), \"le\", \"0.1\", \"\", \"\") or label_replace(5 + abs(sin(vector(time() / 5000))) * 40, \"le\", \"0.5\", \"\", \"\") or label_replace(vector(50), \"le\", \"2.5\", \"\", \"\") or label_replace(vector(51), \"le\", \"+Inf\", \"\", \"\")",
    ),
    (
        "all in one bucket",
        "label_replace(vector(0), \"le\", \"1\", \"\", \"\") or label_replace(vector(9), \"le\", \"+Inf\", \"\", \"\")",
    ),
    (
        "empty",
        "label_replace(vector(0), \"le\", \"1\", \"\", \"\") or label_replace(vector(0), \"le\", \"+Inf\", \"\", \"\")",
    ),
];

const SIX_HOURS: [&str; 6] = ["--start", "2015-05-17 06:00", "--end", "2015-05-17 12:00", "--step", "5m"];
const ONE_SAMPLE: [&str; 6] = ["--start", "2015-05-17 06:00", "--end", "2015-05-17 06:00", "--step", "5m"];

/// What a command draws in a terminal of a width and a locale, and what it says besides.
fn drawn(bench: &Bench, args: &[&str], width: &str, locale: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(args)
        .current_dir(bench.path(""))
        .env("COLUMNS", width)
        .env("LC_ALL", locale)
        .env_remove("ANNALS_DATA")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {said}");
    (out, said)
}

fn with_the_pictures(check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../testdata/charts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(check);
}

/// All questions of a kind in one picture, each under its name.
fn gallery(bench: &Bench, questions: &[(&str, &str)], args: &[&str], width: &str, locale: &str) -> String {
    let mut text = String::new();
    for (name, question) in questions {
        let (shown, said) =
            drawn(bench, &[&[args[0], *question], &args[1..], &["-o", "chart"]].concat(), width, locale);
        let columns = shown.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        // A sentence is broken by the terminal where it likes.
        let is_text = shown.contains("not finite");
        assert!(is_text || columns <= width.parse().expect("a number"), "{name}: {columns}\n{shown}");
        text += &format!("== {name}\n{shown}{said}\n");
    }
    text
}

#[test]
fn charts_of_terminals_are_these() {
    let bench = Bench::with_tenant("archive");
    let range = [&["range"][..], &SIX_HOURS].concat();
    let sample = [&["range"][..], &ONE_SAMPLE].concat();
    let instant = ["query", "--at", "2015-05-17 06:00"];
    with_the_pictures(|| {
        for (columns, locale, name) in
            [("40", "C.UTF-8", "40"), ("100", "C.UTF-8", "100"), ("40", "C", "40_ascii")]
        {
            let lines = gallery(&bench, &LINES, &range, columns, locale);
            let one = gallery(&bench, &[("one sample", "vector(5)")], &sample, columns, locale);
            insta::assert_snapshot!(format!("lines_{name}"), lines + &one);
            insta::assert_snapshot!(
                format!("bars_{name}"),
                gallery(&bench, &BARS, &instant, columns, locale)
            );
            let heat = gallery(&bench, &HEAT, &range, columns, locale);
            let one = gallery(&bench, &[("one column", HEAT[0].1)], &sample, columns, locale);
            insta::assert_snapshot!(format!("heat_{name}"), heat + &one);
        }
    });
}

#[test]
fn svg_pictures_are_these() {
    let bench = Bench::with_tenant("archive");
    let range = [&["range"][..], &SIX_HOURS].concat();
    let instant = ["query", "--at", "2015-05-17 06:00"];
    let pictures: [(&str, &[&str], &str); 7] = [
        ("line", &range, LINES[0].1),
        ("lines", &range, LINES[1].1),
        ("line_of_no_numbers", &range, LINES[3].1),
        ("line_of_nothing", &range, LINES[5].1),
        ("bars", &instant, BARS[0].1),
        ("bars_below_zero", &instant, BARS[1].1),
        ("heat", &range, HEAT[0].1),
    ];
    with_the_pictures(|| {
        for (name, args, question) in pictures {
            let (picture, _) =
                drawn(&bench, &[&[args[0], question], &args[1..], &["-o", "svg"]].concat(), "80", "C.UTF-8");
            assert!(!picture.contains("NaN\"") && !picture.contains("inf\""), "{name}: {picture}");
            insta::assert_binary_snapshot!(&format!("{name}.svg"), picture.into_bytes());
        }
    });
}
