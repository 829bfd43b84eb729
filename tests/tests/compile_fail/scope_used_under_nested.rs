//! A scope rests while one inside of it is open (B16).
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut outer = me.scope();
    let inner = outer.scope();
    drop(outer.acquire());
    inner.commit().unwrap();
}
