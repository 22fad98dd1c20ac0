//! TLS: a certificate that is configured is spoken with, and another one after a reload.

use std::path::{Path, PathBuf};
use std::process::Command;

use annals_gateway::{ServeError, Tls};

use crate::common::{Bench, config, read_reply, request};

/// Makes a certificate of its own with a common name; `None` where openssl is not installed.
fn certificate(directory: &Path, name: &str) -> Option<Tls> {
    let file = |end: &str| -> PathBuf { directory.join(format!("{name}.{end}")) };
    let tls = Tls { certificate: file("crt"), key: file("key") };
    let subject = format!("/CN={name}");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &subject, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&tls.key)
        .arg("-out")
        .arg(&tls.certificate)
        .output();
    made.is_ok_and(|made| made.status.success()).then_some(tls)
}

/// What curl gets, trusting one certificate alone.
fn curl(bench: &Bench, trusted: &Tls) -> Option<String> {
    let ran = Command::new("curl")
        .args(["--silent", "--show-error", "--cacert"])
        .arg(&trusted.certificate)
        .arg(format!("https://{}/-/healthy", bench.server.address()))
        .output()
        .ok()?;
    ran.status.success().then(|| String::from_utf8(ran.stdout).expect("text"))
}

#[test]
fn a_certificate_is_spoken_with_and_replaced_by_a_reload() {
    let directory = tempfile::tempdir().expect("a directory");
    let both = ["first", "second"].map(|name| certificate(directory.path(), name));
    let ([Some(first), Some(second)], true) = (both, Command::new("curl").arg("--version").output().is_ok())
    else {
        eprintln!("SKIPPED TLS: curl or openssl is missing");
        return;
    };
    let with = |tls: &Tls| {
        let mut config = config();
        config.tls = Some(tls.clone());
        config
    };
    let bench = Bench::with(with(&first));
    assert_eq!(curl(&bench, &first).as_deref(), Some("Annals is healthy.\n"));
    assert_eq!(curl(&bench, &second), None);
    bench.server.reload(with(&second)).expect("it can be used");
    assert_eq!(curl(&bench, &second).as_deref(), Some("Annals is healthy.\n"));
    assert_eq!(curl(&bench, &first), None);
    // One that cannot be used leaves what is there.
    let mixed = Tls { certificate: first.certificate.clone(), key: second.key.clone() };
    assert!(matches!(bench.server.reload(with(&mixed)), Err(ServeError::Certificate { .. })));
    assert_eq!(curl(&bench, &second).as_deref(), Some("Annals is healthy.\n"));
    // Who does not speak TLS gets nothing.
    let mut stream = bench.connect();
    std::io::Write::write_all(&mut stream, &request("GET", "/-/healthy", &[], b"")).expect("sent");
    assert!(read_reply(&mut stream).is_none());
}
