//! A result is fetched once, with its memory (S15).
use handfast::{AlignedBuf, Pool};

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let mut scope = me.scope();
    let buffer = AlignedBuf::new(512, 512).unwrap();
    let pending = scope.acquire().unwrap().read(&file, buffer, 0).unwrap();
    drop(scope.finish(pending));
    drop(scope.finish(pending));
}
