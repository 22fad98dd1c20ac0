//! Sessions: `repl` and `watch` at a terminal and through a pipe, `doctor`, completions and manual pages.

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{Bench, access_log, disk_is_nearly_full};

fn imported() -> Bench {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..180));
    bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    bench
}

/// The command at a terminal of 80 columns.
struct Terminal {
    input: std::sync::Arc<pty_process::blocking::Pty>,
    output: Receiver<String>,
    child: std::process::Child,
    seen: String,
}

impl Terminal {
    fn start(bench: &Bench, args: &[&str]) -> Terminal {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal");
        pty.resize(pty_process::Size::new(24, 80)).expect("it has a size");
        let child = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(args)
            .current_dir(bench.path(""))
            .env("XDG_STATE_HOME", bench.path("state"))
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .env_remove("ANNALS_DATA")
            .spawn(pts)
            .expect("it runs");
        let input = std::sync::Arc::new(pty);
        let (sender, output) = channel();
        let reader = input.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = (&*reader).read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if count == 0 || sender.send(text).is_err() {
                    break;
                }
            }
        });
        Terminal { input, output, child, seen: String::new() }
    }

    fn write(&mut self, text: &str) {
        (&*self.input).write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until a text was shown since the last that was waited for; what was shown up to its end.
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(Duration::from_secs(60)) {
                Ok(more) => self.seen.push_str(&more),
                Err(_) => panic!("no {text:?} in {:?}", self.seen),
            }
        }
    }

    /// Waits for its end, typing what ends it until then: between two lines a terminal may take a control character for itself.
    fn end(mut self, by: &str) -> i32 {
        for _ in 0..60 {
            // It may have gone already.
            let _ = (&*self.input).write_all(by.as_bytes());
            for _ in 0..50 {
                if let Some(status) = self.child.try_wait().expect("it is a child") {
                    return status.code().expect("it ends by itself");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("it does not end; shown: {:?}", self.seen);
    }
}

#[test]
fn a_session_at_a_terminal_completes_asks_and_remembers() {
    let bench = imported();
    let mut shell = Terminal::start(&bench, &["repl"]);
    shell.until("acme> ");
    // A metric, a label and a value are completed.
    shell.write("sum(increase(http_req\t");
    shell.until("http_requests");
    shell.write("{stat\t");
    shell.until("status");
    shell.write("=\"40\t");
    shell.until("404");
    // What is not finished goes on in the next line.
    shell.write("\"}[1h])\r");
    shell.write(")\r");
    shell.until("try --at 2015-05-17T11:00:00Z");
    shell.until("acme> ");
    shell.write(".at 2015-05-17T11:00:00Z\r");
    shell.until("acme> ");
    shell.write("sum(increase(http_requests{status=\"404\"}[1h]))\r");
    let answer = shell.until(" 18\r\n");
    assert!(answer.contains("value"), "{answer}");
    shell.until("acme> ");
    // An error is shown with its place, and the session goes on.
    shell.write("sum)up(\r");
    shell.until("error: ");
    shell.until("^");
    shell.until("acme> ");
    shell.write(".mdoe chart\r");
    shell.until("did you mean `.mode`?");
    shell.until("acme> ");
    // Ctrl-C gives up a line, Ctrl-D ends.
    shell.write("sum(\u{3}");
    shell.until("acme> ");
    assert_eq!(shell.end("\u{4}"), 0);
    let mut again = Terminal::start(&bench, &["repl"]);
    again.until("acme> ");
    again.write("\u{1b}[A\u{1b}[A\u{1b}[A");
    again.until("404");
    again.write("\u{3}");
    again.until("acme> ");
    assert_eq!(again.end(".quit\r"), 0);
    let history = bench.path("state/annals/history");
    assert_eq!(std::fs::metadata(history).expect("it is kept").permissions().mode() & 0o077, 0);
}

#[test]
fn a_script_of_commands_and_questions_runs_through_a_pipe() {
    let bench = imported();
    let ran = bench.run_with(
        &["repl", "-o", "csv"],
        ".at 2015-05-17T11:00:00Z\nsum(\n  increase(http_requests[1h])\n)\n.last 30m 10m; sum(increase(http_requests[10m]))\n",
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.matches(",180\n").count(), 1, "{}", ran.out);
    assert_eq!(ran.out.matches(",30\n").count(), 4, "{}", ran.out);
    let ran = bench.run_with(&["repl"], ".metrics http_req\n.labels status\n.tenant\n.help\n.mode chrat\n");
    assert_eq!(ran.code, 2);
    assert!(
        ran.out.contains("http_requests\n") && ran.out.contains("404") && ran.out.contains(".explain"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("did you mean `chart`?"), "{}", ran.err);
}

#[test]
fn watch_draws_again_what_was_written_meanwhile() {
    let bench = imported();
    let mut watch = Terminal::start(
        &bench,
        &["watch", "count({__name__=~\".+\"}) or vector(7)", "--every", "100ms", "--frames", "2"],
    );
    let first = watch.until("└");
    assert!(first.contains("acme") && first.contains("\u{1b}[H\u{1b}[J"), "{first:?}");
    watch.until("\u{1b}[H\u{1b}[J");
    watch.until("└");
    assert_eq!(watch.end(""), 0);
    let piped = bench.ok(&["watch", "vector(1)", "--frames", "1"]);
    assert!(piped.contains("└") && !piped.contains('\u{1b}'), "{piped}");
    assert_eq!(bench.run(&["watch", "sum(", "--frames", "1"]).code, 1);
}

#[test]
fn no_terminal_and_a_narrow_one_are_served() {
    let bench = imported();
    let mut narrow = Terminal::start(&bench, &["query", "http_requests", "--at", "2015-05-17T11:00:00Z"]);
    narrow.input.resize(pty_process::Size::new(24, 40)).expect("it has a size");
    narrow.until("404");
    assert_eq!(narrow.end(""), 0);
}

#[test]
fn an_import_tells_a_terminal_its_rate_and_what_it_came_to() {
    let bench = Bench::with_tenant("archive");
    let log = bench.path("a log of a long name that a terminal has no room for.log");
    assert!(std::process::Command::new("mkfifo").arg(&log).status().expect("it runs").success());
    let name = log.file_name().and_then(std::ffi::OsStr::to_str).expect("text");
    let import = ["import", "--tenant", "acme", "--site", "www", "--format", "apache", name];
    let mut terminal = Terminal::start(&bench, &import);
    let (stop, stopped) = channel::<()>();
    let feeding = std::thread::spawn(move || {
        let mut pipe = std::fs::File::options().write(true).open(log).expect("somebody reads");
        let lines = access_log(0..2_000);
        while stopped.try_recv().is_err() {
            pipe.write_all(lines.as_bytes()).expect("it reads");
        }
    });
    terminal.until("a log of a long");
    terminal.until(" lines/s");
    stop.send(()).expect("it feeds");
    feeding.join().expect("it ends");
    terminal.until("accepted ");
    assert_eq!(terminal.end(""), 0);
}

#[test]
fn a_store_that_is_well_is_told_so_and_what_is_odd_sets_the_exit_code() {
    if disk_is_nearly_full() {
        return;
    }
    let bench = imported();
    bench.ok(&["compact"]);
    let well = bench.run(&["doctor"]);
    assert_eq!(well.code, 0, "{}{}", well.out, well.err);
    assert!(well.out.contains("nothing is odd") && well.out.contains("1 tenant in "), "{}", well.out);
    assert_eq!(bench.ok(&["doctor", "-o", "json"]), "[]\n");

    let keys = bench.store().join("keys");
    let key = std::fs::read_dir(&keys).expect("keys").next().expect("one").expect("readable").path();
    for (path, mode) in [(&keys, 0o755), (&key, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    }
    std::fs::remove_file(bench.store().join("RESERVE")).expect("removed");
    let ran = bench.run(&["doctor"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("can read keys") && ran.out.contains("chmod -R go-rwx"), "{}", ran.out);
    assert!(ran.out.contains("kept back") && ran.out.contains("2 things are odd"), "{}", ran.out);
    assert_eq!(bench.run(&["doctor", "--data", "nowhere"]).code, 1);
}

#[test]
fn shells_take_the_completions_and_man_the_pages() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bench.ok(&["completions", shell]);
        assert!(script.contains("signals") && script.contains("doctor"), "{shell}");
    }
    bench.file("annals.bash", bench.ok(&["completions", "bash"]));
    // What bash makes of a word that was begun.
    let ask = "source annals.bash; COMP_WORDS=(annals sig); COMP_CWORD=1; _annals annals sig annals; echo ${COMPREPLY[@]}";
    let answer = std::process::Command::new("bash").args(["-c", ask]).current_dir(bench.path("")).output();
    assert_eq!(String::from_utf8(answer.expect("bash runs").stdout).expect("text"), "signals\n");
    assert!(bench.run(&["completions", "tcsh"]).err.contains("possible values"));

    let page = bench.ok(&["man"]);
    assert!(page.contains(".TH annals 1") && page.contains("signals"), "{}", &page[..200]);
    bench.ok(&["man", "pages"]);
    let pages = std::fs::read_dir(bench.path("pages")).expect("made").count();
    assert!(pages > 20, "{pages}");
    let query = std::fs::read_to_string(bench.path("pages/annals-query.1")).expect("a page of query");
    assert!(query.contains("PromQL") && query.contains("annals demo"), "{query}");
}
