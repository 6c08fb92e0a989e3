//! A process with what all solvers need of it, and the bounds that they stop by.
//!
//! Let `D = T V - V` be the Bellman error of any `V`, `m` its minimum and `M` its maximum over the states. Because `T` is
//! monotone and `T(V + c) = T V + gamma c`, iterating it from `V <= T V - m` gives, for `gamma < 1`,
//!
//! ```text
//! T V + gamma / (1 - gamma) m  <=  V*  <=  T V + gamma / (1 - gamma) M        (MacQueen 1966; Porteus 1971)
//! ```
//!
//! The width falls with the *span* `M - m`, often far quicker than `max |D|` does, because adding a constant to `V` leaves it
//! alone; and the middle of the interval is a better value than `T V`. Where episodes end, the end is one more state, of value 0 and
//! error 0: it belongs into `m` and `M`, and no constant may be added, since it would move that state too.
//!
//! For `gamma = 1` let `W(s)` bound the steps that an episode from `s` takes under any policy (`termination.rs`). Then
//! `m W <= V* - V <= M W` with 0 counted in again (Bertsekas and Tsitsiklis 1991).
//!
//! A computed backup of a row of `n` entries is off by at most `(n + 4) eps (|V| + |T V|)`, and rows that sum to 1 only within `d`
//! by `gamma d |V|`, where `V` has its constant already; both go through the same factor. That part no iteration can bring down: if it is above the tolerance, the
//! solvers say so at once.

use crate::backup::Rows;
use crate::options::config;
use crate::termination::longest_episode;
use crate::workers::Workers;
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;

/// How many rows are backed up before their states are looked at: their values stay in the innermost cache.
const BLOCK: usize = 1024;

/// A process, ready to be solved.
pub struct Problem<'a, P: Real> {
    pub mdp: &'a Mdp<P>,
    pub rows: Rows<'a, P>,
    pub options: Options,
    pub workers: Workers,
    max_actions: usize,
    bounder: Bounder,
}

/// What a sweep saw of `T V - V`.
#[derive(Clone, Copy, Debug)]
pub struct Errors {
    /// Its minimum.
    pub low: f64,
    /// Its maximum.
    pub high: f64,
    /// The largest magnitude in `V` and that in `T V`, added.
    pub scale: f64,
}

impl Errors {
    pub const NONE: Errors = Errors { low: f64::INFINITY, high: f64::NEG_INFINITY, scale: 0.0 };

    #[inline(always)]
    pub fn add(&mut self, old: f64, new: f64) {
        let error = new - old;
        // Comparisons with NaN are false: it is caught through `scale`, by the sum.
        self.low = if error < self.low { error } else { self.low };
        self.high = if error > self.high { error } else { self.high };
        let scale = old.abs() + new.abs();
        self.scale = if scale <= self.scale { self.scale } else { scale };
    }

    pub fn join(self, other: Errors) -> Errors {
        Errors {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            scale: if other.scale <= self.scale { self.scale } else { other.scale },
        }
    }

    /// The largest magnitude of `T V - V`.
    pub fn residual(&self) -> f64 {
        self.high.max(-self.low)
    }
}

/// A proven bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// What to add to every entry of `T V`.
    pub shift: f64,
    /// How far from the truth an entry is then, at most.
    pub error: f64,
}

/// Turns Bellman errors into bounds on values.
#[derive(Clone, Copy, Debug)]
pub struct Bounder {
    gamma: f64,
    tol: f64,
    /// What an error of every backup adds up to: `1 / (1 - gamma)`, or the longest episode.
    horizon: f64,
    ends: bool,
    longest_row: usize,
    defect: f64,
    single: bool,
}

impl Bounder {
    pub fn new<P: Real, Q: Real>(
        rows: Rows<'_, Q>,
        mdp: &Mdp<P>,
        options: &Options,
    ) -> Result<Self, SolveError> {
        let horizon = if options.gamma < 1.0 { 1.0 / (1.0 - options.gamma) } else { longest_episode(mdp)? };
        let lengths = rows.first_entry.windows(2).map(|w| (w[1] - w[0]) as usize);
        Ok(Bounder {
            gamma: options.gamma,
            tol: options.tol,
            horizon,
            ends: mdp.ends(),
            longest_row: lengths.max().unwrap_or(0),
            defect: mdp.defect(),
            single: size_of::<P>() == 4,
        })
    }

    /// How far a computed backup may be from the true one.
    fn rounding(&self, scale: f64) -> f64 {
        (self.longest_row + 4) as f64 * f64::EPSILON * scale + self.gamma * self.defect * scale
    }

    /// How large a Bellman error may be, in every state, for the tolerance to hold.
    pub fn target(&self) -> f64 {
        self.tol / self.horizon
    }

    /// An error if `slack`, which no iteration can bring down, is all that the tolerance allows.
    pub fn reachable(&self, slack: f64) -> Result<(), SolveError> {
        if slack < self.tol {
            return Ok(());
        }
        if !slack.is_finite() {
            return Err(config("reward", "so large that values overflow", "of smaller magnitude"));
        }
        let what = if self.single { "probabilities in f32" } else { "rounding in f64" };
        let allowed = format!("above {slack:.1e}: {what} leave an error of up to that");
        Err(config("tol", format!("{:e}", self.tol), allowed))
    }

    /// The bound that a sweep proves.
    ///
    /// # Errors
    /// Numbers that are not finite, or a tolerance that rounding puts out of reach.
    pub fn bound(&self, errors: &Errors) -> Result<Bound, SolveError> {
        // The last backup is no longer subject to the errors of earlier ones; without a discount its action values are.
        let factor = if self.gamma == 1.0 { self.horizon } else { self.horizon - 1.0 };
        let (middle, rest) = if self.ends || self.gamma == 1.0 {
            (0.0, errors.residual())
        } else {
            (0.5 * (errors.low + errors.high), 0.5 * (errors.high - errors.low))
        };
        let (shift, error) = (factor * middle, factor * rest);
        // The constant that is added to `V` goes through rows whose sums are not quite 1, too.
        let scale = errors.scale + 2.0 * (middle * self.horizon).abs();
        let slack = self.rounding(scale) * self.horizon;
        // Values that are still on their way may be far larger than where they go: only once little else is left does the slack tell.
        if error <= slack || !errors.scale.is_finite() {
            self.reachable(slack)?;
        }
        Ok(Bound { shift, error: error + slack })
    }
}

/// A vector whose parts belong to different threads.
struct Shared {
    start: *mut f64,
    len: usize,
}

// SAFETY: parts are handed out to one thread each (see `part`).
unsafe impl Sync for Shared {}

impl Shared {
    /// A part of the vector; nothing if the vector is empty. Callers ask for every part once: pairs belong to one state, and a state
    /// to one thread.
    #[allow(clippy::mut_from_ref)]
    fn part(&self, range: std::ops::Range<usize>) -> Option<&mut [f64]> {
        if self.len == 0 {
            return None;
        }
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the vector, which outlives this value, and nobody else has this part.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) })
    }
}

/// The first of the largest.
#[inline(always)]
pub fn greedy(q: &[f64]) -> (f64, u32) {
    let (mut best, mut action) = (q[0], 0);
    for (a, &x) in q.iter().enumerate().skip(1) {
        if x > best {
            (best, action) = (x, a as u32);
        }
    }
    (best, action)
}

impl<'a, P: Real> Problem<'a, P> {
    pub fn new(mdp: &'a Mdp<P>, options: &Options) -> Result<Self, SolveError> {
        options.validate()?;
        let rows = Rows::of(mdp);
        Ok(Problem {
            mdp,
            rows,
            options: *options,
            workers: Workers::new(options.threads, rows.prob.len())?,
            max_actions: mdp.num_actions(),
            bounder: Bounder::new(rows, mdp, options)?,
        })
    }

    /// Backs up all states from `v`: `pick` turns the action values of a state into its new value and its action. Actions go into
    /// `policy` and action values into `all`, unless they are empty.
    pub fn sweep(
        &self,
        v: &[f64],
        new: &mut [f64],
        policy: &mut [u32],
        all: &mut [f64],
        pick: impl Fn(usize, &[f64]) -> (f64, u32) + Sync,
    ) -> Errors {
        assert!(
            all.is_empty() || all.len() == self.mdp.num_pairs(),
            "length of `all` against the number of pairs"
        );
        let all = Shared { start: all.as_mut_ptr(), len: all.len() };
        let part = |states: std::ops::Range<usize>, new: &mut [f64], policy: &mut [u32]| {
            let mut scratch = vec![0.0; BLOCK.max(self.max_actions)];
            let mut errors = Errors::NONE;
            let first_pair = self.mdp.first_pair();
            let mut first = states.start;
            while first < states.end {
                let base = first_pair[first] as usize;
                let mut last = first + 1;
                while last < states.end && first_pair[last + 1] as usize - base <= scratch.len() {
                    last += 1;
                }
                let pairs = base..first_pair[last] as usize;
                let q = match all.part(pairs.clone()) {
                    Some(q) => q,
                    None => &mut scratch[..pairs.len()],
                };
                self.rows.backup(pairs, v, self.options.gamma, q);
                for s in first..last {
                    let (low, high) = (first_pair[s] as usize - base, first_pair[s + 1] as usize - base);
                    let (value, action) = pick(s, &q[low..high]);
                    errors.add(v[s], value);
                    new[s - states.start] = value;
                    if let Some(slot) = policy.get_mut(s - states.start) {
                        *slot = action;
                    }
                }
                first = last;
            }
            errors
        };
        self.workers.split(self.mdp.num_states(), new, policy, part, Errors::join)
    }

    /// A value that is nowhere above the optimum: the worst reward for ever, or 0 if that is worse and episodes end. From there
    /// values only rise (`T V >= V`), and what is known of an end spreads from it; from above, states that can wait would first have to
    /// be talked down step by step.
    pub fn pessimistic(&self) -> f64 {
        if self.options.gamma == 1.0 {
            return 0.0;
        }
        let worst = self.rows.reward.iter().copied().fold(f64::INFINITY, f64::min);
        let worst = if self.mdp.ends() { worst.min(0.0) } else { worst };
        worst / (1.0 - self.options.gamma)
    }

    /// Room for the action values of a state.
    pub fn scratch(&self) -> Vec<f64> {
        vec![0.0; self.max_actions]
    }

    /// `max_a (r + gamma P v)` of one state; `q` is scratch.
    #[inline]
    pub fn value(&self, state: usize, v: &[f64], q: &mut [f64]) -> f64 {
        let pairs = self.mdp.pairs(state);
        let q = &mut q[..pairs.len()];
        self.rows.backup(pairs, v, self.options.gamma, q);
        greedy(q).0
    }

    /// The bound that `errors` prove.
    ///
    /// # Errors
    /// See [`Bounder::bound`].
    pub fn bound(&self, errors: &Errors) -> Result<Bound, SolveError> {
        self.bounder.bound(errors)
    }

    /// See [`Bounder::target`].
    pub fn target(&self) -> f64 {
        self.bounder.target()
    }

    /// See [`Bounder::reachable`].
    pub fn reachable(&self, slack: f64) -> Result<(), SolveError> {
        self.bounder.reachable(slack)
    }

    /// What an error of every backup adds up to.
    pub fn horizon(&self) -> f64 {
        self.bounder.horizon
    }

    /// How far a computed backup of values up to `scale` may be from the true one.
    pub fn rounding(&self, scale: f64) -> f64 {
        self.bounder.rounding(scale)
    }

    /// Whether a bound is as tight as was wanted; an error if it is not and the iterations have run out.
    pub fn stop(&self, bound: &Bound, iterations: u64) -> Result<bool, SolveError> {
        if bound.error <= self.options.tol {
            return Ok(true);
        }
        if iterations >= self.options.max_iterations {
            return Err(SolveError::MaxIterations {
                iterations,
                error_bound: bound.error,
                tol: self.options.tol,
            });
        }
        Ok(false)
    }

    /// Ends with `value`, which is `T V` of the sweep that `errors` and `bound` belong to. `q` are the action values of that sweep:
    /// what moves `T V` towards the optimum moves them, and the bound holds for them too. If they were not kept (empty), the shifted
    /// values are backed up once more: that can only bring them closer.
    pub fn finish(
        &self,
        mut value: Vec<f64>,
        mut q: Vec<f64>,
        iterations: u64,
        mut sweeps: f64,
        errors: &Errors,
        bound: &Bound,
    ) -> Solution {
        let states = self.mdp.num_states();
        if q.is_empty() {
            value.iter_mut().for_each(|v| *v += bound.shift);
            q.resize(self.mdp.num_pairs(), 0.0);
            let back =
                |pairs, q: &mut [f64], _: &mut [()]| self.rows.backup(pairs, &value, self.options.gamma, q);
            self.workers.split(self.mdp.num_pairs(), &mut q, &mut [], back, |_, ()| ());
            sweeps += 1.0;
        } else if bound.shift != 0.0 {
            q.iter_mut().for_each(|q| *q += bound.shift);
        }
        let mut policy = vec![0; states];
        for s in 0..states {
            (value[s], policy[s]) = greedy(&q[self.mdp.pairs(s)]);
        }
        Solution {
            value,
            q,
            policy,
            iterations,
            sweeps,
            residual: errors.residual(),
            error_bound: bound.error,
        }
    }
}
