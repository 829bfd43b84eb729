//! A memory file system that is full: a typed error when the pool is made, instead of SIGBUS later.
//!
//! The small file system is mounted in a mount namespace of a child, which is this program again.

mod common;

use handfast::CreateError;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Tells the child where the small file system is.
const WHERE: &str = "HANDFAST_TEST_FULL";
/// The child could not be given a file system of its own.
const NO_NAMESPACE: i32 = 77;

#[test]
fn a_full_file_system_is_a_typed_error_and_leaves_no_file() {
    if let Some(directory) = std::env::var_os(WHERE) {
        return in_the_small_file_system(directory.as_ref());
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_full_file_system_is_a_typed_error_and_leaves_no_file"]);
    child.arg("--nocapture").env(WHERE, directory.path());
    let path = std::ffi::CString::new(directory.path().to_str().unwrap()).unwrap();
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let maps = [ids.0, ids.1].map(|id| format!("{id} {id} 1"));
    // SAFETY: between fork and exec the closure makes system calls only; everything that needs
    // memory was made before.
    unsafe { child.pre_exec(move || mount_small(&path, &maps)) };
    match child.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{text}{errors}");
            assert!(text.contains("1 passed"), "{text}");
        }
        Err(error) if error.raw_os_error() == Some(NO_NAMESPACE) => {
            eprintln!("SKIPPED: this user may not mount a file system in a namespace of its own");
        }
        Err(error) => panic!("{error}"),
    }
}

/// In the child before its exec: 256 KiB of tmpfs on the directory, for nobody else to see.
fn mount_small(path: &std::ffi::CStr, maps: &[String; 2]) -> io::Result<()> {
    let refused = |()| io::Error::from_raw_os_error(NO_NAMESPACE);
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(()) };
    let namespaces = if rustix::process::geteuid().is_root() {
        libc::CLONE_NEWNS
    } else {
        libc::CLONE_NEWNS | libc::CLONE_NEWUSER
    };
    // SAFETY: the call takes a number.
    done(unsafe { libc::unshare(namespaces) }).map_err(refused)?;
    if namespaces & libc::CLONE_NEWUSER != 0 {
        let files = [
            (c"/proc/self/setgroups", "deny"),
            (c"/proc/self/uid_map", &maps[0]),
            (c"/proc/self/gid_map", &maps[1]),
        ];
        for (file, text) in files {
            put(file, text).map_err(refused)?;
        }
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let (none, nothing) = (c"none".as_ptr(), std::ptr::null());
    // SAFETY: the strings end in zero and outlive the call; null stands for no options.
    let made = unsafe { libc::mount(none, c"/".as_ptr(), none, private, nothing) };
    done(made).map_err(refused)?;
    let (kind, options) = (c"tmpfs".as_ptr(), c"size=256k,mode=0777".as_ptr().cast());
    // SAFETY: as above.
    let made = unsafe { libc::mount(kind, path.as_ptr(), kind, libc::MS_NOSUID, options) };
    done(made).map_err(refused)
}

fn put(file: &std::ffi::CStr, text: &str) -> Result<(), ()> {
    // SAFETY: the string ends in zero and outlives the call.
    let fd = unsafe { libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    // SAFETY: the text is as long as is said; a bad descriptor is an error.
    let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    // SAFETY: the descriptor is this function's own, or bad, which is an error.
    unsafe { libc::close(fd) };
    if usize::try_from(written) == Ok(text.len()) { Ok(()) } else { Err(()) }
}

fn in_the_small_file_system(directory: &Path) {
    let path = directory.join("pool");
    let small = || handfast_tests::builder().processes(1).frames(8).frame_size(4096).max_files(4);
    let large = small().frames(1024).create_named(&path).unwrap_err();
    let CreateError::Segment { source, bytes } = &large else { panic!("{large}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(*bytes > 4 << 20 && large.to_string().contains("make room"), "{large}");
    assert!(!path.exists(), "nothing is left behind");
    let pool = small().create_named(&path).unwrap();
    assert!(pool.attach().unwrap().frame().is_some(), "and there is room for a small one");
}
