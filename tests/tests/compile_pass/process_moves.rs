//! An attachment moves to another thread, with what it has open.
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let frame = me.frame();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            drop(frame);
            me.detach().unwrap();
        });
    });
}
