//! IO in flight is stored beside its process and outlives the scope it was started in.
use handfast::{AlignedBuf, File, Pending, Pool, Process};

struct Copier<'pool> {
    me: Process<'pool>,
    file: File<'pool>,
    reads: Vec<Pending<'pool, AlignedBuf>>,
}

impl<'pool> Copier<'pool> {
    fn start(&mut self, offset: u64) {
        let buffer = AlignedBuf::new(512, 512).unwrap();
        let mut scope = self.me.scope();
        let pending = scope.acquire().unwrap().read(&self.file, buffer, offset).unwrap();
        self.reads.push(pending);
        scope.commit().unwrap();
    }

    fn finish(&mut self) -> Vec<u32> {
        let mut scope = self.me.scope();
        let reads = self.reads.drain(..);
        reads.map(|read| scope.finish(read).unwrap().outcome.bytes().unwrap()).collect()
    }
}

fn main() {
    let pool = Pool::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let file = me.file(zero, "/dev/zero").unwrap();
    let mut copier = Copier { me, file, reads: Vec::new() };
    copier.start(0);
    copier.start(512);
    assert_eq!(copier.finish(), [512, 512]);
}
