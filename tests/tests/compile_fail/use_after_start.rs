//! A handle is gone once its IO has started (R15, B24).
use handfast::{AlignedBuf, Pool};

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    let pending = handle.read(&file, AlignedBuf::new(512, 512).unwrap(), 0).unwrap();
    handle.release();
    drop(pending);
}
