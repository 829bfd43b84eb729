//! One handle at a time (S22).
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let mut scope = me.scope();
    let one = scope.acquire().unwrap();
    let two = scope.acquire().unwrap();
    drop((one, two));
}
