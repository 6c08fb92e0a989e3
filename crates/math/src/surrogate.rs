//! Surrogate objectives of a policy that is trained on another policy's samples.
//!
//! The samples come from `pi_old`; `log_prob` is the trained policy's, `old_log_prob` that of the policy that acted, both at
//! the same action. Objectives are maximised and losses minimised: `loss = -objective`. Advantages and old log-probabilities
//! are constants. The batch forms average over the batch; their gradient is that of the mean loss with respect to `log_prob`.

use crate::estimators::exp_minus_tangent;
use crate::sum::{BLOCK, Sums};
use crate::{Real, multiversion};

/// The probability ratio of the trained to the acting policy.
///
/// ID `ppo.ratio`: `rho = exp(log pi - log pi_old)`. Its mean under the acting policy is 1, and
/// `d(rho A) / d log pi = rho A`.
///
/// Source: J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov (2017), Proximal Policy Optimization Algorithms.
// ANCHOR: ppo.ratio
#[inline(always)]
pub fn ratio<F: Real>(log_prob: F, old_log_prob: F) -> F {
    (log_prob - old_log_prob).exp()
}
// ANCHOR_END: ppo.ratio

/// The clipped objective of one sample.
///
/// ID `ppo.clip-form`: `min(rho A, clip(rho, 1 - eps, 1 + eps) A)`, which is `A min(rho, 1 + eps)` for `A >= 0` and
/// `A max(rho, 1 - eps)` for `A < 0`. It never exceeds `rho A`, and has no lower bound when `A < 0`. Computed in the second
/// form: the first would multiply an infinite ratio by an advantage of 0.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, equation 7.
#[doc(alias = "clip_range")]
#[doc(alias = "clip_coef")]
// ANCHOR: ppo.clip-form
#[inline(always)]
pub fn clip<F: Real>(ratio: F, advantage: F, clip_eps: F) -> F {
    let (low, high) = (F::one() - clip_eps, F::one() + clip_eps);
    let bounded = if advantage >= F::zero() {
        if ratio > high { high } else { ratio }
    } else if ratio < low {
        low
    } else {
        ratio
    };
    bounded * advantage
}
// ANCHOR_END: ppo.clip-form

/// Whether the clipped objective of one sample is flat: the ratio has passed the bound that the advantage pushes it to.
///
/// ID `ppo.clip-no-constraint`: such a sample stops pulling, and nothing more. Its ratio is not brought back, and keeps
/// moving as other samples move the parameters that they share, so neither the ratio nor the divergence is bounded.
///
/// Source: L. Engstrom, A. Ilyas, S. Santurkar, D. Tsipras, F. Janoos, L. Rudolph, A. Madry (2020), Implementation Matters
/// in Deep Policy Gradients.
// ANCHOR: ppo.clip-no-constraint
#[inline(always)]
pub fn is_flat<F: Real>(ratio: F, advantage: F, clip_eps: F) -> bool {
    (advantage > F::zero()) & (ratio > F::one() + clip_eps)
        | (advantage < F::zero()) & (ratio < F::one() - clip_eps)
}
// ANCHOR_END: ppo.clip-no-constraint

/// The slope of [`clip`] in the ratio.
///
/// ID `ppo.clip-zones`: `A`, except 0 where `A > 0` and `rho > 1 + eps`, or `A < 0` and `rho < 1 - eps`. A sample that moved
/// the wrong way keeps its full slope. At the bounds themselves it is `A`.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, figure 1.
// ANCHOR: ppo.clip-zones
#[inline(always)]
pub fn clip_grad<F: Real>(ratio: F, advantage: F, clip_eps: F) -> F {
    if is_flat(ratio, advantage, clip_eps) { F::zero() } else { advantage }
}
// ANCHOR_END: ppo.clip-zones

/// What [`clip_loss`] measures on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClipStats<F> {
    /// The mean of `-clip(rho, A, eps)`.
    pub loss: F,
    /// The share of samples with `|rho - 1| > eps`, whatever their advantage.
    pub clip_fraction: F,
    /// The share of samples without a slope ([`is_flat`]).
    pub flat_fraction: F,
    /// `KL(old || new)` estimated by the mean of `rho - 1 - log rho` (k3), never negative.
    pub approx_kl: F,
    /// `KL(old || new)` estimated by the mean of `-log rho` (k1), of either sign.
    #[doc(alias = "old_approx_kl")]
    pub approx_kl_k1: F,
}

/// At most `BLOCK` samples: their gradients, and their terms of the five sums.
#[inline(always)]
fn clip_block<F: Real>(
    log_prob: &[F],
    old_log_prob: &[F],
    advantage: &[F],
    clip_eps: F,
    scale: F,
    d_log_prob: &mut [F],
    Sums([objective, outside, flat, k3, k1]): &mut Sums<F, 5>,
) {
    let n = log_prob.len().min(BLOCK);
    let (log_prob, old_log_prob, advantage) = (&log_prob[..n], &old_log_prob[..n], &advantage[..n]);
    let d_log_prob = &mut d_log_prob[..n];
    let one_if = |condition: bool| if condition { F::one() } else { F::zero() };
    for i in 0..n {
        let log_ratio = log_prob[i] - old_log_prob[i];
        let ratio = log_ratio.vexp();
        let slope = clip_grad(ratio, advantage[i], clip_eps);
        // A select: the ratio of a sample without a slope may be infinite.
        d_log_prob[i] = if slope == F::zero() { F::zero() } else { -scale * (ratio * slope) };
        objective[i] += clip(ratio, advantage[i], clip_eps);
        outside[i] += one_if((ratio - F::one()).abs() > clip_eps);
        flat[i] += one_if(is_flat(ratio, advantage[i], clip_eps));
        k3[i] += exp_minus_tangent(log_ratio, ratio);
        k1[i] -= log_ratio;
    }
}

multiversion! {
    fn clip_loss_body<F: Real>(
        log_prob: &[F], old_log_prob: &[F], advantage: &[F], clip_eps: F, d_log_prob: &mut [F],
    ) -> ClipStats<F> {
        let scale = F::one() / F::of(log_prob.len() as f64);
        let mut sums = Sums::<F, 5>::new();
        let batch = log_prob.chunks(BLOCK).zip(old_log_prob.chunks(BLOCK)).zip(advantage.chunks(BLOCK));
        for (((new, old), advantage), d) in batch.zip(d_log_prob.chunks_mut(BLOCK)) {
            clip_block(new, old, advantage, clip_eps, scale, d, &mut sums);
        }
        let [objective, outside, flat, k3, k1] = sums.totals();
        ClipStats {
            loss: -scale * objective,
            clip_fraction: scale * outside,
            flat_fraction: scale * flat,
            approx_kl: scale * k3,
            approx_kl_k1: scale * k1,
        }
    }
}

/// The clipped loss of a batch, its gradient and its statistics, in one pass.
///
/// IDs `ppo.clip-form`, `ppo.clip-zones`: `loss = -mean min(rho A, clip(rho, 1 - eps, 1 + eps) A)` and
/// `d_log_prob_i = -rho_i slope_i / B`.
///
/// Shapes: all `[B]`; `d_log_prob` is overwritten. In `f32` the ratio has a relative error below 1.5e-7 and the gradient
/// no more than a few units in the last place beside it. Every instruction set gives the same bits. An empty batch gives
/// zeros.
///
/// # Panics
/// If two lengths differ or `clip_eps` is negative.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, equation 7.
pub fn clip_loss<F: Real>(
    log_prob: &[F],
    old_log_prob: &[F],
    advantage: &[F],
    clip_eps: F,
    d_log_prob: &mut [F],
) -> ClipStats<F> {
    same_lengths(log_prob, old_log_prob, advantage, d_log_prob);
    assert!(clip_eps >= F::zero(), "clip_eps is {clip_eps} but must not be negative");
    if log_prob.is_empty() {
        return ClipStats::default();
    }
    clip_loss_body(log_prob, old_log_prob, advantage, clip_eps, d_log_prob)
}

#[track_caller]
fn same_lengths<F>(log_prob: &[F], old_log_prob: &[F], advantage: &[F], d_log_prob: &[F]) {
    let n = log_prob.len();
    let others = [("old_log_prob", old_log_prob), ("advantage", advantage), ("d_log_prob", d_log_prob)];
    for (name, other) in others {
        assert!(other.len() == n, "log_prob has {n} entries but {name} has {}", other.len());
    }
}

/// The gradient of the clipped loss at the acting policy itself, where every ratio is 1.
///
/// ID `ppo.first-step`: `-A_i / B` per log-probability for every `eps > 0`, the plain policy gradient: on the first
/// minibatch after collection no clip is active and the divergence has no slope, so neither limits that step.
///
/// Shapes: both `[B]`; `d_log_prob` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms.
// ANCHOR: ppo.first-step
pub fn first_step<F: Real>(advantage: &[F], d_log_prob: &mut [F]) {
    let n = advantage.len();
    assert!(n == d_log_prob.len(), "advantage has {n} entries but d_log_prob has {}", d_log_prob.len());
    let scale = F::one() / F::of(n as f64);
    for (d, &a) in d_log_prob.iter_mut().zip(advantage) {
        *d = -scale * a;
    }
}
// ANCHOR_END: ppo.first-step

/// Which policy comes first in a Kullback-Leibler divergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `KL(old || new) = E_old[log pi_old - log pi]`.
    OldNew,
    /// `KL(new || old) = E_new[log pi - log pi_old] = E_old[rho log rho]`.
    NewOld,
}

/// The divergence of one sample of the acting policy, never negative, from the logarithm of its ratio.
///
/// `rho - 1 - log rho` for [`Direction::OldNew`], `rho log rho - rho + 1` for [`Direction::NewOld`]. The terms without a
/// logarithm have mean 0 where the acting policy covers the trained one; with them the slope is 0 at `rho = 1` for each
/// sample and not only on average.
#[inline(always)]
pub fn divergence<F: Real>(log_ratio: F, direction: Direction) -> F {
    divergence_at(log_ratio, log_ratio.vexp(), direction)
}

#[inline(always)]
fn divergence_at<F: Real>(log_ratio: F, ratio: F, direction: Direction) -> F {
    match direction {
        Direction::OldNew => exp_minus_tangent(log_ratio, ratio),
        // With y = -x: e^x x - e^x + 1 = e^x (e^y - 1 - y); a ratio of 0 is the limit 1.
        Direction::NewOld => {
            if log_ratio.abs() < F::of(0.25) {
                ratio * exp_minus_tangent(-log_ratio, F::one())
            } else if ratio > F::zero() {
                ratio * (log_ratio - F::one()) + F::one()
            } else {
                F::one()
            }
        }
    }
}

/// The slope of [`divergence`] in `log pi`: `rho - 1` or `rho log rho`. Its sign is that of the log-ratio: it pulls back.
#[inline(always)]
pub fn divergence_grad<F: Real>(log_ratio: F, direction: Direction) -> F {
    divergence_grad_at(log_ratio, log_ratio.vexp(), direction)
}

#[inline(always)]
fn divergence_grad_at<F: Real>(log_ratio: F, ratio: F, direction: Direction) -> F {
    match direction {
        // Near 1 the subtraction loses digits: rho - 1 = x + (e^x - 1 - x).
        Direction::OldNew if log_ratio.abs() < F::of(0.25) => log_ratio + exp_minus_tangent(log_ratio, ratio),
        Direction::OldNew => ratio - F::one(),
        Direction::NewOld if ratio > F::zero() => ratio * log_ratio,
        Direction::NewOld => F::zero(),
    }
}

/// What [`penalty_loss`] measures on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PenaltyStats<F> {
    /// The mean of `-(rho A - beta divergence)`.
    pub loss: F,
    /// The mean of [`divergence`] in the direction asked for, what [`adapt_beta`] takes.
    pub kl: F,
}

/// At most `BLOCK` samples: their gradients, and their terms of the two sums.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn penalty_block<F: Real>(
    log_prob: &[F],
    old_log_prob: &[F],
    advantage: &[F],
    beta: F,
    direction: Direction,
    scale: F,
    d_log_prob: &mut [F],
    Sums([objective, kl]): &mut Sums<F, 2>,
) {
    let n = log_prob.len().min(BLOCK);
    let (log_prob, old_log_prob, advantage) = (&log_prob[..n], &old_log_prob[..n], &advantage[..n]);
    let d_log_prob = &mut d_log_prob[..n];
    for i in 0..n {
        let log_ratio = log_prob[i] - old_log_prob[i];
        let ratio = log_ratio.vexp();
        let pull = divergence_grad_at(log_ratio, ratio, direction);
        d_log_prob[i] = -scale * (ratio * advantage[i] - beta * pull);
        objective[i] += ratio * advantage[i];
        kl[i] += divergence_at(log_ratio, ratio, direction);
    }
}

multiversion! {
    fn penalty_body<F: Real>(
        log_prob: &[F], old_log_prob: &[F], advantage: &[F], beta: F, direction: Direction, d_log_prob: &mut [F],
    ) -> PenaltyStats<F> {
        let scale = F::one() / F::of(log_prob.len() as f64);
        let mut sums = Sums::<F, 2>::new();
        let batch = log_prob.chunks(BLOCK).zip(old_log_prob.chunks(BLOCK)).zip(advantage.chunks(BLOCK));
        for (((new, old), advantage), d) in batch.zip(d_log_prob.chunks_mut(BLOCK)) {
            // The direction is a constant in each loop.
            match direction {
                Direction::OldNew => penalty_block(new, old, advantage, beta, Direction::OldNew, scale, d, &mut sums),
                Direction::NewOld => penalty_block(new, old, advantage, beta, Direction::NewOld, scale, d, &mut sums),
            }
        }
        let [objective, kl] = sums.totals();
        let kl = scale * kl;
        PenaltyStats { loss: beta * kl - scale * objective, kl }
    }
}

/// The penalised loss of a batch, its gradient and the measured divergence, in one pass.
///
/// ID `ppo.penalty`: `loss = -mean(rho A) + beta KL` with the divergence estimated by [`divergence`] in the declared
/// direction. `d_log_prob_i = -(rho_i A_i - beta slope_i) / B`.
///
/// Shapes: all `[B]`; `d_log_prob` is overwritten. An empty batch gives zeros.
///
/// # Panics
/// If two lengths differ or `beta` is negative.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, equation 8.
pub fn penalty_loss<F: Real>(
    log_prob: &[F],
    old_log_prob: &[F],
    advantage: &[F],
    beta: F,
    direction: Direction,
    d_log_prob: &mut [F],
) -> PenaltyStats<F> {
    same_lengths(log_prob, old_log_prob, advantage, d_log_prob);
    assert!(beta >= F::zero(), "beta is {beta} but must not be negative");
    if log_prob.is_empty() {
        return PenaltyStats::default();
    }
    penalty_body(log_prob, old_log_prob, advantage, beta, direction, d_log_prob)
}

/// The penalised objective of one state, exactly: `sum_a pi(a) A(a) - beta KL`, with both policies as probabilities.
///
/// ID `ppo.penalty`. Both directions have slope 0 and the Fisher matrix as curvature at `pi = pi_old`. Where the second
/// policy of the direction puts 0 and the first does not, the divergence is infinite and the objective `-inf`.
///
/// Shapes: all `[A]`.
///
/// # Panics
/// If two lengths differ.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, equation 8.
// ANCHOR: ppo.penalty
pub fn penalty<F: Real>(prob: &[F], old_prob: &[F], advantage: &[F], beta: F, direction: Direction) -> F {
    let n = prob.len();
    assert!(n == old_prob.len(), "prob has {n} entries but old_prob has {}", old_prob.len());
    assert!(n == advantage.len(), "prob has {n} entries but advantage has {}", advantage.len());
    let gain = prob.iter().zip(advantage).map(|(&p, &a)| p * a).sum::<F>();
    if beta == F::zero() {
        return gain;
    }
    let (first, second) = match direction {
        Direction::OldNew => (old_prob, prob),
        Direction::NewOld => (prob, old_prob),
    };
    let term = |(&p, &q): (&F, &F)| if p > F::zero() { p * (p / q).ln() } else { F::zero() };
    gain - beta * first.iter().zip(second).map(term).sum::<F>()
}

/// The policy that maximises [`penalty`] in one state for [`Direction::NewOld`]: `pi(a)` proportional to
/// `pi_old(a) exp(A(a) / beta)`. It is not the maximiser of the other direction.
///
/// Shapes: all `[A]`; `prob` is overwritten.
///
/// # Panics
/// If two lengths differ or `beta` is not positive.
///
/// Source: J. Peters, K. Mülling, Y. Altün (2010), Relative Entropy Policy Search.
pub fn penalty_maximiser<F: Real>(old_prob: &[F], advantage: &[F], beta: F, prob: &mut [F]) {
    let n = old_prob.len();
    assert!(n == advantage.len(), "old_prob has {n} entries but advantage has {}", advantage.len());
    assert!(n == prob.len(), "old_prob has {n} entries but prob has {}", prob.len());
    assert!(
        beta > F::zero(),
        "beta is {beta} but must be positive: without a penalty the best action takes all"
    );
    // Only actions that the acting policy takes count; the largest exponent is 0, so nothing overflows.
    let taken = |i: usize| old_prob[i] > F::zero();
    let highest = (0..n).filter(|&i| taken(i)).map(|i| advantage[i]).fold(F::neg_infinity(), F::max);
    for i in 0..n {
        prob[i] = if taken(i) { old_prob[i] * ((advantage[i] - highest) / beta).exp() } else { F::zero() };
    }
    let total = prob.iter().copied().sum::<F>();
    for p in prob.iter_mut() {
        *p /= total;
    }
}
// ANCHOR_END: ppo.penalty

/// The next weight of the penalty from the divergence that this phase ended with.
///
/// ID `ppo.beta-adapt`: halved if `kl < target_kl / 1.5`, doubled if `kl > 1.5 target_kl`, else kept. Once per phase, after the
/// update.
///
/// Source: J. Schulman et al. (2017), Proximal Policy Optimization Algorithms, section 4.
// ANCHOR: ppo.beta-adapt
pub fn adapt_beta<F: Real>(beta: F, kl: F, target_kl: F) -> F {
    let tolerance = F::of(1.5);
    if kl < target_kl / tolerance {
        beta / F::of(2.0)
    } else if kl > target_kl * tolerance {
        beta * F::of(2.0)
    } else {
        beta
    }
}
// ANCHOR_END: ppo.beta-adapt

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;

    #[test]
    fn four_zones() {
        let ratios = [0.5, 0.9, 1.1, 1.5];
        assert_eq!(ratios.map(|r| clip_grad(r, 1.0, 0.2)), [1.0, 1.0, 1.0, 0.0]);
        assert_eq!(ratios.map(|r| clip_grad(r, -1.0, 0.2)), [0.0, -1.0, -1.0, -1.0]);
        assert_eq!(ratios.map(|r| clip(r, 1.0, 0.2)), [0.5, 0.9, 1.1, 1.2]);
        assert_eq!(ratios.map(|r| clip(r, -1.0, 0.2)), [-0.8, -0.9, -1.1, -1.5]);
    }

    fn batch(n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let wave = |step: f64| (0..n).map(|i| (step * (i + 1) as f64).sin()).collect::<Vec<_>>();
        let old = wave(0.3);
        let new = old.iter().zip(wave(1.7)).map(|(o, w)| o + 0.5 * w).collect();
        (new, old, wave(2.3))
    }

    #[test]
    fn the_batch_form_is_the_mean_of_the_samples() {
        let (new, old, advantage) = batch(37);
        let mut d = vec![0.0; 37];
        let stats = clip_loss(&new, &old, &advantage, 0.2, &mut d);
        let r: Vec<f64> = new.iter().zip(&old).map(|(n, o)| ratio(*n, *o)).collect();
        let mean = |f: &dyn Fn(usize) -> f64| (0..37).map(f).sum::<f64>() / 37.0;
        assert!((stats.loss + mean(&|i| clip(r[i], advantage[i], 0.2))).abs() < 1e-14);
        assert!((stats.approx_kl - mean(&|i| r[i] - 1.0 - r[i].ln())).abs() < 1e-13);
        assert!((stats.approx_kl_k1 - mean(&|i| old[i] - new[i])).abs() < 1e-14);
        assert!((stats.clip_fraction - mean(&|i| f64::from((r[i] - 1.0).abs() > 0.2))).abs() < 1e-14);
        assert!(stats.flat_fraction < stats.clip_fraction);
        for i in 0..37 {
            assert!((d[i] + r[i] * clip_grad(r[i], advantage[i], 0.2) / 37.0).abs() < 1e-15);
        }
    }

    #[test]
    fn single_precision_agrees_and_every_level_gives_the_same_bits() {
        for n in [1, 15, 16, 17, 100] {
            let (new, old, advantage) = batch(n);
            let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (new, old, advantage) = (narrow(&new), narrow(&old), narrow(&advantage));
            let results = at_every_level(|| {
                let (mut d, mut e, mut f) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
                let stats = clip_loss(&new, &old, &advantage, 0.2, &mut d);
                let one = penalty_loss(&new, &old, &advantage, 0.5, Direction::OldNew, &mut e);
                let two = penalty_loss(&new, &old, &advantage, 0.5, Direction::NewOld, &mut f);
                (stats, one, two, d, e, f)
            });
            assert!(results.iter().all(|r| *r == results[0]));
            let mut d = vec![0.0; n];
            let exact = clip_loss(&wide(&new), &wide(&old), &wide(&advantage), 0.2f32.into(), &mut d);
            assert!((f64::from(results[0].0.loss) - exact.loss).abs() < 1e-6);
            assert!((f64::from(results[0].0.approx_kl) / exact.approx_kl - 1.0).abs() < 1e-5);
            assert!(results[0].3.iter().zip(&d).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6 / n as f64));
        }
    }

    #[test]
    fn an_infinite_ratio_has_a_slope_only_where_the_objective_has() {
        let mut d = [f64::NAN; 3];
        let stats = clip_loss(&[0.0; 3], &[-800.0; 3], &[1.0, 0.0, -1.0], 0.2, &mut d);
        assert_eq!((d, stats.loss), ([0.0, 0.0, f64::INFINITY], f64::INFINITY));
    }

    #[test]
    fn the_divergence_keeps_its_digits_near_zero() {
        for exponent in [-1, -2, -4, -8] {
            for sign in [-1.0, 1.0] {
                let x = sign * 10f64.powi(exponent);
                let series =
                    x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0))));
                let k3 = divergence(x, Direction::OldNew);
                assert!((k3 / series - 1.0).abs() < 1e-8, "{x}: {k3} against {series}");
                let single = f64::from(divergence(x as f32, Direction::OldNew));
                assert!((single / series - 1.0).abs() < 1e-6);
            }
        }
        assert_eq!(divergence(-800.0, Direction::NewOld), 1.0);
        assert_eq!(divergence(f64::NEG_INFINITY, Direction::NewOld), 1.0);
    }

    #[test]
    fn the_two_directions_of_the_penalty() {
        let kl = |direction| -penalty(&[0.9, 0.1], &[0.5, 0.5], &[0.0, 0.0], 1.0, direction);
        assert!((kl(Direction::OldNew) - 0.510826f64).abs() < 1e-6);
        assert!((kl(Direction::NewOld) - 0.368064f64).abs() < 1e-6);
        let mut best = [0.0; 3];
        penalty_maximiser(&[0.5, 0.5, 0.0], &[2.0 * 9f64.ln(), 0.0, 9e9], 2.0, &mut best);
        assert!((best[0] - 0.9).abs() < 1e-15 && (best[1] - 0.1).abs() < 1e-15 && best[2] == 0.0);
    }

    #[test]
    fn beta_moves_by_factors_of_two() {
        let moves = [0.0, 0.06, 0.1, 0.15, 0.16].map(|kl| adapt_beta(1.0, kl, 0.1));
        assert_eq!(moves, [0.5, 0.5, 1.0, 1.0, 2.0]);
    }
}
