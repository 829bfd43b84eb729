//! Liveness under weak fairness: no fair cycle.
//!
//! Every actor of a scenario ends, so a run that goes on for ever is wrong unless it is unfair: an
//! actor that could take a step all the time never takes one. A strongly connected part of the graph
//! has a fair cycle exactly if each actor that runs in it takes a step in it or is blocked somewhere
//! in it. Deaths are not owed to anybody. The parts are found by Tarjan's algorithm (1972), without
//! recursion.

use super::state::{Graph, Node};

const UNSEEN: u32 = u32::MAX;

/// One part at a time, as the depth-first walk finishes it.
struct Walk<'g> {
    graph: &'g Graph,
    index: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<u32>,
    next: u32,
}

/// A state on a fair cycle, if there is one, and who takes steps on it, a bit for each actor.
pub(crate) fn fair_cycle(graph: &Graph) -> Option<(u32, u16)> {
    let states = graph.states.len();
    let mut walk = Walk {
        graph,
        index: vec![UNSEEN; states],
        low: vec![0; states],
        on_stack: vec![false; states],
        stack: Vec::new(),
        next: 0,
    };
    // Every state was reached from the first one.
    walk.from(0)
}

impl Walk<'_> {
    fn from(&mut self, root: u32) -> Option<(u32, u16)> {
        let mut calls = vec![(root, self.enter(root))];
        while let Some((state, edge)) = calls.last_mut() {
            let state = *state;
            if *edge < self.graph.begins[state as usize + 1] {
                let (to, _) = self.graph.edges[*edge];
                *edge += 1;
                if self.index[to as usize] == UNSEEN {
                    let first = self.enter(to);
                    calls.push((to, first));
                } else if self.on_stack[to as usize] {
                    self.lower(state, self.index[to as usize]);
                }
                continue;
            }
            calls.pop();
            if let Some(&(caller, _)) = calls.last() {
                self.lower(caller, self.low[state as usize]);
            }
            if self.low[state as usize] == self.index[state as usize] {
                let part = self.leave(state);
                if let Some(moving) = self.fair(&part) {
                    return Some((state, moving));
                }
            }
        }
        None
    }

    fn enter(&mut self, state: u32) -> usize {
        let at = state as usize;
        (self.index[at], self.low[at]) = (self.next, self.next);
        self.next += 1;
        self.stack.push(state);
        self.on_stack[at] = true;
        self.graph.begins[at]
    }

    fn lower(&mut self, state: u32, to: u32) {
        let low = &mut self.low[state as usize];
        *low = (*low).min(to);
    }

    /// Takes the part whose first state this is off the stack.
    fn leave(&mut self, first: u32) -> Vec<u32> {
        let mut part = Vec::new();
        while let Some(state) = self.stack.pop() {
            self.on_stack[state as usize] = false;
            // Marks it as belonging to no later part.
            part.push(state);
            if state == first {
                break;
            }
        }
        part.sort_unstable();
        part
    }

    /// Who takes steps in this part, if it is fair.
    fn fair(&self, part: &[u32]) -> Option<u16> {
        let node = |state: u32| -> &Node { &self.graph.states[state as usize] };
        let running = node(*part.first()?).running;
        let (mut blocked, mut moving, mut steps) = (0_u16, 0_u16, false);
        for &state in part {
            blocked |= running & !node(state).enabled;
            let at = state as usize;
            for &(to, who) in &self.graph.edges[self.graph.begins[at]..self.graph.begins[at + 1]] {
                if part.binary_search(&to).is_ok() {
                    steps = true;
                    if who != u8::MAX {
                        moving |= 1 << who;
                    }
                }
            }
        }
        (steps && (blocked | moving) & running == running).then_some(moving)
    }
}
