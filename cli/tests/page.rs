//! The page in a real browser, against `annals serve` on the demo store.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::Bench;

/// The driver of the browser, from npm.
const DRIVER: &str = "playwright-core@1.65.1";
const CHROMIUM: &str = "/usr/bin/chromium";

/// A gateway that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves a store on any port, and says where.
fn serve(store: &Path) -> (Serving, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(store)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let serving = Serving(child);
    for line in lines {
        let line = line.expect("text");
        if let Some((_, address)) = line.rsplit_once(" on ") {
            return (serving, format!("http://{address}/ui/"));
        }
    }
    panic!("it does not serve");
}

/// A folder with the driver, or why there is none.
fn driver(bench: &Bench) -> Result<PathBuf, String> {
    for (tool, what) in [("node", "--version"), ("npm", "--version"), (CHROMIUM, "--version")] {
        if Command::new(tool).arg(what).output().is_err() {
            return Err(format!("there is no {tool}"));
        }
    }
    let folder = bench.path("driver");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("package.json"), "{}").expect("written");
    let npm = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", DRIVER];
    match Command::new("npm").args(npm).current_dir(&folder).output() {
        Ok(ran) if ran.status.success() => Ok(folder.join("node_modules")),
        _ => Err(format!("npm could not bring {DRIVER}")),
    }
}

/// With `ANNALS_PAGE_SHOTS`, a folder, pictures of all views are put there.
#[test]
fn every_view_shows_what_the_demo_store_holds() {
    let bench = Bench::new();
    let packages = match driver(&bench) {
        Ok(packages) => packages,
        Err(why) => {
            // Around the capture of output: what was not checked is seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED the page in a browser: {why}");
            return;
        }
    };
    bench.ok(&["demo", "--data", "demo"]);
    let token = |args: &[&str]| {
        let all = [&["token", "create", "--data", "demo"], args].concat();
        bench.ok(&all).trim().to_owned()
    };
    let of = |role: &str| token(&["--tenant", "agency", "--role", role]);
    let (viewer, report, ingest) = (of("viewer"), of("report"), of("ingest"));
    let operator = token(&["--operator", "ann"]);
    let list = bench.ok(&["tenant", "list", "--data", "demo", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let agency =
        list.as_array().expect("a list").iter().find(|one| one["tenant"] == "agency").expect("there");
    let end: jiff::Timestamp = agency["latest"].as_str().expect("a time").parse().expect("a time");
    let end = end.as_millisecond().to_string();
    let (_serving, address) = serve(&bench.path("demo"));
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/ui/check");
    let ran = Command::new("node")
        .arg(check.join("views.mjs"))
        .arg(&packages)
        .args([CHROMIUM, &address, &viewer, &report, &ingest, &operator, &end])
        .args(std::env::var("ANNALS_PAGE_SHOTS"))
        .output()
        .expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
}
