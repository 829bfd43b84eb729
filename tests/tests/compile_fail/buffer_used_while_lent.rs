//! A buffer is not looked at while the kernel may write it (S24).
use handfast::{AlignedBuf, Pool};

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let buffer = AlignedBuf::new(512, 512).unwrap();
    let pending = me.scope().acquire().unwrap().read(&file, buffer, 0).unwrap();
    let first = [buffer][0][0];
    drop((pending, first));
}
