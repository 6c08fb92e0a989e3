//! Where transitions come from: environments that are called, or a finite model that is stepped in the learner's own loop.
//!
//! Both draw from the same streams, so that a run is the same bit for bit whichever is used.

use crate::states::Layout;
use rand::RngCore;
use rederive_env::{Actions, End, FiniteParts, Outcome, Place, Stream, VecEnv};

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
    /// The row of the present state of environment `n`.
    fn row(&self, n: usize) -> usize;

    /// Steps every environment; one whose episode ends starts the next one.
    fn step(&mut self, actions: &[u32], out: &mut [Transition]);
}

/// Any vector environment with discrete observations.
pub(crate) struct Called<'a> {
    pub env: &'a mut dyn VecEnv,
    pub layout: &'a Layout,
}

impl World for Called<'_> {
    fn row(&self, n: usize) -> usize {
        let obs = self.env.obs();
        self.layout.row(obs.row(n).as_slice().expect("rows of observations are contiguous"))
    }

    fn step(&mut self, actions: &[u32], out: &mut [Transition]) {
        self.env.step(Actions::Discrete(actions));
        let (obs, final_obs) = (self.env.obs(), self.env.final_obs());
        for (n, out) in out.iter_mut().enumerate() {
            let (reward, end) = (self.env.reward()[n], self.env.end()[n]);
            let seen = if end.done() { final_obs.row(n) } else { obs.row(n) };
            let next = self.layout.row(seen.as_slice().expect("rows of observations are contiguous"));
            *out = Transition { reward, end, next: next as u32 };
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

/// A finite model, made for a loop.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub transitions: Transitions,
    states: usize,
    actions: usize,
    limit: u32,
    /// The row of each state of the model; empty where both are the same.
    row: Vec<u32>,
    /// Where the episode can start, with the end of its share of the random numbers; the last one has the rest.
    start: Vec<(u64, u32)>,
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
        let transitions = match pairs().map(<[Outcome]>::len).max().unwrap_or(0) {
            1 => Transitions::Sure(Sure(pairs().map(|row| Packed::of(&row[0])).collect())),
            2..=4 => {
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
        let start = start.collect();
        Some(Model {
            transitions,
            states,
            actions,
            limit: parts.limit,
            row: if same { Vec::new() } else { row },
            start,
        })
    }

    /// Whether a state of the model has the same row as others, or another row than its number.
    pub fn renamed(&self) -> bool {
        !self.row.is_empty()
    }

    #[inline]
    fn first_state(&self, rng: &mut Stream) -> u32 {
        let last = self.start.len() - 1;
        if last == 0 {
            return self.start[0].1;
        }
        let bits = bits(rng);
        self.start[self.start[..last].partition_point(|&(end, _)| end <= bits)].1
    }
}

/// Environments of a finite model, stepped without calling them. `RENAMED` says that states and rows differ.
pub(crate) struct Tabulated<'a, T, const RENAMED: bool> {
    model: &'a Model,
    transitions: &'a T,
    places: &'a mut [Place],
}

impl<'a, T: Draw, const RENAMED: bool> Tabulated<'a, T, RENAMED> {
    pub fn new(model: &'a Model, transitions: &'a T, places: &'a mut [Place]) -> Self {
        assert!(places.iter().all(|place| (place.state as usize) < model.states), "a place without a state");
        Tabulated { model, transitions, places }
    }

    #[inline(always)]
    fn row_of(&self, state: u32) -> u32 {
        if RENAMED { self.model.row[state as usize] } else { state }
    }
}

impl<T: Draw, const RENAMED: bool> World for Tabulated<'_, T, RENAMED> {
    #[inline(always)]
    fn row(&self, n: usize) -> usize {
        self.row_of(self.places[n].state) as usize
    }

    #[inline(always)]
    fn step(&mut self, actions: &[u32], out: &mut [Transition]) {
        let (model, transitions) = (self.model, self.transitions);
        for ((place, &action), out) in self.places.iter_mut().zip(actions).zip(out) {
            let pair = place.state as usize * model.actions + action as usize;
            let Packed { next, reward } = transitions.draw(pair, &mut place.step);
            let state = next & !TERMINATED;
            place.elapsed = place.elapsed.saturating_add(1);
            let end = End::from_flags(next & TERMINATED != 0, place.elapsed >= model.limit);
            let row = if RENAMED { model.row[state as usize] } else { state };
            *out = Transition { reward, end, next: row };
            place.state = state;
            if end.done() {
                place.state = model.first_state(&mut place.reset);
                place.elapsed = 0;
            }
        }
    }
}
