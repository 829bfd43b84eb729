//! Nothing is added to an IO that has started (R7, S4).
use handfast::{AlignedBuf, CallbackId, Pool};

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let pending = handle.read(&file, AlignedBuf::new(512, 512).unwrap(), 0).unwrap();
    handle.register_callback(CallbackId::new(1).unwrap(), 0).unwrap();
    drop(pending);
}
