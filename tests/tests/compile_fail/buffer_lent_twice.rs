//! A buffer is lent to one IO at a time (S24).
use handfast::Pool;

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = me.file(std::fs::File::open("data").unwrap(), "data").unwrap();
    let frame = me.frame().unwrap();
    let mut scope = me.scope();
    let one = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
    let two = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
    drop((one, two));
}
