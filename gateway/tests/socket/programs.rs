//! Programs that others wrote, run beside a gateway and ended with their test. One that is not installed is skipped, in
//! plain sight; `checks/senders.sh` installs them all.

use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Bench, Reply, connect, read_reply, request};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(90);

/// Says that a program was not run, around the capture of output.
pub(crate) fn skip(what: &str) {
    let _ = writeln!(stderr(), "SKIPPED {what}; checks/senders.sh installs it");
}

/// A running program with a web server, in a folder of its own.
pub(crate) struct Running {
    child: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, so far as can be told.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

impl Running {
    /// Starts a program with the arguments that a folder and a port give; `None` where it is not installed.
    pub(crate) fn start(program: &str, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Option<Running> {
        let (folder, port) = (tempfile::tempdir().expect("a directory"), free_port());
        let log = File::create(folder.path().join("log")).expect("a file");
        let errors = log.try_clone().expect("a file");
        let mut command = Command::new(program);
        command.args(arguments(folder.path(), port)).stdout(Stdio::from(log)).stderr(Stdio::from(errors));
        let Ok(child) = command.spawn() else {
            skip(program);
            return None;
        };
        let running = Running { child, folder, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        running.until("it listens", || TcpStream::connect(running.address).ok());
        Some(running)
    }

    /// A Prometheus that is configured so; `None` where there is none.
    pub(crate) fn prometheus(config: &str) -> Option<Running> {
        let running = Running::start("prometheus", |folder, port| {
            vec![
                format!("--config.file={}", scraping(folder, port, config).display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--enable-feature=exemplar-storage,native-histograms".to_owned(),
            ]
        })?;
        running.until("it is ready", || (running.get("/-/ready").status == 200).then_some(()));
        Some(running)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        let mut stream = connect(self.address);
        stream.write_all(&request("GET", target, &[], b"")).expect("sent");
        read_reply(&mut stream).expect("a reply")
    }

    /// The sum of a metric over its labels, as the program tells it of itself; 0 where it has none of the kind.
    pub(crate) fn own_metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.contains(label) && !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        values.sum()
    }

    /// Waits until there is what is asked for.
    pub(crate) fn until<T>(&self, what: &str, ask: impl Fn() -> Option<T>) -> T {
        let asked = Instant::now();
        loop {
            if let Some(found) = ask() {
                return found;
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(asked.elapsed() < PATIENCE, "it does not come that {what}: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a gateway's answer to a query has a series.
    pub(crate) fn until_told(&self, bench: &Bench, query: &str) -> Value {
        self.until(query, || bench.ask(query))
    }
}

/// A file of a configuration that has the program at `port` scrape itself every second.
pub(crate) fn scraping(folder: &Path, port: u16, more: &str) -> PathBuf {
    let path = folder.join("config.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: self\n  static_configs:\n  - targets: ['127.0.0.1:{port}']\n{more}"
    );
    fs::write(&path, text).expect("written");
    path
}

/// Runs a script with an interpreter and what it is to be told; `None` where interpreter or packages are not there.
pub(crate) fn script(interpreter: &str, file: &str, arguments: &[&str]) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file);
    let ran = Command::new(interpreter).arg(path).args(arguments).output();
    let Ok(ran) = ran else {
        skip(interpreter);
        return None;
    };
    let errors = String::from_utf8_lossy(&ran.stderr);
    if ["ModuleNotFoundError", "MODULE_NOT_FOUND"].iter().any(|missing| errors.contains(missing)) {
        skip(&format!("{file}: its packages"));
        return None;
    }
    assert!(ran.status.success(), "{file}: {errors}");
    Some(String::from_utf8(ran.stdout).expect("text"))
}
