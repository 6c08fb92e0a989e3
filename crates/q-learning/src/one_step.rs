//! Q-learning, double Q-learning, SARSA and expected SARSA: each step is learnt from at once.
//!
//! One loop for all of them, compiled once per rule, policy, world and number of actions, so that a step calls nothing.

use crate::behaviour::Behaviour;
use crate::tables::{self, Tables};
use crate::world::{Lane, NONE, Transition, World};
use rand::RngCore;
use rederive_math::{monte_carlo, td};
use rederive_train::{EpisodeLog, EpisodeStats};

/// What an iteration adds up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Sizes of the errors.
    pub error: f64,
    pub updates: u64,
}

impl Totals {
    #[inline(always)]
    pub fn add(&mut self, delta: f32) {
        self.error += f64::from(delta.abs());
        self.updates += 1;
    }
}

/// What is the same for all steps of an iteration.
pub(crate) struct Iteration<'a> {
    pub gamma: f32,
    pub rounds: usize,
    /// Steps of the run before.
    pub steps_before: u64,
    pub episodes: &'a mut EpisodeLog,
    pub totals: Totals,
}

/// What a rule may look at.
pub(crate) struct Seen<'a, B> {
    pub behaviour: &'a B,
    pub gamma: f32,
    pub transition: Transition,
    /// The next action, for rules that want one.
    pub next_action: u32,
    /// The best next action, where it is known.
    pub best: Option<u32>,
}

/// A rule for one transition.
pub(crate) trait Rule {
    /// Whether it learns from the action that is taken next.
    const ON_POLICY: bool = false;
    /// Whether there are two tables, of which a coin chooses the one that learns.
    const DOUBLE: bool = false;

    /// What the entry should be; `values` are the actions' values in the next state, `other` those of the second table.
    fn target<B: Behaviour>(
        seen: &Seen<'_, B>,
        values: &[f32],
        other: &[f32],
        visits: &[u32],
        spare: &mut [f32],
    ) -> f32;
}

pub(crate) struct Watkins;

impl Rule for Watkins {
    #[inline(always)]
    fn target<B: Behaviour>(seen: &Seen<'_, B>, values: &[f32], _: &[f32], _: &[u32], _: &mut [f32]) -> f32 {
        let Transition { reward, end, .. } = seen.transition;
        match seen.best {
            // The largest of one value is that value.
            Some(best) => td::q_target(reward, end.terminated(), &values[best as usize..][..1], seen.gamma),
            None => td::q_target(reward, end.terminated(), values, seen.gamma),
        }
    }
}

pub(crate) struct Double;

impl Rule for Double {
    const DOUBLE: bool = true;

    #[inline(always)]
    fn target<B: Behaviour>(
        seen: &Seen<'_, B>,
        values: &[f32],
        other: &[f32],
        _: &[u32],
        _: &mut [f32],
    ) -> f32 {
        let Transition { reward, end, .. } = seen.transition;
        td::double_q_target(reward, end.terminated(), values, other, seen.gamma)
    }
}

pub(crate) struct Sarsa;

impl Rule for Sarsa {
    const ON_POLICY: bool = true;

    #[inline(always)]
    fn target<B: Behaviour>(seen: &Seen<'_, B>, values: &[f32], _: &[f32], _: &[u32], _: &mut [f32]) -> f32 {
        let Transition { reward, end, .. } = seen.transition;
        // After a terminal state no action was chosen, and none is needed.
        let taken = if end.terminated() { 0.0 } else { values[seen.next_action as usize] };
        td::sarsa_target(reward, end.terminated(), taken, seen.gamma)
    }
}

pub(crate) struct Expected;

impl Rule for Expected {
    #[inline(always)]
    fn target<B: Behaviour>(
        seen: &Seen<'_, B>,
        values: &[f32],
        _: &[f32],
        visits: &[u32],
        spare: &mut [f32],
    ) -> f32 {
        let Transition { reward, end, next } = seen.transition;
        seen.behaviour.probabilities(next as usize, values, visits, spare);
        td::expected_sarsa_target(reward, end.terminated(), values, spare, seen.gamma)
    }
}

/// Takes `rounds` steps in every environment and learns from each.
///
/// In a round all environments act on the same table; then their transitions are learnt from, one after the other. `A` is
/// the number of actions, or 0 to look it up. `COUNT` says that updates are counted, for step sizes or a policy.
#[inline(always)]
pub(crate) fn learn<W: World, B: Behaviour, R: Rule, const A: usize, const COUNT: bool>(
    world: &mut W,
    tables: &mut Tables,
    lanes: &mut [Lane],
    behaviour: &B,
    iteration: &mut Iteration<'_>,
    spare: &mut [f32],
) {
    let actions = if A == 0 { tables.width } else { A };
    let (spare, sum) = spare[..2 * actions].split_at_mut(actions);
    // A policy that only wants the best action finds it in a list: a step then reads one number where it would compare
    // all, and the list is brought up to date while the next step is under way.
    let listed = B::GREEDY && !R::DOUBLE;
    if listed {
        tables.find_best();
    }
    let Tables { q, second, visits, steps, best, .. } = tables;
    let (q, second, visits, best) = (&mut q[..], &mut second[..], &mut visits[..], &mut best[..]);
    let constant = steps.constant();
    let Iteration { gamma, rounds, steps_before, ref mut episodes, ref mut totals } = *iteration;
    let (mut step, mut error) = (steps_before, 0.0);

    macro_rules! act {
        ($lane:expr, $row:expr) => {{
            if listed {
                behaviour.act_greedily(best[$row], actions, &mut $lane.explore)
            } else {
                let values = &q[$row * actions..][..actions];
                let visits = if COUNT { &visits[$row * actions..][..actions] } else { &[][..] };
                if R::DOUBLE {
                    let other = &second[$row * actions..][..actions];
                    for ((sum, &x), &y) in sum.iter_mut().zip(values).zip(other) {
                        *sum = 0.5 * (x + y);
                    }
                    behaviour.act($row, sum, visits, &mut $lane.explore, spare) as u32
                } else {
                    behaviour.act($row, values, visits, &mut $lane.explore, spare) as u32
                }
            }
        }};
    }

    for (n, lane) in lanes.iter_mut().enumerate() {
        lane.running = episodes.running(n);
    }
    for _ in 0..rounds {
        for (n, lane) in lanes.iter_mut().enumerate() {
            let row = world.row(n);
            lane.row = row as u32;
            lane.action = if R::ON_POLICY && lane.pending != NONE { lane.pending } else { act!(lane, row) };
        }
        world.step(lanes);
        if R::ON_POLICY {
            for lane in lanes.iter_mut() {
                let Transition { end, next, .. } = lane.transition;
                lane.pending = if end.terminated() { NONE } else { act!(lane, next as usize) };
            }
        }
        for lane in lanes.iter_mut() {
            let Transition { reward, end, next } = lane.transition;
            let best_next = if listed { Some(best[next as usize]) } else { None };
            let (transition, next_action) = (lane.transition, lane.pending);
            let seen = Seen { behaviour, gamma, transition, next_action, best: best_next };
            let (row, next) = (lane.row as usize, next as usize * actions);
            let entry = row * actions + lane.action as usize;
            let next_visits = if COUNT { &visits[next..][..actions] } else { &[][..] };
            let swap = R::DOUBLE && lane.explore.next_u64() >> 63 == 1;
            let (target, slot) = if R::DOUBLE {
                let (mine, other) = if swap { (&mut *second, &mut *q) } else { (&mut *q, &mut *second) };
                let (values, other) = (&mine[next..][..actions], &other[next..][..actions]);
                let target = R::target(&seen, values, other, next_visits, spare);
                (target, &mut mine[entry])
            } else {
                let target = R::target(&seen, &q[next..][..actions], &[], next_visits, spare);
                (target, &mut q[entry])
            };
            let alpha = if COUNT {
                visits[entry] = visits[entry].saturating_add(1);
                steps.at(visits[entry])
            } else {
                constant
            };
            error += f64::from(monte_carlo::average_step(slot, target, alpha).abs());
            if listed {
                best[row] = tables::best::<A>(&q[row * actions..][..actions]);
            }
            step += 1;
            let (return_, length) = &mut lane.running;
            *return_ += f64::from(reward);
            *length += 1;
            if end.done() {
                // The action drawn for a truncated state was only for its value.
                lane.pending = NONE;
                episodes.finish(EpisodeStats { step, return_: *return_, length: *length });
                (*return_, *length) = (0.0, 0);
            }
        }
    }
    for (n, lane) in lanes.iter().enumerate() {
        episodes.set_running(n, lane.running);
    }
    totals.error += error;
    totals.updates += step - steps_before;
}
