//! An IO does not outlive the memory it is known by.
use handfast::{AlignedBuf, Pool};

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let buffer = AlignedBuf::new(512, 512).unwrap();
    let pending = me.scope().acquire().unwrap().read(&file, buffer, 0).unwrap();
    drop((me, file));
    drop(pool);
    drop(pending);
}
