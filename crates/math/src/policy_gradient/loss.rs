//! The loss whose gradient is the negative estimate of the policy gradient.

use crate::returns::same_shape;
use crate::sum::{BLOCK, Sums};
use crate::{Real, multiversion};
use ndarray::{ArrayRef2, s};

/// At most `BLOCK` samples: their gradients, and their terms of the sum.
// ANCHOR: pg.loss-surrogate
#[inline(always)]
fn surrogate_block<F: Real>(
    log_prob: &[F],
    advantage: &[F],
    scale: F,
    d_log_prob: &mut [F],
    Sums([objective]): &mut Sums<F, 1>,
) {
    let n = log_prob.len().min(BLOCK);
    let (log_prob, advantage, d_log_prob) = (&log_prob[..n], &advantage[..n], &mut d_log_prob[..n]);
    for i in 0..n {
        d_log_prob[i] = -scale * advantage[i];
        objective[i] += advantage[i] * log_prob[i];
    }
}
// ANCHOR_END: pg.loss-surrogate

multiversion! {
    fn surrogate_body<F: Real>(log_prob: &[F], advantage: &[F], scale: F, d_log_prob: &mut [F]) -> F {
        let mut sums = Sums::new();
        let batch = log_prob.chunks(BLOCK).zip(advantage.chunks(BLOCK)).zip(d_log_prob.chunks_mut(BLOCK));
        for ((log_prob, advantage), d) in batch {
            surrogate_block(log_prob, advantage, scale, d, &mut sums);
        }
        let [objective] = sums.totals();
        -scale * objective
    }
}

/// The policy-gradient loss of a batch, and its gradient.
///
/// ID `pg.loss-surrogate`: `loss = -scale sum_i A_i log pi(a_i | s_i)`, `d_log_prob_i = -scale A_i`, with samples and advantages held
/// fixed. Its gradient is the negative estimate of the policy gradient; its value is not `-J`, and need not fall as `J` rises.
/// `scale` comes from [`Aggregation::scale`].
///
/// Shapes: all `[B]`; `d_log_prob` is overwritten. An empty batch has loss 0.
///
/// # Panics
/// If two lengths differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
#[doc(alias = "policy_loss")]
#[doc(alias = "pg_loss")]
pub fn surrogate<F: Real>(log_prob: &[F], advantage: &[F], scale: F, d_log_prob: &mut [F]) -> F {
    let n = log_prob.len();
    assert!(n == advantage.len(), "log_prob has {n} entries but advantage has {}", advantage.len());
    assert!(n == d_log_prob.len(), "log_prob has {n} entries but d_log_prob has {}", d_log_prob.len());
    surrogate_body(log_prob, advantage, scale, d_log_prob)
}

/// What the sum over all steps of a batch of trajectories is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// The number of trajectories: the estimator of the policy gradient.
    Trajectories,
    /// The number of steps, a flat mean: the same direction if all trajectories are equally long, biased otherwise, since the divisor
    /// then depends on what was sampled.
    Steps,
}

impl Aggregation {
    /// The factor of every step in the loss.
    ///
    /// ID `pg.aggregation`: `1 / N` for `N` trajectories (sum over time, mean over trajectories), or `1 / sum_i T_i`. Their ratio is the mean
    /// length. Padding counts in neither. Without trajectories or steps it is 0.
    ///
    /// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
    /// Learning.
    // ANCHOR: pg.aggregation
    pub fn scale<F: Real>(self, trajectories: usize, steps: usize) -> F {
        let count = match self {
            Aggregation::Trajectories => trajectories,
            Aggregation::Steps => steps,
        };
        if count == 0 { F::zero() } else { F::one() / F::of(count as f64) }
    }
    // ANCHOR_END: pg.aggregation
}

/// [`surrogate`] of trajectories of different lengths in one padded array; what lies behind the end of a trajectory is not read, and
/// gets no gradient.
///
/// IDs `pg.loss-surrogate` and `pg.aggregation`.
///
/// Shapes: `log_prob`, `advantage` and `d_log_prob` `[T,N]`, one trajectory per column; `length` `[N]`; `d_log_prob` is overwritten.
///
/// # Panics
/// If the shapes do not belong together, or a length exceeds T.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
pub fn surrogate_padded<F: Real>(
    log_prob: &ArrayRef2<F>,
    advantage: &ArrayRef2<F>,
    length: &[usize],
    aggregation: Aggregation,
    d_log_prob: &mut ArrayRef2<F>,
) -> F {
    same_shape("log_prob", log_prob, "advantage", advantage);
    same_shape("log_prob", log_prob, "d_log_prob", d_log_prob);
    let (steps, trajectories) = log_prob.dim();
    assert!(
        length.len() == trajectories,
        "length has {} entries but log_prob has shape {:?}",
        length.len(),
        log_prob.dim()
    );
    assert!(length.iter().all(|&l| l <= steps), "length is {length:?} but log_prob has {steps} steps");
    let scale: F = aggregation.scale(trajectories, length.iter().sum());
    d_log_prob.fill(F::zero());
    let mut objective = F::zero();
    for (n, &length) in length.iter().enumerate() {
        for t in 0..length {
            objective += advantage[[t, n]] * log_prob[[t, n]];
        }
        d_log_prob
            .slice_mut(s![..length, n])
            .zip_mut_with(&advantage.slice(s![..length, n]), |d, &a| *d = -scale * a);
    }
    -scale * objective
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;
    use ndarray::{Array2, array};

    #[test]
    fn the_loss_is_linear_in_the_log_probabilities() {
        let mut d = [f64::NAN; 2];
        assert_eq!(surrogate(&[-1.0, -2.0], &[3.0, -0.5], 0.5, &mut d), 1.0);
        assert_eq!(d, [-1.5, 0.25]);
        assert_eq!(surrogate::<f32>(&[], &[], 1.0, &mut []), 0.0);
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for n in [1, 63, 64, 65, 200] {
            let wave = |step: f32| (0..n).map(|i| (step * (i + 1) as f32).sin()).collect::<Vec<_>>();
            let (log_prob, advantage) = (wave(0.7), wave(1.9));
            let results = at_every_level(|| {
                let mut d = vec![f32::NAN; n];
                (surrogate(&log_prob, &advantage, 0.25, &mut d), d)
            });
            assert!(results.iter().all(|r| *r == results[0]));
            let exact: f64 =
                log_prob.iter().zip(&advantage).map(|(&l, &a)| -0.25 * f64::from(l) * f64::from(a)).sum();
            assert!((f64::from(results[0].0) - exact).abs() < 1e-5);
        }
    }

    #[test]
    fn padding_is_neither_read_nor_counted() {
        let nan = f64::NAN;
        let (log_prob, advantage) = (array![[-1.0, -1.0], [nan, -2.0]], array![[1.0, 1.0], [nan, 1.0]]);
        let mut d = Array2::from_elem((2, 2), nan);
        assert_eq!(surrogate_padded(&log_prob, &advantage, &[1, 2], Aggregation::Trajectories, &mut d), 2.0);
        assert_eq!(d, array![[-0.5, -0.5], [0.0, -0.5]]);
        let flat = surrogate_padded(&log_prob, &advantage, &[1, 2], Aggregation::Steps, &mut d);
        assert!((flat - 4.0 / 3.0).abs() < 1e-15 && d[[1, 0]] == 0.0);
        assert_eq!(Aggregation::Steps.scale::<f64>(3, 0), 0.0);
    }
}
