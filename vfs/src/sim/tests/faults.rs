//! Which errors there are, and what each leaves behind.

use super::*;

#[test]
fn each_error_has_its_number_and_leaves_its_part_of_a_write_and_of_a_read() {
    for (error, number, part) in [
        (SimError::Io, 5, 4),
        (SimError::NoSpace, 28, 4),
        (SimError::Short, 5, 7),
        (SimError::Interrupted, 4, 0),
        (SimError::TooManyFiles, 24, 0),
        (SimError::Permission, 13, 0),
        (SimError::ReadOnly, 30, 0),
    ] {
        let vfs = disk();
        let file = create(&vfs, "/d/x", b"........");
        vfs.fail(SimFault::once(SimCalls::Of(SimOp::WriteAt), 0, error));
        let failed = file.write_at(b"########", 0);
        assert_eq!(failed.map_err(|error| error.raw_os_error()), Err(Some(number)), "{error:?}");
        let expected: Vec<u8> = (0..8).map(|at| if at < part { b'#' } else { b'.' }).collect();
        assert_eq!(vfs.read_file("/d/x").expect("there"), expected, "{error:?}");

        vfs.fail(SimFault::once(SimCalls::Of(SimOp::ReadAt), 0, error));
        let mut into = [b'?'; 8];
        assert!(file.read_at(&mut into, 0).is_err());
        assert!(into[part..].iter().all(|byte| *byte == b'?'), "{error:?}");
        assert_eq!(into[..part], expected[..part], "{error:?}");

        vfs.fail(SimFault::once(SimCalls::Of(SimOp::Allocate), 0, error));
        assert!(file.allocate(16).is_err());
        assert_eq!(file.len().expect("asked"), 8 + part as u64, "{error:?}");

        vfs.fail(SimFault::once(SimCalls::Of(SimOp::Open), 0, error));
        assert!(vfs.open(p("/d/x")).is_err());
    }
    assert_eq!(SimError::all().len(), 7);
}

#[test]
fn a_sync_that_the_kernel_did_not_try_loses_nothing() {
    for error in SimError::all() {
        let vfs = disk();
        let file = create(&vfs, "/d/x", b"bytes");
        vfs.sync_dir(p("/d")).expect("synced");
        vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, error));
        assert!(file.sync().is_err());
        file.sync().expect("the second one succeeds whatever was lost");
        vfs.power_cut(SimCut::Nothing);
        let kept = vfs.read_file("/d/x").expect("there") == b"bytes";
        let untried = [SimError::Interrupted, SimError::TooManyFiles, SimError::Permission].contains(&error);
        assert_eq!(kept, untried, "{error:?}");
    }
}
