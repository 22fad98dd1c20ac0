//! Names of metrics and labels, as Prometheus makes them of those of OpenTelemetry.
//!
//! A metric's name is its words, cut at every character that is no letter, digit or colon and joined by `_`; then its unit
//! in words where the name lacks it, `ratio` for a gauge of unit `1`, and `total` for a sum that only grows. A
//! label's name has `_` for every other character. Two attributes that become one label share it, joined by `;`.

/// Units in words.
const UNITS: [(&str, &str); 27] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
    ("kg", "kilograms"),
];

/// What is counted per, in words.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// What follows a metric's name and unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A sum that only grows.
    Total,
    /// A gauge: of unit `1` it is a ratio.
    Gauge,
    /// Any other.
    None,
}

/// The name of a metric.
pub(super) fn metric(name: &str, unit: &str, ending: Ending) -> String {
    let mut words = words(name);
    let (main, per) = match unit.trim().split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    let main = in_words(main, &UNITS);
    // Words that the name has already are not said twice.
    let missing: Vec<&str> = self::words(main).into_iter().filter(|word| !words.contains(word)).collect();
    let per = in_words(per, &PER);
    words.extend(missing);
    let per_words: Vec<&str> = self::words(per).into_iter().filter(|word| !words.contains(word)).collect();
    if !per_words.is_empty() {
        words.push("per");
        words.extend(per_words);
    }
    let last = match ending {
        Ending::Total => Some("total"),
        Ending::Gauge if unit.trim() == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        words.retain(|word| *word != last);
        words.push(last);
    }
    let mut joined = words.join("_");
    if joined.is_empty() || joined.starts_with(|first: char| first.is_ascii_digit()) {
        joined.insert(0, '_');
    }
    joined
}

fn words(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty()).collect()
}

/// A unit in words; notes in braces are none.
fn in_words<'a>(unit: &'a str, words: &[(&'static str, &'static str)]) -> &'a str {
    if unit.contains('{') {
        return "";
    }
    words.iter().find(|(symbol, _)| *symbol == unit).map_or(unit, |(_, words)| words)
}

/// The name of a label.
pub(super) fn label(key: &str) -> String {
    let mut name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert_str(0, "key_");
    } else if name.starts_with('_') && !name.starts_with("__") {
        name.insert_str(0, "key");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        for (name, unit, ending, expected) in [
            ("http.server.request.duration", "s", Ending::None, "http_server_request_duration_seconds"),
            ("http.server.active_requests", "{request}", Ending::None, "http_server_active_requests"),
            ("system.network.io", "By", Ending::Total, "system_network_io_bytes_total"),
            ("requests_total", "1", Ending::Total, "requests_total"),
            ("total.requests", "", Ending::Total, "requests_total"),
            ("system.cpu.utilization", "1", Ending::Gauge, "system_cpu_utilization_ratio"),
            ("disk.speed", "MiBy/s", Ending::Gauge, "disk_speed_mebibytes_per_second"),
            ("a..b  c-d", "", Ending::None, "a_b_c_d"),
            ("latency_seconds", "s", Ending::None, "latency_seconds"),
            ("2xx", "", Ending::None, "_2xx"),
            ("é", "", Ending::None, "_"),
            ("job:up", "widgets", Ending::None, "job:up_widgets"),
        ] {
            assert_eq!(metric(name, unit, ending), expected, "{name}");
        }
        for (key, expected) in
            [("http.method", "http_method"), ("2x", "key_2x"), ("_a", "key_a"), ("__a", "__a"), ("é", "key_")]
        {
            assert_eq!(label(key), expected, "{key}");
        }
    }
}
