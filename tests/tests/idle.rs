//! Idleness costs nothing: a process with a ring that has done its IO, and workers without work, use no
//! processor.

use handfast::{Method, MethodChoice};
use handfast_tests::participant::Participant;
use handfast_tests::{Builder, TestPool, callbacks, pause, with_method};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_participant");

/// For how long nothing is done.
const IDLE: Duration = Duration::from_secs(5);
/// More than a few wake-ups that look around and sleep again; a loop would use all of the time.
const AT_MOST: Duration = Duration::from_millis(10);

fn pool(method: Method) -> TestPool {
    let builder: Builder = with_method(method, handfast_tests::builder);
    let builder = builder.processes(4).workers(0).frames(16).frame_size(4096);
    let registry = callbacks::registry(|_| ());
    builder.user_words(callbacks::WORDS).registry(registry).create().unwrap()
}

fn opened(pool: &TestPool) -> Participant {
    let mut process = Participant::start(PROGRAM);
    let segment = pool.as_fd().as_raw_fd();
    process.ask(&format!("pool /proc/{}/fd/{segment}", std::process::id()));
    process
}

/// How much of a processor all threads of a process have used.
fn used(process: &Participant) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    let ns = |path: std::path::PathBuf| -> u64 {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    Duration::from_nanos(tasks.map(|task| ns(task.unwrap().path())).sum())
}

#[test]
fn idle_workers_and_rings_use_no_processor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    std::fs::write(&path, [1; 4096]).unwrap();
    let rings = MethodChoice::here().method == Method::IoUring;
    if !rings {
        println!("SKIPPED: rings, which there are none of here");
    }
    let (workers, ring) = (pool(Method::Worker), rings.then(|| pool(Method::IoUring)));
    let mut idle = vec![("a worker", opened(&workers)), ("a worker", opened(&workers))];
    for (_, worker) in &mut idle {
        assert_eq!(worker.ask("work"), "working");
    }
    let of_workers = Some(("an issuer whose IO workers execute", opened(&workers)));
    let of_rings = ring.as_ref().map(|ring| ("an issuer with a ring", opened(ring)));
    for (name, mut issuer) in of_workers.into_iter().chain(of_rings) {
        issuer.ask("attach");
        issuer.ask(&format!("file {}", path.display()));
        for _ in 0..20 {
            issuer.ask("read 0 count");
            issuer.ask("finish");
            issuer.ask("drop");
        }
        idle.push((name, issuer));
    }
    // Workers close their files after a second.
    pause(Duration::from_millis(1500));
    let before: Vec<_> = idle.iter().map(|(_, process)| used(process)).collect();
    pause(IDLE);
    for ((name, process), before) in idle.iter().zip(before) {
        let more = used(process) - before;
        println!("{name}: {more:?} in {IDLE:?}");
        assert!(more < AT_MOST, "{name} has used {more:?} in {IDLE:?}");
    }
}
