//! The page as it is built into the program is what its sources make.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

#[test]
fn the_built_page_is_what_its_sources_make() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let skip = |why: &str| {
        // Around the capture of output: what was not checked is seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED the page built anew: {why}");
    };
    for tool in ["node", "npm"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skip(&format!("there is no {tool}"));
        }
    }
    let built = tempfile::tempdir().expect("a directory");
    let ran = Command::new(sources.join("build.sh")).arg(built.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() && said.contains("npm error") {
        return skip("npm could not bring its packages");
    }
    assert!(ran.status.success(), "{said}");
    let names = |directory: &Path| {
        let mut names: Vec<_> =
            directory.read_dir().expect("a directory").map(|file| file.expect("there").file_name()).collect();
        names.sort();
        names
    };
    let kept = sources.join("dist");
    assert_eq!(names(built.path()), names(&kept));
    for name in names(&kept) {
        let is_same = std::fs::read(kept.join(&name)).expect("read")
            == std::fs::read(built.path().join(&name)).expect("read");
        assert!(is_same, "gateway/ui/dist/{} is not what gateway/ui/build.sh makes: run it", name.display());
    }
}
