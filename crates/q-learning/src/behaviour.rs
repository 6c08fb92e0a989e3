//! The policies that act: how an action is drawn from the values of a state.

use crate::config::{Config, Exploration};
use rand::RngCore;
use rederive_env::Stream;
use rederive_math::{categorical, exploration, td};

/// A policy over the actions of one state, given their values and how often each was updated.
///
/// `row` is the number of the state, and `spare` has room for a number per action.
pub(crate) trait Behaviour {
    /// Whether [`act_greedily`](Self::act_greedily) does the same as [`act`](Self::act).
    const GREEDY: bool = false;

    /// Draws one of so many actions, knowing the best one.
    fn act_greedily(&self, best: u32, actions: usize, rng: &mut Stream) -> u32 {
        let _ = (actions, rng);
        best
    }

    /// Draws an action; takes one random number, or none.
    fn act(&self, row: usize, value: &[f32], visits: &[u32], rng: &mut Stream, spare: &mut [f32]) -> usize;

    /// The probabilities with which [`act`](Self::act) draws.
    fn probabilities(&self, row: usize, value: &[f32], visits: &[u32], out: &mut [f32]);
}

/// `prob.epsilon-greedy` without a branch, from one random word: the high half is the coin, the low half picks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpsilonGreedy {
    epsilon: f32,
    /// The coins below it explore.
    below: u64,
}

impl EpsilonGreedy {
    pub fn new(epsilon: f64) -> Self {
        let epsilon = epsilon as f32;
        EpsilonGreedy { epsilon, below: (f64::from(epsilon) * (1u64 << 32) as f64).ceil() as u64 }
    }
}

impl Behaviour for EpsilonGreedy {
    const GREEDY: bool = true;

    #[inline(always)]
    fn act_greedily(&self, best: u32, actions: usize, rng: &mut Stream) -> u32 {
        let word = rng.next_u64();
        let (coin, pick) = (word >> 32, word & 0xffff_ffff);
        let random = (pick * actions as u64) >> 32;
        if coin < self.below { random as u32 } else { best }
    }

    #[inline(always)]
    fn act(&self, _: usize, value: &[f32], _: &[u32], rng: &mut Stream, _: &mut [f32]) -> usize {
        self.act_greedily(td::argmax(value) as u32, value.len(), rng) as usize
    }

    #[inline(always)]
    fn probabilities(&self, _: usize, value: &[f32], _: &[u32], out: &mut [f32]) {
        exploration::epsilon_greedy(value, self.epsilon, out);
    }
}

/// A uniform number in [0, 1) that an `f32` holds exactly.
#[inline]
fn unit(rng: &mut Stream) -> f32 {
    (rng.next_u64() >> 40) as f32 * (1.0 / (1u64 << 24) as f32)
}

/// Probabilities proportional to `exp(value / temperature)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Softmax {
    temperature: f32,
}

impl Softmax {
    #[inline]
    fn logits(&self, value: &[f32], out: &mut [f32]) {
        for (out, &value) in out.iter_mut().zip(value) {
            *out = value / self.temperature;
        }
    }
}

impl Behaviour for Softmax {
    #[inline]
    fn act(&self, _: usize, value: &[f32], _: &[u32], rng: &mut Stream, spare: &mut [f32]) -> usize {
        self.logits(value, spare);
        categorical::sample(spare, unit(rng))
    }

    #[inline]
    fn probabilities(&self, _: usize, value: &[f32], _: &[u32], out: &mut [f32]) {
        self.logits(value, out);
        let max = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        out.iter_mut().for_each(|p| *p = (*p - max).exp());
        let total: f32 = out.iter().sum();
        out.iter_mut().for_each(|p| *p /= total);
    }
}

/// The largest upper confidence bound, `Q + c sqrt(ln N(s) / N(s, a))`; an action without an update comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ucb {
    coef: f32,
}

impl Ucb {
    #[inline]
    fn best(&self, value: &[f32], visits: &[u32], bound: &mut [f32]) -> usize {
        let total: f32 = visits.iter().map(|&n| n as f32).sum();
        let log = total.max(1.0).ln();
        for ((bound, &value), &n) in bound.iter_mut().zip(value).zip(visits) {
            *bound = if n == 0 { f32::INFINITY } else { value + self.coef * (log / n as f32).sqrt() };
        }
        td::argmax(bound)
    }
}

impl Behaviour for Ucb {
    #[inline]
    fn act(&self, _: usize, value: &[f32], visits: &[u32], _: &mut Stream, spare: &mut [f32]) -> usize {
        self.best(value, visits, spare)
    }

    #[inline]
    fn probabilities(&self, _: usize, value: &[f32], visits: &[u32], out: &mut [f32]) {
        let best = self.best(value, visits, out);
        out.fill(0.0);
        out[best] = 1.0;
    }
}

/// A policy that stays as it is, whatever the values are: `prob` is `[S, A]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed<'a> {
    pub prob: &'a [f32],
    pub actions: usize,
}

impl Fixed<'_> {
    fn row(&self, row: usize) -> &[f32] {
        &self.prob[row * self.actions..][..self.actions]
    }
}

impl Behaviour for Fixed<'_> {
    fn act(&self, row: usize, _: &[f32], _: &[u32], rng: &mut Stream, _: &mut [f32]) -> usize {
        let prob = self.row(row);
        let mut left = unit(rng);
        let drawn = prob.iter().position(|&p| {
            left -= p;
            left < 0.0
        });
        // Rounding may leave a little; it belongs to the last action that can be taken at all.
        drawn.unwrap_or_else(|| prob.iter().rposition(|&p| p > 0.0).unwrap_or(0))
    }

    fn probabilities(&self, row: usize, _: &[f32], _: &[u32], out: &mut [f32]) {
        out.copy_from_slice(self.row(row));
    }
}

/// Any of the policies, for loops that have more to do than to choose one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy<'a> {
    EpsilonGreedy(EpsilonGreedy),
    Softmax(Softmax),
    Ucb(Ucb),
    Fixed(Fixed<'a>),
}

impl Policy<'_> {
    /// The policy of `config`, with its present epsilon.
    pub fn new(config: &Config, epsilon: f64) -> Self {
        match config.exploration {
            Exploration::EpsilonGreedy => Policy::EpsilonGreedy(EpsilonGreedy::new(epsilon)),
            Exploration::Softmax => Policy::Softmax(Softmax { temperature: config.temperature as f32 }),
            Exploration::Ucb => Policy::Ucb(Ucb { coef: config.ucb_coef as f32 }),
        }
    }
}

impl Behaviour for Policy<'_> {
    #[inline]
    fn act(&self, row: usize, value: &[f32], visits: &[u32], rng: &mut Stream, spare: &mut [f32]) -> usize {
        match self {
            Policy::EpsilonGreedy(policy) => policy.act(row, value, visits, rng, spare),
            Policy::Softmax(policy) => policy.act(row, value, visits, rng, spare),
            Policy::Ucb(policy) => policy.act(row, value, visits, rng, spare),
            Policy::Fixed(policy) => policy.act(row, value, visits, rng, spare),
        }
    }

    #[inline]
    fn probabilities(&self, row: usize, value: &[f32], visits: &[u32], out: &mut [f32]) {
        match self {
            Policy::EpsilonGreedy(policy) => policy.probabilities(row, value, visits, out),
            Policy::Softmax(policy) => policy.probabilities(row, value, visits, out),
            Policy::Ucb(policy) => policy.probabilities(row, value, visits, out),
            Policy::Fixed(policy) => policy.probabilities(row, value, visits, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_without_a_branch_is_the_rule_with_one() {
        let mut rng = Stream::new(1, "test", 0);
        for epsilon in [0.0, 0.1, 0.37, 1.0] {
            let policy = EpsilonGreedy::new(epsilon);
            for _ in 0..2000 {
                let value: Vec<f32> = (0..1 + rng.below(6)).map(|_| rng.below(3) as f32).collect();
                let word = rng.clone().next_u64();
                let scale = 1.0 / (1u64 << 32) as f64;
                let (coin, pick) = ((word >> 32) as f64 * scale, (word & 0xffff_ffff) as f64 * scale);
                let expected = exploration::choose(&value, epsilon as f32, coin, pick);
                assert_eq!(policy.act(0, &value, &[], &mut rng, &mut []), expected);
            }
        }
    }

    #[test]
    fn actions_come_as_often_as_their_probabilities_say() {
        let (value, visits) = ([0.3, -0.2, 0.9], [3, 1, 5]);
        let fixed = [0.0, 0.25, 0.75];
        let policies = [
            Policy::EpsilonGreedy(EpsilonGreedy::new(0.4)),
            Policy::Softmax(Softmax { temperature: 0.5 }),
            Policy::Ucb(Ucb { coef: 0.1 }),
            Policy::Fixed(Fixed { prob: &fixed, actions: 3 }),
        ];
        let mut rng = Stream::new(2, "test", 0);
        for policy in policies {
            let (mut prob, mut spare, mut drawn) = ([f32::NAN; 3], [0.0; 3], [0u32; 3]);
            policy.probabilities(0, &value, &visits, &mut prob);
            for _ in 0..40_000 {
                drawn[policy.act(0, &value, &visits, &mut rng, &mut spare)] += 1;
            }
            for (p, n) in prob.into_iter().map(f64::from).zip(drawn) {
                // Five standard errors.
                let allowed = 5.0 * (p * (1.0 - p) / 40_000.0).sqrt() + 1e-9;
                assert!((f64::from(n) / 40_000.0 - p).abs() <= allowed, "{policy:?}: {prob:?}, {drawn:?}");
            }
        }
    }

    #[test]
    fn bounds_try_what_was_never_tried_and_then_what_is_rare() {
        let mut spare = [0.0; 3];
        let ucb = Ucb { coef: 1.0 };
        assert_eq!(ucb.best(&[5.0, 0.0, 0.0], &[9, 2, 0], &mut spare), 2);
        assert_eq!(ucb.best(&[0.5, 0.0, 0.0], &[90, 90, 1], &mut spare), 2);
        assert_eq!(Ucb { coef: 0.0 }.best(&[0.5, 0.0, 0.0], &[90, 90, 1], &mut spare), 0);
    }
}
