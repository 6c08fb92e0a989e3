//! Where transitions come from: environments that are called, or a finite model that is stepped in the learner's own loop.
//!
//! Both draw from the same streams, so that a run is the same bit for bit whichever is used.

use crate::states::Layout;
use rand::RngCore;
use rederive_env::{Actions, End, FiniteParts, Outcome, Place, Stream, VecEnv};
use serde::{Deserialize, Serialize};

/// What the learner keeps of one environment, from step to step and within one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// Draws the actions.
    pub explore: Stream,
    /// The action already chosen for the next step, by methods that learn from it; else [`NONE`].
    pub pending: u32,
    #[serde(skip)]
    pub row: u32,
    #[serde(skip)]
    pub action: u32,
    #[serde(skip)]
    pub transition: Transition,
    /// Return and length of the running episode, as the log has them between iterations.
    #[serde(skip)]
    pub running: (f64, u64),
}

/// In the place of an action that has not been chosen.
pub(crate) const NONE: u32 = u32::MAX;

impl Lane {
    pub fn new(seed: u64, n: usize) -> Self {
        Lane {
            explore: Stream::new(seed, "action", n as u64),
            pending: NONE,
            row: 0,
            action: 0,
            transition: Transition::default(),
            running: (0.0, 0),
        }
    }
}

/// One step of one environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transition {
    pub reward: f32,
    pub end: End,
    /// The row of the state that the step led to, also where the episode ended.
    pub next: u32,
}

/// `N` environments whose states are rows of a table.
pub(crate) trait World {
    /// Whether steps are so quick that loops should be made for them.
    const TABULATED: bool = false;
    /// Whether there is exactly one environment.
    const SINGLE: bool = false;

    /// The row of the present state of environment `n`.
    fn row(&self, n: usize) -> usize;

    /// Steps every environment by its lane's action, and notes what became of it; one whose episode ends starts the next one.
    fn step(&mut self, lanes: &mut [Lane]);
}

/// Any vector environment with discrete observations.
pub(crate) struct Called<'a> {
    pub env: &'a mut dyn VecEnv,
    pub layout: &'a Layout,
    pub actions: Vec<u32>,
}

impl World for Called<'_> {
    fn row(&self, n: usize) -> usize {
        let obs = self.env.obs();
        self.layout.row(obs.row(n).as_slice().expect("rows of observations are contiguous"))
    }

    fn step(&mut self, lanes: &mut [Lane]) {
        self.actions.clear();
        self.actions.extend(lanes.iter().map(|lane| lane.action));
        self.env.step(Actions::Discrete(&self.actions));
        let (obs, final_obs) = (self.env.obs(), self.env.final_obs());
        for (n, lane) in lanes.iter_mut().enumerate() {
            let (reward, end) = (self.env.reward()[n], self.env.end()[n]);
            let seen = if end.done() { final_obs.row(n) } else { obs.row(n) };
            let next = self.layout.row(seen.as_slice().expect("rows of observations are contiguous"));
            lane.transition = Transition { reward, end, next: next as u32 };
        }
    }
}

/// Set in [`Packed::next`] where the episode ends.
const TERMINATED: u32 = 1 << 31;

/// An outcome in eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packed {
    next: u32,
    reward: f32,
}

impl Packed {
    fn of(outcome: &Outcome) -> Self {
        let flag = if outcome.terminated { TERMINATED } else { 0 };
        Packed { next: outcome.next | flag, reward: outcome.reward as f32 }
    }
}

/// The smallest 53-bit number `k` with `sum <= k 2^-53`, so that comparing the generator's high bits with it is the
/// comparison of real numbers that [`rederive_env::FiniteTable::sample`] makes.
fn threshold(sum: f64) -> u64 {
    (sum * (1u64 << 53) as f64).ceil() as u64
}

/// 53 random bits: `Stream::unit` before it is scaled.
#[inline(always)]
fn bits(rng: &mut Stream) -> u64 {
    rng.next_u64() >> 11
}

/// The transitions of a model, in a form that suits their number.
pub(crate) trait Draw {
    /// The outcome of a pair; a sure one takes no random number.
    fn draw(&self, pair: usize, rng: &mut Stream) -> Packed;
}

/// No chance at all.
#[derive(Clone, Debug)]
pub(crate) struct Sure(Vec<Packed>);

impl Draw for Sure {
    #[inline(always)]
    fn draw(&self, pair: usize, _: &mut Stream) -> Packed {
        self.0[pair]
    }
}

/// At most four outcomes, in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    /// Where each outcome but the last ends; beyond reach where there are fewer.
    threshold: [u64; 3],
    sure: bool,
    outcome: [Packed; 4],
}

#[derive(Clone, Debug)]
pub(crate) struct Few(Vec<Line>);

impl Draw for Few {
    #[inline(always)]
    fn draw(&self, pair: usize, rng: &mut Stream) -> Packed {
        let line = &self.0[pair];
        if line.sure {
            return line.outcome[0];
        }
        let bits = bits(rng);
        let [a, b, c] = line.threshold.map(|t| usize::from(t <= bits));
        line.outcome[a + b + c]
    }
}

/// Any number of outcomes, in rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    offset: Vec<u32>,
    threshold: Vec<u64>,
    outcome: Vec<Packed>,
}

impl Draw for Rows {
    #[inline(always)]
    fn draw(&self, pair: usize, rng: &mut Stream) -> Packed {
        let range = self.offset[pair] as usize..self.offset[pair + 1] as usize;
        let outcome = &self.outcome[range.clone()];
        let last = outcome.len() - 1;
        if last == 0 {
            return outcome[0];
        }
        let bits = bits(rng);
        outcome[self.threshold[range][..last].iter().filter(|&&t| t <= bits).count()]
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Transitions {
    Sure(Sure),
    Few(Few),
    Rows(Rows),
}

/// How many equal parts of the random numbers know where to look for their first state, as a power of two.
const PARTS: u32 = 9;

/// A finite model, made for a loop.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub transitions: Transitions,
    states: usize,
    actions: usize,
    limit: u32,
    /// The row of each state of the model.
    row: Vec<u32>,
    /// Where the episode can start, with the end of its share of the random numbers; the last one has the rest.
    start: Vec<(u64, u32)>,
    /// The first of them that each part can mean.
    part: Vec<u32>,
}

impl Model {
    /// What `parts` says, for a table laid out as `layout`; `None` if states don't fit into 31 bits.
    pub fn new(parts: &FiniteParts<'_>, layout: &Layout) -> Option<Self> {
        let table = parts.table;
        let (states, actions) = (table.num_states(), table.num_actions());
        if states >= TERMINATED as usize {
            return None;
        }
        let width = parts.observations.len() / states;
        let row: Vec<u32> =
            parts.observations.chunks_exact(width).map(|obs| layout.row(obs) as u32).collect();
        let same = row.iter().enumerate().all(|(state, &row)| state == row as usize);
        let pairs = || (0..states).flat_map(|s| (0..actions).map(move |a| table.row(s, a)));
        let sums = |row: &[Outcome]| -> Vec<u64> {
            let mut sum = 0.0;
            row.iter()
                .map(|outcome| {
                    sum += outcome.prob;
                    threshold(sum)
                })
                .collect()
        };
        let widest = pairs().map(<[Outcome]>::len).max().unwrap_or(0);
        let transitions = match widest {
            1 if same => Transitions::Sure(Sure(pairs().map(|row| Packed::of(&row[0])).collect())),
            2..=4 if same => {
                let line = |row: &[Outcome]| {
                    let mut line = Line {
                        threshold: [u64::MAX; 3],
                        sure: row.len() == 1,
                        outcome: [Packed::default(); 4],
                    };
                    let last = row.len() - 1;
                    line.threshold[..last].copy_from_slice(&sums(row)[..last]);
                    for (to, from) in line.outcome.iter_mut().zip(row) {
                        *to = Packed::of(from);
                    }
                    line
                };
                Transitions::Few(Few(pairs().map(line).collect()))
            }
            _ => Transitions::Rows(Rows {
                offset: table.offsets().to_vec(),
                threshold: pairs().flat_map(sums).collect(),
                outcome: table.outcomes().iter().map(Packed::of).collect(),
            }),
        };
        let mut sum = 0.0;
        let start = (0u32..).zip(table.start()).filter(|(_, prob)| **prob > 0.0).map(|(state, &prob)| {
            sum += prob;
            (threshold(sum), state)
        });
        let start: Vec<(u64, u32)> = start.collect();
        let last = start.len() - 1;
        let first = |part: u64| start[..last].partition_point(|&(end, _)| end <= part << (53 - PARTS)) as u32;
        let part = (0..1u64 << PARTS).map(first).collect();
        Some(Model { transitions, states, actions, limit: parts.limit, row, start, part })
    }

    #[inline]
    fn first_state(&self, rng: &mut Stream) -> u32 {
        let last = self.start.len() - 1;
        if last == 0 {
            return self.start[0].1;
        }
        let bits = bits(rng);
        let mut at = self.part[(bits >> (53 - PARTS)) as usize] as usize;
        while at < last && self.start[at].0 <= bits {
            at += 1;
        }
        self.start[at].1
    }
}

/// Where environments stand.
pub(crate) trait Places: AsMut<[Place]> + AsRef<[Place]> {
    const SINGLE: bool;
}

impl Places for [Place; 1] {
    const SINGLE: bool = true;
}

impl Places for &mut [Place] {
    const SINGLE: bool = false;
}

/// Environments of a finite model, stepped without calling them. `RENAMED` says that states and rows may differ; `P` holds
/// the places: an array of one, if there is a single environment, can live in registers.
pub(crate) struct Tabulated<'a, T, P, const RENAMED: bool> {
    model: &'a Model,
    transitions: &'a T,
    pub places: P,
}

impl<'a, T: Draw, P: Places, const RENAMED: bool> Tabulated<'a, T, P, RENAMED> {
    pub fn new(model: &'a Model, transitions: &'a T, places: P) -> Self {
        let sound = places.as_ref().iter().all(|place| (place.state as usize) < model.states);
        assert!(sound, "a place without a state");
        Tabulated { model, transitions, places }
    }
}

impl<T: Draw, P: Places, const RENAMED: bool> World for Tabulated<'_, T, P, RENAMED> {
    const TABULATED: bool = !RENAMED;
    const SINGLE: bool = P::SINGLE;

    #[inline(always)]
    fn row(&self, n: usize) -> usize {
        let state = self.places.as_ref()[n].state;
        if RENAMED { self.model.row[state as usize] as usize } else { state as usize }
    }

    #[inline(always)]
    fn step(&mut self, lanes: &mut [Lane]) {
        let (model, transitions) = (self.model, self.transitions);
        for (place, lane) in self.places.as_mut().iter_mut().zip(lanes) {
            let pair = place.state as usize * model.actions + lane.action as usize;
            let Packed { next, reward } = transitions.draw(pair, &mut place.step);
            let state = next & !TERMINATED;
            place.elapsed = place.elapsed.saturating_add(1);
            let end = End::from_flags(next & TERMINATED != 0, place.elapsed >= model.limit);
            let row = if RENAMED { model.row[state as usize] } else { state };
            lane.transition = Transition { reward, end, next: row };
            place.state = state;
            if end.done() {
                place.state = model.first_state(&mut place.reset);
                place.elapsed = 0;
            }
        }
    }
}
