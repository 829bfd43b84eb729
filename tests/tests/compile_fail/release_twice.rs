//! A handle is released once (R15).
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let handle = scope.acquire().unwrap();
    drop(handle);
    drop(handle);
}
