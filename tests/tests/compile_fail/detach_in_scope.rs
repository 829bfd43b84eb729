//! A process does not detach while a scope of it is open (R1).
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let scope = me.scope();
    me.detach().unwrap();
    scope.commit().unwrap();
}
