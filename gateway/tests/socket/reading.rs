//! The reading API of Prometheus: shapes as its own schemas say, errors with their types, forms and limits.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::common::{Bench, config, now_ms, parse_reply, request, until};
use crate::ingest::{field, snappy, varint};

/// A gateway with a few series of the last minutes, and the second at which they are asked for.
fn filled() -> (Bench, i64) {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    let mut text = String::from("# TYPE hits_total counter\n");
    for at in (second - 300..=second).step_by(15) {
        for (job, factor) in [("a", 1), ("b", 3)] {
            text.push_str(&format!(
                "hits_total{{job=\"{job}\",path=\"/x\"}} {} {at}000\n",
                (at - second + 300) * factor
            ));
            text.push_str(&format!("up{{job=\"{job}\"}} {factor} {at}000\n"));
        }
    }
    text.push_str(&format!("{{\"odd.name\",\"label.dotted\"=\"v\"}} 0.25 {second}000\n"));
    bench.write(&text);
    (bench, second)
}

/// The schemas of replies, by path.
struct Schemas(Yaml);

impl Schemas {
    fn load() -> Option<Schemas> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/promql/openapi/openapi_3.2_golden.yaml");
        let text = std::fs::read_to_string(path)
            .or_else(|_| std::fs::read_to_string(std::env::var_os("ANNALS_OPENAPI").unwrap_or_default()));
        let Ok(text) = text else {
            eprintln!("SKIPPED the schemas of replies: name openapi_3.2_golden.yaml in ANNALS_OPENAPI");
            return None;
        };
        Some(Schemas(YamlLoader::load_from_str(&text).expect("YAML").remove(0)))
    }

    fn check_reply(&self, path: &str, reply: &Value) {
        let of_status = &self.0["paths"][path]["get"]["responses"]["200"];
        let schema = &of_status["content"]["application/json"]["schema"];
        assert!(!schema.is_badvalue(), "no schema of {path}");
        if let Err(why) = self.fits(schema, reply, "$") {
            panic!("{path}: {why}\n{reply}");
        }
    }

    /// Whether a value is as a schema says.
    fn fits(&self, schema: &Yaml, value: &Value, at: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().expect("a name");
            return self.fits(&self.0["components"]["schemas"][name], value, at);
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(all) = schema[any].as_vec() {
                let tries: Vec<_> = all.iter().map(|one| self.fits(one, value, at)).collect();
                return match tries.iter().any(Result::is_ok) {
                    true => Ok(()),
                    false => Err(format!("{at}: none of {tries:?}")),
                };
            }
        }
        let wanted = schema["type"].as_str().unwrap_or("any");
        let is = match wanted {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            _ => true,
        };
        if !is {
            return Err(format!("{at} is no {wanted}: {value}"));
        }
        if let Some(known) = schema["enum"].as_vec()
            && !known.iter().any(|one| one.as_str() == value.as_str())
        {
            return Err(format!("{at} is none of those that are possible: {value}"));
        }
        if let Some(items) = value.as_array() {
            let most = schema["maxItems"].as_i64().unwrap_or(i64::MAX);
            if items.len() as i64 > most || (items.len() as i64) < schema["minItems"].as_i64().unwrap_or(0) {
                return Err(format!("{at} has {} items", items.len()));
            }
            for (index, item) in items.iter().enumerate() {
                self.fits(&schema["items"], item, &format!("{at}[{index}]"))?;
            }
        }
        if let Some(fields) = value.as_object() {
            for name in schema["required"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("{at}.{name} is missing"));
                }
            }
            for (name, field) in fields {
                let (own, more) = (&schema["properties"][name.as_str()], &schema["additionalProperties"]);
                if !own.is_badvalue() {
                    self.fits(own, field, &format!("{at}.{name}"))?;
                } else if more.as_bool() == Some(false) {
                    return Err(format!("{at}.{name} is not in the schema"));
                } else if more.as_hash().is_some() {
                    self.fits(more, field, &format!("{at}.{name}"))?;
                }
            }
        }
        Ok(())
    }
}

#[test]
fn every_reply_has_the_shape_that_prometheus_own_schema_says() {
    let Some(schemas) = Schemas::load() else { return };
    let (bench, second) = filled();
    let range = format!("start={}&end={second}&step=30", second - 120);
    for (path, target) in [
        ("/query", format!("/query?query=up&time={second}")),
        ("/query", format!("/query?query=up[1m]&time={second}")),
        ("/query", format!("/query?query=1&time={second}")),
        ("/query", format!("/query?query=rate(up[1m])&time={second}&stats=all")),
        ("/query", format!("/query?query=up&time={second}&limit=1")),
        ("/query_range", format!("/query_range?query=rate(hits_total[1m])&{range}&stats=1")),
        ("/query_exemplars", format!("/query_exemplars?query=up&start={second}&end={second}")),
        ("/format_query", "/format_query?query=sum(up)by(job)".to_owned()),
        ("/parse_query", "/parse_query?query=sum(rate(up[5m]))+/+on(job)+group_left+up".to_owned()),
        ("/labels", "/labels".to_owned()),
        ("/labels", "/labels?match[]=up&limit=1".to_owned()),
        ("/label/{name}/values", "/label/job/values".to_owned()),
        ("/series", "/series?match[]=up".to_owned()),
        ("/metadata", "/metadata".to_owned()),
        ("/scrape_pools", "/scrape_pools".to_owned()),
        ("/targets", "/targets".to_owned()),
        ("/targets/metadata", "/targets/metadata".to_owned()),
        ("/rules", "/rules".to_owned()),
        ("/alerts", "/alerts".to_owned()),
        ("/alertmanagers", "/alertmanagers".to_owned()),
        ("/status/config", "/status/config".to_owned()),
        ("/status/runtimeinfo", "/status/runtimeinfo".to_owned()),
        ("/status/buildinfo", "/status/buildinfo".to_owned()),
        ("/status/flags", "/status/flags".to_owned()),
        ("/status/tsdb", "/status/tsdb".to_owned()),
        ("/status/walreplay", "/status/walreplay".to_owned()),
    ] {
        let reply = bench.get(&format!("/api/v1{target}"));
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        schemas.check_reply(path, &reply.json());
    }
    let error = bench.get("/api/v1/query?query=up(").json();
    schemas.fits(&schemas.0["components"]["schemas"]["Error"], &error, "$").expect("an error's shape");
}

#[test]
fn errors_have_the_types_and_statuses_of_prometheus() {
    let (bench, second) = filled();
    let many = format!("query_range?query=up&start=0&end={second}&step=1");
    for (target, status, kind) in [
        ("query", 400, "bad_data"),
        ("query?query=up(", 400, "bad_data"),
        ("query?query=up&time=yesterday", 400, "bad_data"),
        ("query?query=up&timeout=-1s", 400, "bad_data"),
        ("query?query=up&limit=-1", 400, "bad_data"),
        ("query?query=up&lookback_delta=0", 400, "bad_data"),
        ("query_range?query=up", 400, "bad_data"),
        ("query_range?query=up&start=10&end=0&step=1", 400, "bad_data"),
        ("query_range?query=up&start=0&end=10&step=0", 400, "bad_data"),
        ("query_range?query=up&start=0&end=10&step=-1", 400, "bad_data"),
        (many.as_str(), 400, "bad_data"),
        ("query_range?query=up[5m]&start=0&end=10&step=1", 422, "execution"),
        ("query?query=label_replace(up,%22job%22,%22x%22,%22%22,%22%22)%2Bon(job)up", 422, "execution"),
        ("series", 400, "bad_data"),
        ("series?match[]=sum(up)", 400, "bad_data"),
        ("series?match[]=up&start=10&end=0", 400, "bad_data"),
        ("labels?match[]={", 400, "bad_data"),
        ("label/U__a_zz_/values", 400, "bad_data"),
        ("parse_query?query=", 400, "bad_data"),
        ("nothing", 404, "not_found"),
    ] {
        let reply = bench.get(&format!("/api/v1/{target}"));
        assert_eq!(reply.error(), (status, kind.to_owned()), "{target}: {}", reply.text());
    }
    let message = bench.get("/api/v1/query?query=sum(up").json()["error"].clone();
    assert!(
        message.as_str().expect("text").starts_with("invalid parameter \"query\": 1:7: parse error:"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_read_is_a_warning_of_each_look_at_labels() {
    let (bench, _) = filled();
    // A stop has flushed: what is there is in blocks, and none of them has been read yet.
    let bench = bench.restarted();
    let blocks = std::fs::read_dir(bench.directory.path().join("t/1/b")).expect("blocks");
    for block in blocks.map(|entry| entry.expect("readable").path()) {
        let bytes = std::fs::metadata(&block).expect("there").len();
        std::fs::write(&block, vec![0; bytes as usize]).expect("written");
    }
    for target in ["series?match[]=up", "labels", "label/job/values", "metadata"] {
        let reply = bench.get(&format!("/api/v1/{target}")).json();
        let warning = reply["warnings"][0].as_str().unwrap_or_default();
        assert!(reply["status"] == "success" && warning.contains(".blk"), "{target}: {reply}");
    }
}

#[test]
fn selections_limits_and_escaped_names_are_heeded() {
    let (bench, second) = filled();
    let data = |target: &str| bench.get(&format!("/api/v1/{target}")).data();
    assert_eq!(data("label/job/values"), json!(["a", "b"]));
    assert_eq!(data("label/U__label_2e_dotted/values"), json!(["v"]));
    assert_eq!(data("labels?match[]=up"), json!(["__name__", "job"]));
    assert_eq!(
        data("series?match[]=up{job=%22a%22}&match[]={job=%22a%22,__name__=%22up%22}")
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(data(&format!("series?match[]=up&end={}", second - 4_000)), json!([]));
    assert_eq!(data("metadata?metric=hits_total")["hits_total"][0]["type"], "counter");
    assert_eq!(data("metadata?limit=1").as_object().map(serde_json::Map::len), Some(1));
    let limited = bench.get(&format!("/api/v1/query?query=up&time={second}&limit=1")).json();
    assert_eq!(limited["data"]["result"].as_array().map(Vec::len), Some(1));
    assert_eq!(limited["warnings"], json!(["results truncated due to limit"]));
    // A sample is as old as the look-back allows.
    let late = second + 200;
    assert_eq!(data(&format!("query?query=up&time={late}"))["result"].as_array().map(Vec::len), Some(2));
    assert_eq!(data(&format!("query?query=up&time={late}&lookback_delta=1m"))["result"], json!([]));
    // What is odd about a question is said with its place.
    let noted = bench.get(&format!("/api/v1/query?query=rate(up[5m])&time={second}")).json();
    assert!(noted["infos"][0].as_str().is_some_and(|note| note.contains("(1:6)")), "{noted}");
    let tsdb = data("status/tsdb?limit=1");
    assert_eq!(tsdb["headStats"]["numSeries"], 5);
    assert_eq!(tsdb["seriesCountByMetricName"].as_array().map(Vec::len), Some(1));
}

#[test]
fn federation_gives_the_newest_samples_with_their_times() {
    let (bench, second) = filled();
    let reply = bench.get("/federate?match[]=up&match[]={__name__=%22odd.name%22}");
    assert!(reply.header("content-type").is_some_and(|own| own.starts_with("text/plain")));
    let expected = format!(
        "# TYPE \"odd.name\" untyped\n{{\"odd.name\",\"label.dotted\"=\"v\"}} 0.25 {second}000\n\
         # TYPE up untyped\nup{{job=\"a\"}} 1 {second}000\nup{{job=\"b\"}} 3 {second}000\n"
    );
    assert_eq!(reply.text(), expected);
}

/// A question for the last 30 seconds of what these pairs name, as Protobuf.
fn read_request(second: i64, pairs: &[(&str, &str)]) -> Vec<u8> {
    let matchers = pairs
        .iter()
        .map(|(name, value)| field(3, &[field(2, name.as_bytes()), field(3, value.as_bytes())].concat()));
    let time = |number: u8, second: i64| [vec![number << 3], varint(second as u64 * 1000)].concat();
    field(1, &[time(1, second - 30), time(2, second), matchers.flatten().collect()].concat())
}

#[test]
fn what_remote_read_answers_can_be_written_elsewhere_and_is_the_same_there() {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("load{{Zone=\"z\",job=\"a\"}} 0.25 {second}000\n"));
    bench.write_histogram("load_seconds", second, [3, 4]);
    let reader = format!("Bearer {}", bench.viewer);
    let (writer, packed) = (format!("Bearer {}", bench.other), ("Content-Encoding", "snappy"));
    for metric in ["load", "load_seconds"] {
        let asked = snappy(&read_request(second, &[("__name__", metric)]));
        let reply = bench.send("POST", "/api/v1/read", &[("Authorization", &reader), packed], &asked);
        assert_eq!(reply.status, 200);
        let plain = snap::raw::Decoder::new().decompress_vec(&reply.body).expect("a block");
        // An answer's only result is what a request to write is: series. Its length takes one or two bytes.
        let result = &plain[if plain[1] < 0x80 { 2 } else { 3 }..];
        let reply =
            bench.send("POST", "/api/v1/write", &[("Authorization", &writer), packed], &snappy(result));
        assert_eq!(reply.status, 204, "{}", reply.text());
        let target = format!("/api/v1/query?query={metric}&time={second}");
        let own = bench.get(&target).data();
        assert_eq!(own["result"].as_array().map(Vec::len), Some(1), "{own}");
        assert_eq!(bench.get_as(&bench.other, &target).data(), own);
    }
}

#[test]
fn remote_read_gives_raw_samples() {
    let (bench, second) = filled();
    let packed = snappy(&read_request(second, &[("__name__", "up"), ("job", "a")]));
    let token = format!("Bearer {}", bench.viewer);
    let headers = [("Authorization", token.as_str()), ("Content-Encoding", "snappy")];
    let reply = bench.send("POST", "/api/v1/read", &headers, &packed);
    assert_eq!((reply.status, reply.header("content-encoding")), (200, Some("snappy")), "{:?}", reply.body);
    let plain = snap::raw::Decoder::new().decompress_vec(&reply.body).expect("a block");
    // Three samples of 1 at the ends and between them: 9 bytes of value, tag and time each.
    let samples = plain.windows(9).filter(|nine| nine[0] == 9 && nine[1..] == 1f64.to_le_bytes()).count();
    assert_eq!(samples, 3);
    assert!(plain.windows(8).any(|eight| eight == b"__name__"));
    for end in 0..packed.len() {
        let reply = bench.send("POST", "/api/v1/read", &headers, &packed[..end]);
        assert_eq!(reply.error().0, 400, "{end}");
    }
}

#[test]
fn a_client_that_goes_away_cancels_its_query() {
    let mut config = config();
    config.limits.queries = 1;
    config.limits.query_ms = 60_000;
    let bench = Bench::with(config);
    let second = now_ms() / 1000 - 60;
    let text: String = (0..2_000).map(|n| format!("m{{n=\"{n}\"}} {n} {second}000\n")).collect();
    bench.write(&text);
    // Minutes of work, in the only place that there is.
    let heavy = "sum(count_over_time(m[1h:100ms]))*0";
    let target = format!("/api/v1/query_range?query={heavy}&start={}&end={second}&step=1", second - 20_000);
    let token = format!("Bearer {}", bench.viewer);
    let mut stream = bench.connect();
    stream.write_all(&request("GET", &target, &[("Authorization", &token)], b"")).expect("sent");
    let queries = || {
        let text = bench.send("GET", "/metrics", &[], b"").text();
        let found = text.lines().find_map(|line| line.strip_prefix("annals_gateway_queries "));
        found.and_then(|own| own.parse::<u32>().ok()).expect("a number")
    };
    until(|| queries() == 1);
    drop(stream);
    until(|| queries() == 0);
    assert_eq!(bench.get("/api/v1/query?query=1").status, 200);
    // One that takes too long by its own word is told so.
    let reply = bench.get(&format!("{target}&timeout=50ms"));
    assert_eq!(reply.error(), (503, "timeout".to_owned()));
}

#[test]
fn several_requests_share_a_connection() {
    let bench = Bench::new();
    let mut stream = bench.connect();
    let token = format!("Bearer {}", bench.viewer);
    let kept = String::from_utf8(request("GET", "/api/v1/query?query=1", &[("Authorization", &token)], b""))
        .expect("text");
    let kept = kept.replace("Connection: close", "Connection: keep-alive");
    stream.write_all(kept.repeat(2).as_bytes()).expect("sent");
    stream.write_all(&request("GET", "/-/healthy", &[], b"")).expect("sent");
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut all).expect("read");
    let text = String::from_utf8(all.clone()).expect("text");
    assert_eq!(text.matches("HTTP/1.1 200").count(), 3, "{text}");
    assert!(parse_reply(&all).is_some());
}
