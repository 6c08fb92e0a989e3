//! Q-learning, double Q-learning, SARSA and expected SARSA: each step is learnt from at once.
//!
//! One loop for all of them, compiled once per rule, policy, world and number of actions, so that a step calls nothing.

use crate::behaviour::Behaviour;
use crate::tables::Tables;
use crate::world::{Transition, World};
use rand::RngCore;
use rederive_env::Stream;
use rederive_math::{monte_carlo, td};
use rederive_train::EpisodeLog;
use serde::{Deserialize, Serialize};

/// In the place of an action that has not been chosen.
pub(crate) const NONE: u32 = u32::MAX;

/// What each environment keeps from step to step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lanes {
    /// Draws the actions.
    pub explore: Vec<Stream>,
    /// The action already chosen for the next step, by methods that learn from it; else [`NONE`].
    pub pending: Vec<u32>,
    #[serde(skip)]
    pub row: Vec<u32>,
    #[serde(skip)]
    pub action: Vec<u32>,
    #[serde(skip)]
    pub transition: Vec<Transition>,
}

impl Lanes {
    pub fn new(num_envs: usize, seed: u64) -> Self {
        let mut lanes = Lanes {
            explore: (0..num_envs).map(|n| Stream::new(seed, "action", n as u64)).collect(),
            pending: vec![NONE; num_envs],
            row: Vec::new(),
            action: Vec::new(),
            transition: Vec::new(),
        };
        lanes.make_room();
        lanes
    }

    /// Restores what is not saved.
    pub fn make_room(&mut self) {
        let num_envs = self.explore.len();
        self.row.resize(num_envs, 0);
        self.action.resize(num_envs, 0);
        self.transition.resize(num_envs, Transition::default());
    }
}

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
        td::q_target(seen.transition.reward, seen.transition.end.terminated(), values, seen.gamma)
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
    lanes: &mut Lanes,
    behaviour: &B,
    iteration: &mut Iteration<'_>,
    spare: &mut [f32],
) {
    let actions = if A == 0 { tables.width } else { A };
    let num_envs = lanes.explore.len();
    let spare = &mut spare[..2 * actions];
    let (spare, sum) = spare.split_at_mut(actions);
    let (explore, pending) = (&mut lanes.explore[..num_envs], &mut lanes.pending[..num_envs]);
    let (row, action) = (&mut lanes.row[..num_envs], &mut lanes.action[..num_envs]);
    let transition = &mut lanes.transition[..num_envs];
    let Tables { q, second, visits, steps, .. } = tables;
    let constant = steps.constant();
    let Iteration { gamma, episodes, totals, .. } = iteration;
    let gamma = *gamma;
    let mut step = iteration.steps_before;

    macro_rules! act {
        ($n:expr, $row:expr) => {{
            let values = &q[$row * actions..][..actions];
            let visits = if COUNT { &visits[$row * actions..][..actions] } else { &[][..] };
            if R::DOUBLE {
                let other = &second[$row * actions..][..actions];
                for ((sum, &x), &y) in sum.iter_mut().zip(values).zip(other) {
                    *sum = 0.5 * (x + y);
                }
                behaviour.act($row, sum, visits, &mut explore[$n], spare) as u32
            } else {
                behaviour.act($row, values, visits, &mut explore[$n], spare) as u32
            }
        }};
    }

    for _ in 0..iteration.rounds {
        for n in 0..num_envs {
            let here = world.row(n);
            row[n] = here as u32;
            action[n] = if R::ON_POLICY && pending[n] != NONE { pending[n] } else { act!(n, here) };
        }
        world.step(action, transition);
        if R::ON_POLICY {
            for n in 0..num_envs {
                let Transition { end, next, .. } = transition[n];
                pending[n] = if end.terminated() { NONE } else { act!(n, next as usize) };
            }
        }
        for n in 0..num_envs {
            let seen = Seen { behaviour, gamma, transition: transition[n], next_action: pending[n] };
            let Transition { reward, end, next } = transition[n];
            let next = next as usize * actions;
            let entry = row[n] as usize * actions + action[n] as usize;
            let next_visits = if COUNT { &visits[next..][..actions] } else { &[][..] };
            let swap = R::DOUBLE && explore[n].next_u64() >> 63 == 1;
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
            totals.add(monte_carlo::average_step(slot, target, alpha));
            if R::ON_POLICY && end.done() {
                // The action drawn for a truncated state was only for its value.
                pending[n] = NONE;
            }
            step += 1;
            episodes.record(n, reward, end.done(), step);
        }
    }
}
