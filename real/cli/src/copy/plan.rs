//! What one copy is going to do, decided before anything is written.

use super::block::Geometry;
use super::direct::Direct;
use crate::args::{CopyOptions, MethodOption};
use handfast::WorkerLimits;

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Number of copiers.
    pub copiers: u32,
    /// Blocks in flight for each.
    pub queue_depth: u32,
    /// Blocks of the file.
    pub geometry: Geometry,
    /// Bytes of a frame of the pool; at least a block.
    pub frame_size: u32,
    /// How many workers there are, if workers carry out the IO.
    pub workers: Option<WorkerLimits>,
    /// Attachments to the pool: the copiers, the workers and a successor of a dead one, and the
    /// coordinator if it has something to sync.
    pub slots: u32,
}

impl Plan {
    /// Makes the plan for a SRC of `size` bytes; `None` if it has to be read to find out.
    ///
    /// Without a size nobody knows where a block begins before the ones in front of it were read,
    /// so one copier reads block after block.
    pub fn new(options: &CopyOptions, size: Option<u64>, direct: Option<Direct>) -> Self {
        let (copiers, queue_depth) = match size {
            Some(_) => (options.processes, options.queue_depth),
            None => (1, 1),
        };
        let frame_unit = direct.map_or(512, |direct| direct.frame_unit);
        let mut plan = Self {
            copiers,
            queue_depth,
            geometry: Geometry {
                block_size: options.block_size,
                unit: direct.map_or(1, |direct| direct.unit),
                size,
            },
            frame_size: options.block_size.next_multiple_of(frame_unit),
            workers: None,
            slots: copiers + u32::from(options.fsync),
        };
        if options.method == MethodOption::Worker {
            plan.add_workers(options.worker_limits());
        }
        plan
    }

    /// Plans for workers, and for a successor of one that dies.
    pub fn add_workers(&mut self, workers: WorkerLimits) {
        self.workers = Some(workers);
        self.slots += workers.most() + 1;
    }

    /// Frames of the pool: each copier's depth.
    pub fn frames(&self) -> u32 {
        self.copiers * self.queue_depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn options(arguments: &[&str]) -> CopyOptions {
        let all = ["handfast", "copy", "a", "b"].iter().chain(arguments);
        match Cli::parse_from(all).command {
            Command::Copy(options) => options,
            other @ (Command::Doctor
            | Command::Worker(_)
            | Command::Copier(_)
            | Command::OneWorker(_)
            | Command::DoctorPeer(_)) => {
                unreachable!("{other:?}")
            }
        }
    }

    fn plan(arguments: &[&str], size: Option<u64>, direct: Option<Direct>) -> Plan {
        Plan::new(&options(arguments), size, direct)
    }

    #[test]
    fn workers_have_slots_and_only_where_they_work() {
        let options = |method| options(&["-p", "2", "--workers", "1:4", "--method", method]);
        let plan = |method| Plan::new(&options(method), Some(1), None);
        assert_eq!((plan("worker").slots, plan("io_uring").slots), (7, 2));
        assert_eq!(plan("worker").workers, options("auto").workers);
        let mut auto = plan("auto");
        assert_eq!((auto.workers, auto.slots), (None, 2));
        auto.add_workers(options("auto").worker_limits());
        assert_eq!(auto, plan("worker"));
    }

    #[test]
    fn every_block_in_flight_has_a_frame() {
        let plan = plan(&["-p", "8", "-d", "64", "-b", "1M"], Some(1 << 30), None);
        assert_eq!((plan.frames(), plan.frame_size, plan.slots), (512, 1 << 20, 8));
    }

    #[test]
    fn a_source_without_size_is_copied_by_one() {
        let plan = plan(&["-p", "8", "--fsync"], None, None);
        assert_eq!((plan.copiers, plan.queue_depth, plan.slots), (1, 1, 2));
    }

    #[test]
    fn direct_frames_keep_the_alignment_of_memory() {
        let direct = Direct { unit: 512, frame_unit: 4096 };
        let plan = plan(&["-b", "512"], Some(1), Some(direct));
        assert_eq!((plan.frame_size, plan.geometry.unit), (4096, 512));
    }
}
