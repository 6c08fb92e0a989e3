//! Monte Carlo, n steps and eligibility traces: methods whose targets reach over many steps, for action values (control) and
//! for state values under a given policy (prediction).

use crate::behaviour::{Behaviour, Policy};
use crate::config::{Trace, Visit};
use crate::one_step::{Iteration, Totals};
use crate::tables::Tables;
use crate::world::{Lane, NONE, Transition, World};
use rederive_env::End;
use rederive_math::{returns, td};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Which method, with what it needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    /// `n` rewards and a bootstrap.
    Steps(usize),
    /// All errors, by eligibility.
    Traces { decay: f32, trace: Trace },
    /// Whole episodes, or pieces of so many steps.
    Episode { visit: Visit, longest: usize },
}

/// An eligibility below this is dropped: what it would still move is lost in the rounding of the table.
const FAINT: f32 = 1e-7;

/// What one environment remembers of its running episode.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Entries with the rewards that followed, oldest first.
    steps: VecDeque<(u32, f32)>,
    /// Entries with their eligibility, in the order of their first visit.
    traces: Vec<(u32, f32)>,
}

/// Room that lives longer than a step, and holds nothing between two of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// The number of the last piece of an episode in which each entry was met.
    met: Vec<u32>,
    piece: u32,
    returns: Vec<f32>,
}

impl Memory {
    /// Whether everything in it lies in a table with so many entries.
    pub fn fits(&self, entries: usize) -> bool {
        let steps = self.steps.iter().map(|(entry, _)| entry);
        steps.chain(self.traces.iter().map(|(entry, _)| entry)).all(|&entry| (entry as usize) < entries)
    }
}

/// Takes `rounds` steps in every environment and learns from them.
///
/// A table as wide as there are actions holds their values; one of width 1 those of states, which any action shares.
#[allow(clippy::too_many_arguments)]
pub(crate) fn learn<W: World>(
    world: &mut W,
    tables: &mut Tables,
    lanes: &mut [Lane],
    memories: &mut [Memory],
    room: &mut Room,
    policy: &Policy<'_>,
    reach: Reach,
    iteration: &mut Iteration<'_>,
    spare: &mut [f32],
) {
    let width = tables.width;
    let slot = |action: u32| if width == 1 { 0 } else { action as usize };
    let gamma = iteration.gamma;
    let mut step = iteration.steps_before;
    for _ in 0..iteration.rounds {
        for (n, lane) in lanes.iter_mut().enumerate() {
            let row = world.row(n);
            lane.row = row as u32;
            lane.action = match lane.pending {
                NONE => {
                    let (values, visits) = (tables.row(row), tables.visits(row));
                    policy.act(row, values, visits, &mut lane.explore, spare) as u32
                }
                chosen => chosen,
            };
        }
        world.step(lanes);
        // Monte Carlo wants no next action; the others bootstrap from the one that is taken next.
        if !matches!(reach, Reach::Episode { .. }) {
            for lane in lanes.iter_mut() {
                let Transition { end, next, .. } = lane.transition;
                let row = next as usize;
                lane.pending = if end.terminated() {
                    NONE
                } else {
                    let (values, visits) = (tables.row(row), tables.visits(row));
                    policy.act(row, values, visits, &mut lane.explore, spare) as u32
                };
            }
        }
        for (n, lane) in lanes.iter_mut().enumerate() {
            let Transition { reward, end, next } = lane.transition;
            let entry = lane.row as usize * width + slot(lane.action);
            let memory = &mut memories[n];
            let totals = &mut iteration.totals;
            match reach {
                Reach::Episode { visit, longest } => {
                    memory.steps.push_back((entry as u32, reward));
                    let cut = memory.steps.len() >= longest;
                    if end.done() || cut {
                        let end = if end.done() { end } else { End::Truncated };
                        let next = next as usize;
                        let value = match end {
                            End::Truncated if width == 1 => tables.q[next],
                            End::Truncated => {
                                let (values, spare) = (tables.row(next), &mut spare[..width]);
                                policy.probabilities(next, values, tables.visits(next), spare);
                                td::expected_sarsa_target(0.0, false, values, spare, 1.0)
                            }
                            _ => 0.0,
                        };
                        whole(tables, memory, room, visit, end, value, gamma, totals);
                    }
                }
                _ => {
                    let taken = lane.pending;
                    let value =
                        if taken == NONE { 0.0 } else { tables.q[next as usize * width + slot(taken)] };
                    match reach {
                        Reach::Steps(steps) => {
                            memory.steps.push_back((entry as u32, reward));
                            window(tables, memory, steps, end, value, gamma, totals);
                        }
                        Reach::Traces { decay, trace } => {
                            let target = td::sarsa_target(reward, end.terminated(), value, gamma);
                            spread(tables, memory, entry, target, trace, gamma * decay, totals);
                        }
                        Reach::Episode { .. } => unreachable!("handled above"),
                    }
                    if end.done() {
                        memory.traces.clear();
                        lane.pending = NONE;
                    }
                }
            }
            step += 1;
            iteration.episodes.record(n, reward, end.done(), step);
        }
    }
}

/// Updates the oldest entry once `n` rewards follow it, and all that are left at the end of the episode (`td.nstep`).
fn window(
    tables: &mut Tables,
    memory: &mut Memory,
    n: usize,
    end: End,
    value: f32,
    gamma: f32,
    totals: &mut Totals,
) {
    while memory.steps.len() >= n || (end.done() && !memory.steps.is_empty()) {
        let last = memory.steps.len() - 1;
        let mut target = value;
        for (i, &(_, reward)) in memory.steps.iter().enumerate().rev() {
            let end = if i == last { end } else { End::No };
            target = returns::return_step(reward, target, value, end, gamma);
        }
        let (entry, _) = memory.steps.pop_front().expect("not empty");
        totals.add(tables.update(entry as usize, target));
    }
}

/// Gives the error of one step to every entry by its eligibility, and lets that decay.
///
/// Accumulating traces add up the visits; replacing ones start again from 1 (S. Singh, R. S. Sutton, 1996, Reinforcement
/// Learning with Replacing Eligibility Traces).
fn spread(
    tables: &mut Tables,
    memory: &mut Memory,
    entry: usize,
    target: f32,
    trace: Trace,
    decay: f32,
    totals: &mut Totals,
) {
    let visits = &mut tables.visits[entry];
    *visits = visits.saturating_add(1);
    let delta = target - tables.q[entry];
    totals.add(delta);
    match memory.traces.iter_mut().find(|(other, _)| *other as usize == entry) {
        Some((_, eligibility)) => {
            *eligibility = match trace {
                Trace::Accumulating => *eligibility + 1.0,
                Trace::Replacing => 1.0,
            }
        }
        None => memory.traces.push((entry as u32, 1.0)),
    }
    let Tables { q, visits, steps, .. } = tables;
    memory.traces.retain_mut(|(entry, eligibility)| {
        let entry = *entry as usize;
        q[entry] += steps.at(visits[entry]) * *eligibility * delta;
        *eligibility *= decay;
        *eligibility > FAINT
    });
}

/// Updates the entries of a finished piece of an episode with the returns that followed them (`mc.first-visit`).
#[allow(clippy::too_many_arguments)]
fn whole(
    tables: &mut Tables,
    memory: &mut Memory,
    room: &mut Room,
    visit: Visit,
    end: End,
    value: f32,
    gamma: f32,
    totals: &mut Totals,
) {
    room.returns.clear();
    room.returns.resize(memory.steps.len(), 0.0);
    let mut after = value;
    let mut end = end;
    for (return_, &(_, reward)) in room.returns.iter_mut().zip(&memory.steps).rev() {
        after = returns::return_step(reward, after, value, end, gamma);
        (*return_, end) = (after, End::No);
    }
    room.met.resize(tables.q.len(), 0);
    if room.piece == u32::MAX {
        room.met.fill(0);
        room.piece = 0;
    }
    room.piece += 1;
    for (&(entry, _), &return_) in memory.steps.iter().zip(&room.returns) {
        let met = &mut room.met[entry as usize];
        if visit == Visit::Every || *met != room.piece {
            *met = room.piece;
            totals.add(tables.update(entry as usize, return_));
        }
    }
    memory.steps.clear();
}
