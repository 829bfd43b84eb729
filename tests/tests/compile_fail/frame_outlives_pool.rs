//! A frame does not outlive the segment that it lies in.
use handfast::Pool;

fn main() {
    let frame = {
        let pool = Pool::builder().create().unwrap();
        let frame = pool.attach().unwrap().frame().unwrap();
        frame
    };
    drop(frame);
}
