//! A whole pool, as small as can be: this program reads the beginning of itself through it, with
//! method sync.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use handfast::{Method, Pool, Registry};

use super::finding::Finding;
use crate::system::SELF;

const BYTES: u32 = 4096;

/// Reads through a pool, and compares.
pub fn sync_read() -> Finding {
    const NAME: &str = "method sync";
    match read_myself() {
        Ok(true) => {
            Finding::yes(NAME, format!("read {BYTES} bytes of this program through a pool"))
        }
        Ok(false) => {
            Finding::no(NAME, "a read through a pool brought other bytes than the file has")
        }
        Err(error) => {
            Finding::failed(NAME, error.as_ref(), "see the lines above for what is missing")
        }
    }
}

fn read_myself() -> Result<bool, Box<dyn Error>> {
    let path = Path::new(SELF);
    let mut expected = vec![0; BYTES as usize];
    File::open(path)?.read_exact_at(&mut expected, 0)?;

    let pool = Pool::builder()
        .registry(Registry::new())
        .processes(1)
        .handles_per_process(1)
        .frames(1)
        .frame_size(BYTES)
        .method(Method::Sync)
        .create()?;
    let mut process = pool.attach()?;
    let file = process.open(path, OpenOptions::new().read(true))?;
    let frame = process.frame().ok_or("the pool has no frame")?;
    let mut scope = process.scope();
    let pending = scope.acquire()?.read(&file, frame, 0).map_err(|refused| refused.to_string())?;
    let finished = scope.finish(pending).map_err(|error| error.to_string())?;
    let mut found = vec![0; finished.outcome.bytes()? as usize];
    finished.memory.copy_to_slice(0, &mut found)?;
    Ok(found == expected)
}
