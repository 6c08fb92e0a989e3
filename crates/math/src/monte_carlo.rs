//! Values as averages of sampled returns, and the step sizes of such averages.

use crate::Real;

/// Which visits of a state within one episode count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visits {
    /// The first of each episode alone: one independent sample per episode.
    First,
    /// All of them: samples of one episode depend on each other.
    Every,
}

/// Averages of the returns that followed each state, or each pair of state and action.
///
/// ID `mc.first-visit`: over first visits the average is unbiased for `V(s)` (or `Q(s, a)`), given at least one visit. Over
/// every visit it is biased for finitely many episodes: an episode that stays long in a state counts often, and not all of
/// its returns are long. The bias vanishes in the limit.
///
/// Source: S. P. Singh, R. S. Sutton (1996), Reinforcement Learning with Replacing Eligibility Traces.
#[derive(Clone, Debug)]
pub struct Averages<F> {
    visits: Visits,
    mean: Vec<F>,
    count: Vec<u64>,
    /// The number of the last episode that visited a state.
    seen: Vec<u64>,
    episodes: u64,
}

impl<F: Real> Averages<F> {
    /// No episode yet, over `states` states (or pairs).
    pub fn new(states: usize, visits: Visits) -> Self {
        Averages {
            visits,
            mean: vec![F::zero(); states],
            count: vec![0; states],
            seen: vec![0; states],
            episodes: 0,
        }
    }
}

// ANCHOR: mc.first-visit
impl<F: Real> Averages<F> {
    /// Adds one episode: `return_[t]` is the return from step `t`, which was taken in `state[t]`. Allocates nothing.
    ///
    /// Shapes: `state` and `return_` `[T]`.
    ///
    /// # Panics
    /// If the lengths differ or a state is outside of the table.
    #[inline]
    pub fn episode(&mut self, state: &[usize], return_: &[F]) {
        assert!(
            state.len() == return_.len(),
            "state has {} entries but return_ has {}",
            state.len(),
            return_.len()
        );
        self.episodes += 1;
        for (&s, &g) in state.iter().zip(return_) {
            let again = self.seen[s] == self.episodes;
            self.seen[s] = self.episodes;
            if again && self.visits == Visits::First {
                continue;
            }
            self.count[s] += 1;
            average_step(&mut self.mean[s], g, F::one() / F::of(self.count[s] as f64));
        }
    }

    /// The average of a state; none if no episode has visited it.
    ///
    /// # Panics
    /// If the state is outside of the table.
    #[inline]
    pub fn get(&self, state: usize) -> Option<F> {
        (self.count[state] > 0).then(|| self.mean[state])
    }

    /// How many returns the average of a state holds.
    ///
    /// # Panics
    /// If the state is outside of the table.
    #[inline]
    pub fn count(&self, state: usize) -> u64 {
        self.count[state]
    }
}

/// The value of a state that pays 1 in each step and goes on with probability `p`: the mean of a first-visit average.
///
/// ID `mc.first-visit`: `1 / (1 - gamma p)`.
///
/// Source: S. P. Singh, R. S. Sutton (1996), Reinforcement Learning with Replacing Eligibility Traces.
pub fn chain_value<F: Real>(gamma: F, p: F) -> F {
    F::one() / (F::one() - gamma * p)
}

/// The mean of the every-visit average of that state over one episode.
///
/// ID `mc.first-visit`: `(1 - gamma / (1 - gamma) (1 - p) / p ln((1 - gamma p) / (1 - p))) / (1 - gamma)`, with the limits 1 at
/// `p = 0` and `(1 + 1 / (1 - p)) / 2` at `gamma = 1`. Close to `gamma = 1` it loses digits in proportion to `1 - gamma`.
///
/// Source: S. P. Singh, R. S. Sutton (1996), Reinforcement Learning with Replacing Eligibility Traces (for `gamma = 1`).
pub fn every_visit_chain_mean<F: Real>(gamma: F, p: F) -> F {
    let (rest, end) = (F::one() - gamma, F::one() - p);
    if p == F::zero() {
        F::one()
    } else if rest == F::zero() {
        F::of(0.5) * (F::one() + F::one() / end)
    } else {
        // (1 - gamma p) / (1 - p) = 1 + (1 - gamma) p / (1 - p).
        let log = (rest * p / end).ln_1p();
        (F::one() - gamma * end / (rest * p) * log) / rest
    }
}
// ANCHOR_END: mc.first-visit

/// Returns less a value: the Monte Carlo estimate of the advantage.
///
/// ID `mc.advantage`: for a value that does not depend on the sampled return, `E[G_t - V(s_t) | s_t, a_t] = Q(s_t, a_t) - V(s_t)`,
/// the advantage if `V` is the value of the policy.
///
/// Shapes: `return_`, `value` and `out` `[T]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: mc.advantage
pub fn advantage<F: Real>(return_: &[F], value: &[F], out: &mut [F]) {
    assert!(
        return_.len() == value.len(),
        "return_ has {} entries but value has {}",
        return_.len(),
        value.len()
    );
    assert!(return_.len() == out.len(), "return_ has {} entries but out has {}", return_.len(), out.len());
    for ((out, &g), &v) in out.iter_mut().zip(return_).zip(value) {
        *out = g - v;
    }
}
// ANCHOR_END: mc.advantage

/// Moves an average towards one more sample; returns the difference before the step.
///
/// ID `mc.averaging`: `V += alpha (G - V)`. With `alpha = 1 / n` for the `n`-th sample this is the sample mean, and the first
/// sample overwrites the start. With a constant `alpha` it is a mean with weights `alpha (1 - alpha)^k` for the sample `k` steps
/// ago, which follows a moving mean but does not settle ([`constant_step_variance`]).
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, sections 2.4 and 2.5.
// ANCHOR: mc.averaging
#[inline]
pub fn average_step<F: Real>(value: &mut F, return_: F, alpha: F) -> F {
    let delta = return_ - *value;
    *value += alpha * delta;
    delta
}

/// The variance of an average with a constant step size after `n` independent samples, where each has variance 1.
///
/// ID `mc.averaging`: `alpha / (2 - alpha) (1 - (1 - alpha)^(2 n))`, which tends to the first factor.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 2.5 (the weights).
pub fn constant_step_variance<F: Real>(alpha: F, n: u64) -> F {
    let kept = (F::one() - alpha).powf(F::of(2.0 * n as f64));
    alpha / (F::of(2.0) - alpha) * (F::one() - kept)
}
// ANCHOR_END: mc.averaging

/// The step size of the `n`-th update, `n` from 1.
///
/// ID `rm.step-sizes`: `n^-power`, which [`settles`] says to be enough for convergence or not. Count `n` per state or pair.
///
/// # Panics
/// If `n` is 0.
///
/// Source: H. Robbins, S. Monro (1951), A Stochastic Approximation Method.
// ANCHOR: rm.step-sizes
#[inline]
pub fn step_size<F: Real>(n: u64, power: F) -> F {
    assert!(n > 0, "the first update has n = 1, not 0");
    F::of(n as f64).powf(-power)
}

/// Whether `sum n^-power` diverges while `sum n^(-2 power)` converges: steps that reach everywhere and then calm down.
///
/// ID `rm.step-sizes`: both hold for a power in `(1/2, 1]`.
///
/// Source: H. Robbins, S. Monro (1951), A Stochastic Approximation Method.
pub fn settles<F: Real>(power: F) -> bool {
    let reaches = power <= F::one();
    let calms = power + power > F::one();
    reaches && calms
}

/// What the updates `x += alpha (xi - x)` leave of the start, and the variance that they collect where `Var(xi) = 1`.
///
/// ID `rm.step-sizes`: the mean keeps the share `prod (1 - alpha)` of its first error, and the variance follows
/// `v <- (1 - alpha)^2 v + alpha^2`.
///
/// Source: H. Robbins, S. Monro (1951), A Stochastic Approximation Method.
pub fn remainders<F: Real>(steps: impl IntoIterator<Item = F>) -> (F, F) {
    steps.into_iter().fold((F::one(), F::zero()), |(kept, variance), alpha| {
        let keep = F::one() - alpha;
        (keep * kept, keep * keep * variance + alpha * alpha)
    })
}
// ANCHOR_END: rm.step-sizes

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_every_visit_differ_in_one_episode() {
        let mut first = Averages::new(3, Visits::First);
        let mut every = Averages::new(3, Visits::Every);
        for averages in [&mut first, &mut every] {
            averages.episode(&[0, 1, 0], &[3.0, 2.0, 1.0]);
        }
        assert_eq!((first.get(0), first.get(1), first.get(2)), (Some(3.0), Some(2.0), None));
        assert_eq!((every.get(0), every.count(0), first.count(0)), (Some(2.0), 2, 1));
        first.episode(&[0], &[5.0f64]);
        assert_eq!(first.get(0), Some(4.0));
    }

    #[test]
    fn the_chain_has_its_closed_form() {
        assert_eq!((chain_value(1.0, 0.5), every_visit_chain_mean(1.0, 0.5)), (2.0, 1.5));
        assert_eq!(every_visit_chain_mean(0.3, 0.0), 1.0);
        let close: f64 = every_visit_chain_mean(1.0 - 1e-9, 0.5);
        assert!((close - 1.5).abs() < 1e-6);
    }

    #[test]
    fn the_first_sample_overwrites_the_start() {
        let mut value = 7.0f64;
        for (n, g) in [(1, 2.0), (2, 4.0), (3, 0.0)] {
            average_step(&mut value, g, step_size(n, 1.0));
        }
        assert!((value - 2.0).abs() < 1e-15);
        assert!((constant_step_variance(0.1f64, 1000) - 0.052_631_6).abs() < 1e-7);
        assert_eq!(constant_step_variance(0.1, 0), 0.0);
    }

    #[test]
    fn steps_settle_between_one_half_and_one() {
        assert_eq!([0.4, 0.5, 0.6, 1.0, 1.01].map(settles), [false, false, true, true, false]);
        let (kept, variance): (f64, f64) = remainders((1..=10_000).map(|n| step_size(n, 1.0)));
        assert!(kept == 0.0 && (variance - 1e-4).abs() < 1e-15);
    }
}
