//! Proximal policy optimisation: `ppo.*`.
//!
//! The surrogates, value losses and rules under test are compared with the definitions written out, with exact sums over all
//! actions or trajectories, and with central differences. The checks of the training loop itself are in `ppo/training.rs`.

pub(super) mod training;

use super::gae::Paths;
use crate::generators::{Batch, Mdp, Policy, batch, normal, normals, simplex_pair, tiny_and_policy, unit};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{chain, gradient, mean_reward, samples};
use crate::{Check, fixed, random};
use ndarray::{Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::estimators::{approx_kl, should_stop};
use rederive_math::surrogate::{self, Direction};
use rederive_math::{End, Real, Stream, categorical, gae, normalise, value_loss};
use rederive_nn::{Activation, Mlp, Optimizer, OptimizerConfig};
use rederive_ppo::loss::{self, Coefficients, Gradients, Surrogate};
use rederive_train::Minibatches;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let eps = || prop_oneof![8 => 0.01..0.99f64, 1 => Just(0.0)];
    let logits = || (vec((-2.0..=2.0f64, -2.0..=2.0f64, -2.0..=2.0f64), 2..=5)).prop_map(Bandit::from);
    let mut checks = vec![
        random("ppo.ratio", "gradient", TOL_FD, logits(), ratio_gradient),
        random("ppo.ratio", "definition", TOL_ID, simplex_pair(), ratio_definition),
        fixed("ppo.ratio", "edges", TOL_ID, ratio_edges),
        fixed("ppo.ratio", "state-distribution", TOL_ID, ratio_state_distribution),
        random("ppo.clip-form", "definition", TOL_ID, (batch(), eps()), clip_definition),
        random("ppo.clip-form", "bounds", TOL_INEQ, (-8.0..=8.0f64, normal(), eps()), clip_bounds),
        random("ppo.clip-form", "batch", TOL_ID, (batch(), eps()), clip_batch),
        fixed("ppo.clip-form", "edges", EXACT, clip_edges),
        random("ppo.clip-form", "single-precision", 1e-5, (batch(), eps()), clip_single_precision),
        random("ppo.clip-zones", "gradient", TOL_FD, (batch(), eps()), zones_gradient),
        fixed("ppo.clip-zones", "closed", EXACT, zones_closed),
        fixed("ppo.clip-zones", "kinks", EXACT, zones_kinks),
        random(
            "ppo.first-step",
            "gradient",
            TOL_FD,
            (logits(), vec(any::<u8>(), 1..=32), eps()),
            first_step_gradient,
        ),
        fixed("ppo.first-step", "second-minibatch", TOL_STAT, first_step_closed),
        fixed("ppo.clip-no-constraint", "shared-parameter", TOL_STAT, no_constraint),
        fixed("ppo.clip-no-constraint", "tabular", EXACT, no_constraint_tabular),
        random("ppo.penalty", "definition", TOL_ID, (logits(), 0.05..=5.0f64), penalty_definition),
        random("ppo.penalty", "gradient", TOL_FD, (logits(), 0.05..=5.0f64), penalty_gradient),
        random("ppo.penalty", "first-step", TOL_FD, (logits(), 0.05..=5.0f64), penalty_first_step),
        random("ppo.penalty", "curvature", 1e-5, logits(), penalty_curvature),
        random(
            "ppo.penalty",
            "maximiser",
            TOL_INEQ,
            (logits(), 0.05..=5.0f64, any::<u64>()),
            penalty_maximiser,
        ),
        random("ppo.penalty", "batch", TOL_FD, (batch(), 0.0..=5.0f64), penalty_batch),
        random("ppo.penalty", "single-precision", 1e-5, (batch(), 0.0..=5.0f64), penalty_single_precision),
        fixed("ppo.penalty", "closed", TOL_STAT, penalty_closed),
        random("ppo.beta-adapt", "definition", EXACT, (vec(0.0..=4.0f64, 1..=60), 0.01..=2.0f64), beta_adapt),
        fixed("ppo.beta-adapt", "edges", EXACT, beta_adapt_edges),
        random("ppo.value-loss", "gradient", TOL_FD, value_batch(), value_gradient),
        random("ppo.value-loss", "single-precision", 1e-5, value_batch(), value_single_precision),
        random(
            "ppo.value-loss",
            "minimiser",
            TOL_SOLVE,
            (tiny_and_policy(), normals(15), unit()),
            value_minimiser,
        )
        .at_most(96),
        random(
            "ppo.value-loss",
            "stationary-point",
            TOL_ID,
            (vec((0..5usize, normal()), 1..=40), 0.1..=3.0f64),
            value_stationary_point,
        ),
        fixed("ppo.value-loss", "pooled-over-time", TOL_ID, value_pooled),
        random(
            "ppo.value-loss",
            "explained-variance",
            TOL_ID,
            vec((normal(), normal()), 2..=60),
            explained_variance,
        ),
        fixed("ppo.target-reuse", "definition", 1e-6, target_reuse),
        random("ppo.total-loss", "definition", TOL_ID, (total_batch(), coefficients()), total_definition),
        random("ppo.total-loss", "gradient", TOL_FD, (total_batch(), coefficients()), total_gradient),
        random(
            "ppo.total-loss",
            "shared-trunk",
            TOL_FD,
            (normals(18), normals(12), 0.1..=2.0f64, 0.0..=1.0f64),
            total_shared_trunk,
        ),
        random(
            "ppo.adv-norm",
            "definition",
            TOL_ID,
            (normals(2..=64), prop_oneof![Just(0.0), 1e-8..=1.0f64]),
            norm_definition,
        ),
        random(
            "ppo.adv-norm",
            "mask",
            TOL_ID,
            (vec((normal(), any::<bool>()), 1..=64), 0.0..=0.1f64),
            norm_mask,
        ),
        random(
            "ppo.adv-norm",
            "affine",
            TOL_ID,
            (normals(2..=64), 0.1..=10.0f64, -5.0..=5.0f64),
            norm_affine,
        ),
        random("ppo.adv-norm", "single-precision", 2e-5, normals(2..=200), norm_single_precision),
        random(
            "ppo.adv-norm",
            "equal-values",
            EXACT,
            (-1e3..=1e3f64, 1..=70usize, prop_oneof![Just(0.0), Just(1e-8)]),
            norm_equal,
        ),
        fixed("ppo.adv-norm", "closed", TOL_STAT, norm_closed),
        fixed("ppo.adv-norm", "biased", EXACT, norm_biased),
        random(
            "ppo.early-stop",
            "definition",
            EXACT,
            (vec(0.0..=0.1f64, 1..=40), prop_oneof![0.0..=0.12f64, Just(0.0)]),
            early_stop_definition,
        ),
        random("ppo.early-stop", "estimators", TOL_ID, simplex_pair(), early_stop_estimators),
        fixed("ppo.early-stop", "edges", EXACT, early_stop_edges),
        random("ppo.epochs", "partition", EXACT, (1..=33usize, 1..=40usize, any::<u64>()), epochs_partition),
        random(
            "ppo.epochs",
            "mean-gradient",
            TOL_ID,
            (normals(1..=33), 1..=8usize, any::<u64>()),
            epochs_mean,
        ),
        fixed("ppo.epochs", "uniform", TOL_STAT, epochs_uniform),
        fixed("ppo.epochs", "closed", TOL_ID, epochs_closed),
    ];
    checks.extend(training::checks());
    checks
}

/// One state: logits of the trained and of the acting policy, and the advantages of the actions.
#[derive(Clone, Debug)]
struct Bandit {
    logits: Vec<f64>,
    old_logits: Vec<f64>,
    advantage: Vec<f64>,
}

impl From<Vec<(f64, f64, f64)>> for Bandit {
    fn from(actions: Vec<(f64, f64, f64)>) -> Self {
        Bandit {
            logits: actions.iter().map(|a| a.0).collect(),
            old_logits: actions.iter().map(|a| a.1).collect(),
            advantage: actions.iter().map(|a| a.2).collect(),
        }
    }
}

impl Bandit {
    fn pi(&self) -> Vec<f64> {
        softmax(&self.logits)
    }

    fn old(&self) -> Vec<f64> {
        softmax(&self.old_logits)
    }
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let total: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / total).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

// ppo.ratio

/// The gradient of `rho A` in the logits: by the score, and by the probabilities themselves.
fn ratio_gradient(bandit: Bandit) -> Result<f64, String> {
    let (pi, old) = (bandit.pi(), bandit.old());
    let mut worst = Worst::new();
    for a in 0..pi.len() {
        let advantage = bandit.advantage[a];
        let truth = gradient(|z| softmax(z)[a] / old[a] * advantage, &bandit.logits);
        let rho = surrogate::ratio(pi[a].ln(), old[a].ln());
        let mut by_score = vec![0.0; pi.len()];
        categorical::add_d_log_prob(&bandit.logits, a, advantage * rho, &mut by_score);
        let by_probability: Vec<f64> = (0..pi.len())
            .map(|b| advantage / old[a] * pi[a] * (f64::from(u8::from(a == b)) - pi[b]))
            .collect();
        worst.gradient(&by_score, &truth).gradient(&by_probability, &truth);
    }
    worst.done()
}

/// The mean ratio is 1, and a mean under the trained policy is a weighted one under the acting policy.
fn ratio_definition((p, q): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let ratios: Vec<f64> = p.iter().zip(&q).map(|(p, q)| surrogate::ratio(p.ln(), q.ln())).collect();
    let mut worst = Worst::new();
    for ((ratio, p), q) in ratios.iter().zip(&p).zip(&q) {
        worst.add((ratio * q - p).abs());
    }
    worst.same(dot(&q, &ratios), 1.0).same(surrogate::ratio(p[0].ln(), p[0].ln()), 1.0);
    worst.done()
}

fn ratio_edges(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    for log_ratio in [-50.0, -1e-9, 0.0, 1e-9, 50.0] {
        let ratio = surrogate::ratio(log_ratio - 60.0, -60.0);
        worst.add((ratio / f64::exp(log_ratio) - 1.0).abs());
    }
    // The acting policy hardly ever does this; the trained one always.
    worst.add((surrogate::ratio(0.0, 1e-300f64.ln()) / 1e300 - 1.0).abs());
    worst.holds(surrogate::ratio(f64::NEG_INFINITY, -1.0) == 0.0);
    worst.done()
}

/// From the first state action `a` leads to one state and `b` to another. The ratio of the second step corrects the action
/// there and not the way there: it leaves the acting policy's 0.1 where the product of both ratios gives 0.9.
fn ratio_state_distribution(_: u64) -> Result<f64, String> {
    let (old, new) = ([0.1, 0.9], [0.9, 0.1]);
    let second_old: [f64; 2] = [0.3, 0.7];
    let second_new: [f64; 2] = [0.6, 0.4];
    let (mut single, mut product) = (0.0, 0.0);
    for second in 0..2 {
        let rho = surrogate::ratio(second_new[second].ln(), second_old[second].ln());
        single += old[0] * second_old[second] * rho;
        product += old[0] * second_old[second] * rho * surrogate::ratio(f64::ln(new[0]), f64::ln(old[0]));
    }
    let mut worst = Worst::new();
    worst.same(single, 0.1).same(product, 0.9);
    worst.done()
}

// ppo.clip-form and ppo.clip-zones

/// The objective as it is printed.
fn naive_clip(ratio: f64, advantage: f64, eps: f64) -> f64 {
    (ratio * advantage).min(ratio.clamp(1.0 - eps, 1.0 + eps) * advantage)
}

/// The ratios of a batch.
fn ratios(batch: &Batch) -> Vec<f64> {
    batch.log_prob.iter().zip(&batch.old_log_prob).map(|(l, o)| (l - o).exp()).collect()
}

fn clip_definition((batch, eps): (Batch, f64)) -> Result<f64, String> {
    let mut worst = Worst::new();
    for (&ratio, &a) in ratios(&batch).iter().zip(&batch.advantage) {
        let got = surrogate::clip(ratio, a, eps);
        let by_sign = if a >= 0.0 { a * ratio.min(1.0 + eps) } else { a * ratio.max(1.0 - eps) };
        let by_bound = (ratio * a).min((1.0 + eps * a.signum()) * a);
        worst.same(got, naive_clip(ratio, a, eps)).same(got, by_sign).same(got, by_bound);
    }
    worst.done()
}

/// A lower bound of the plain surrogate, equal to it at ratio 1; bounded above, and below only where `A >= 0`.
fn clip_bounds((log_ratio, a, eps): (f64, f64, f64)) -> Result<f64, String> {
    let ratio = log_ratio.exp();
    let got = surrogate::clip(ratio, a, eps);
    let mut worst = Worst::new();
    worst.at_most(got, ratio * a).same(surrogate::clip(1.0, a, eps), a);
    worst.at_most(got, if a >= 0.0 { (1.0 + eps) * a } else { -(1.0 - eps) * a.abs() });
    if a >= 0.0 {
        worst.at_most(0.0, got);
    } else {
        worst.holds(surrogate::clip(1e300, a, eps) <= 1e299 * a);
    }
    worst.done()
}

/// The loss and the statistics of a batch, sample by sample.
fn clip_batch((batch, eps): (Batch, f64)) -> Result<f64, String> {
    let mut d = vec![f64::NAN; batch.advantage.len()];
    let got = surrogate::clip_loss(&batch.log_prob, &batch.old_log_prob, &batch.advantage, eps, &mut d);
    let ratios = ratios(&batch);
    let mean = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        ratios.iter().zip(&batch.advantage).map(|(&r, &a)| f(r, a)).sum::<f64>() / ratios.len() as f64
    };
    let share = |f: &dyn Fn(f64, f64) -> bool| mean(&|r, a| f64::from(u8::from(f(r, a))));
    let mut worst = Worst::new();
    worst.same(got.loss, -mean(&|r, a| naive_clip(r, a, eps)));
    worst.same(got.clip_fraction, share(&|r, _| r < 1.0 - eps || r > 1.0 + eps));
    worst.same(got.flat_fraction, share(&|r, a| a > 0.0 && r > 1.0 + eps || a < 0.0 && r < 1.0 - eps));
    worst.same(got.approx_kl, mean(&|r, _| r - 1.0 - r.ln())).same(got.approx_kl_k1, mean(&|r, _| -r.ln()));
    worst.done()
}

fn clip_edges(_: u64) -> Result<f64, String> {
    let clip = surrogate::clip::<f64>;
    let inf = f64::INFINITY;
    for ratio in [0.0, 0.5, 1.0, 7.0] {
        require(clip(ratio, 0.0, 0.2) == 0.0, || format!("advantage 0 at ratio {ratio}"))?;
        require(surrogate::clip_grad(ratio, 0.0, 0.2) == 0.0, || format!("slope of advantage 0 at {ratio}"))?;
    }
    // At the bounds both forms are the same; without an interval only the wrong direction counts.
    require(clip(1.25, 2.0, 0.25) == 2.5 && clip(0.75, -2.0, 0.25) == -1.5, || "at the bounds".to_owned())?;
    require(clip(1.5, 2.0, 0.0) == 2.0 && clip(0.5, 2.0, 0.0) == 1.0, || "no interval, A > 0".to_owned())?;
    require(clip(0.5, -2.0, 0.0) == -2.0 && clip(1.5, -2.0, 0.0) == -3.0, || {
        "no interval, A < 0".to_owned()
    })?;
    require(clip(inf, 1.0, 0.2) == 1.2 && clip(inf, -1.0, 0.2) == -inf, || "an infinite ratio".to_owned())?;
    require(clip(f64::NAN, 1.0, 0.2).is_nan() && clip(f64::NAN, -1.0, 0.2).is_nan(), || {
        "NaN is hidden".to_owned()
    })?;
    // A sample that the trained policy has all but given up, and one that it now always takes.
    let mut d = [f64::NAN; 2];
    let stats = surrogate::clip_loss(&[-800.0, 0.0], &[-1.0, -800.0], &[-1.0, 1.0], 0.2, &mut d);
    require(stats.loss == -0.5 * (-0.8 + 1.2) && d == [0.0, 0.0], || format!("{stats:?} {d:?}"))?;
    require(surrogate::clip_loss::<f64>(&[], &[], &[], 0.2, &mut []).loss == 0.0, || {
        "an empty batch".to_owned()
    })?;
    Ok(0.0)
}

fn clip_single_precision((batch, eps): (Batch, f64)) -> Result<f64, String> {
    let (new, old, a) = (narrow(&batch.log_prob), narrow(&batch.old_log_prob), narrow(&batch.advantage));
    let eps = f64::from(eps as f32);
    let wide = Batch { log_prob: widen(&new), old_log_prob: widen(&old), advantage: widen(&a) };
    let near = |&r: &f64| (r - 1.0 - eps).abs() < 1e-5 || (r - 1.0 + eps).abs() < 1e-5;
    if ratios(&wide).iter().any(near) {
        // Rounding decides on which side of the bound such a sample lies.
        return Ok(0.0);
    }
    let mut d = vec![f32::NAN; a.len()];
    let got = surrogate::clip_loss(&new, &old, &a, eps as f32, &mut d);
    let mut want_d = vec![f64::NAN; a.len()];
    let want = surrogate::clip_loss(&wide.log_prob, &wide.old_log_prob, &wide.advantage, eps, &mut want_d);
    let mut worst = Worst::new();
    worst.all(&widen(&d), &want_d).same(got.loss.into(), want.loss);
    worst
        .same(got.clip_fraction.into(), want.clip_fraction)
        .same(got.flat_fraction.into(), want.flat_fraction);
    worst.same(got.approx_kl.into(), want.approx_kl).same(got.approx_kl_k1.into(), want.approx_kl_k1);
    worst.done()
}

/// Slope in the ratio and gradient in the log-probabilities, away from the kinks.
fn zones_gradient((batch, eps): (Batch, f64)) -> Result<f64, String> {
    let ratios = ratios(&batch);
    let near = |r: f64| (r - 1.0 - eps).abs() < 1e-3 || (r - 1.0 + eps).abs() < 1e-3;
    let kept: Vec<usize> = (0..ratios.len()).filter(|&i| !near(ratios[i])).collect();
    let pick = |x: &[f64]| kept.iter().map(|&i| x[i]).collect::<Vec<f64>>();
    let (new, old, a) = (pick(&batch.log_prob), pick(&batch.old_log_prob), pick(&batch.advantage));
    let mut worst = Worst::new();
    for (r, &a) in pick(&ratios).into_iter().zip(&a) {
        let slope = crate::oracles::derivative(|r| naive_clip(r, a, eps), r);
        worst.gradient(&[surrogate::clip_grad(r, a, eps)], &[slope]);
        let zone = if a > 0.0 && r > 1.0 + eps || a < 0.0 && r < 1.0 - eps { 0.0 } else { a };
        worst.gradient(&[zone], &[slope]).holds(surrogate::is_flat(r, a, eps) == (zone == 0.0 && a != 0.0));
    }
    let mut d = vec![f64::NAN; a.len()];
    surrogate::clip_loss(&new, &old, &a, eps, &mut d);
    let loss = |new: &[f64]| -> f64 {
        let terms = new.iter().zip(&old).zip(&a).map(|((n, o), &a)| naive_clip((n - o).exp(), a, eps));
        -terms.sum::<f64>() / a.len() as f64
    };
    worst.gradient(&d, &gradient(loss, &new));
    worst.done()
}

/// The four zones, and what setting the slope to 0 wherever the ratio leaves the interval would give instead.
fn zones_closed(_: u64) -> Result<f64, String> {
    for (a, want) in [(1.0, [1.0, 1.0, 1.0, 0.0]), (-1.0, [0.0, -1.0, -1.0, -1.0])] {
        for (ratio, want) in [0.5, 0.9, 1.1, 1.5].into_iter().zip(want) {
            let got = surrogate::clip_grad(ratio, a, 0.2);
            require(got == want, || format!("slope {got} at ratio {ratio}, advantage {a}"))?;
            let single = surrogate::clip_grad(ratio as f32, a as f32, 0.2);
            require(f64::from(single) == want, || format!("f32 slope {single} at ratio {ratio}"))?;
        }
    }
    Ok(0.0)
}

/// At a bound, any value between the slopes of both sides; inside, where both arguments of the minimum are equal, `A`.
fn zones_kinks(_: u64) -> Result<f64, String> {
    for eps in [0.0, 0.125, 0.25, 0.5] {
        for a in [1.0, -1.0, 3.5] {
            for bound in [1.0 - eps, 1.0 + eps] {
                let got = surrogate::clip_grad(bound, a, eps) / a;
                require((0.0..=1.0).contains(&got), || format!("slope {got} A at the bound {bound}"))?;
            }
            for ratio in [1.0, 1.0 - 0.5 * eps, 1.0 + 0.5 * eps] {
                let got = surrogate::clip_grad(ratio, a, eps);
                require(eps == 0.0 || got == a, || {
                    format!("slope {got} inside, at {ratio}, eps {eps}, A {a}")
                })?;
            }
        }
    }
    Ok(0.0)
}

// ppo.first-step

/// Samples of the acting policy at that policy: the clipped loss has the gradient of REINFORCE, whatever the interval, and
/// a penalty of any weight has no pull.
fn first_step_gradient((bandit, draws, eps): (Bandit, Vec<u8>, f64)) -> Result<f64, String> {
    let eps = eps.max(0.01);
    let n = bandit.logits.len();
    let actions: Vec<usize> = draws.iter().map(|&d| d as usize % n).collect();
    let z = &bandit.logits;
    let old: Vec<f64> = actions.iter().map(|&a| softmax(z)[a].ln()).collect();
    let advantage: Vec<f64> =
        actions.iter().enumerate().map(|(i, &a)| bandit.advantage[a] + 0.1 * i as f64).collect();
    let batch = actions.len() as f64;
    // What is differentiated: the printed objective, with the acting policy's probabilities frozen.
    let objective = |z: &[f64]| -> f64 {
        let term = |i: usize| naive_clip(softmax(z)[actions[i]] / old[i].exp(), advantage[i], eps);
        -(0..actions.len()).map(term).sum::<f64>() / batch
    };
    let truth = gradient(objective, z);
    let reinforce: Vec<f64> = (0..n)
        .map(|b| {
            let score = |i: usize| f64::from(u8::from(actions[i] == b)) - softmax(z)[b];
            -(0..actions.len()).map(|i| advantage[i] * score(i)).sum::<f64>() / batch
        })
        .collect();
    let log_prob: Vec<f64> = actions.iter().map(|&a| categorical::log_prob(z, a)).collect();
    let through = |d: &[f64]| {
        let mut grad = vec![0.0; n];
        for (&a, &d) in actions.iter().zip(d) {
            categorical::add_d_log_prob(z, a, d, &mut grad);
        }
        grad
    };
    let mut d = vec![f64::NAN; actions.len()];
    let mut worst = Worst::new();
    worst.gradient(&reinforce, &truth);
    let stats = surrogate::clip_loss(&log_prob, &log_prob, &advantage, eps, &mut d);
    worst.gradient(&through(&d), &truth);
    worst.holds((stats.clip_fraction, stats.flat_fraction, stats.approx_kl) == (0.0, 0.0, 0.0));
    surrogate::first_step(&advantage, &mut d);
    worst.gradient(&through(&d), &truth);
    for direction in [Direction::OldNew, Direction::NewOld] {
        surrogate::penalty_loss(&log_prob, &log_prob, &advantage, 7.0, direction, &mut d);
        worst.gradient(&through(&d), &truth);
    }
    worst.done()
}

/// One sample of a policy with one logit at 0, advantage 1: the first minibatch is unclipped and takes the ratio to
/// 1.99991; the second sees it and has no gradient. With the acting policy refreshed in between it would see a ratio of 1.
fn first_step_closed(seed: u64) -> Result<f64, String> {
    let mut minibatches = Minibatches::new(1, 1);
    let mut rng = Stream::new(seed, "first-step-check", 0);
    let run = |minibatches: &mut Minibatches, rng: &mut Stream, refresh: bool| {
        let mut sgd = Optimizer::new(OptimizerConfig::Sgd { momentum: 0.0 }, 1);
        let mut theta = [0.0f64];
        let mut old_log_prob = [categorical::log_prob(&[theta[0], 0.0], 0)];
        let mut seen = Vec::new();
        for _ in 0..2 {
            minibatches.shuffle(rng);
            for list in 0..minibatches.count() {
                let logits = [theta[0], 0.0];
                let log_prob: Vec<f64> =
                    minibatches.get(list).iter().map(|_| categorical::log_prob(&logits, 0)).collect();
                if refresh {
                    old_log_prob = [log_prob[0]];
                }
                let mut d = [f64::NAN];
                surrogate::clip_loss(&log_prob, &old_log_prob, &[1.0], 0.2, &mut d);
                let mut grad = [0.0; 2];
                categorical::add_d_log_prob(&logits, 0, d[0], &mut grad);
                seen.push((surrogate::ratio(log_prob[0], old_log_prob[0]), grad[0]));
                sgd.step(&mut theta, &grad[..1], 20.0);
            }
        }
        seen
    };
    let seen = run(&mut minibatches, &mut rng, false);
    let refreshed = run(&mut minibatches, &mut rng, true);
    let mut worst = Worst::new();
    worst.printed(seen[0].0, 1.0, 12).printed(seen[0].1, -0.5, 12);
    worst.printed(seen[1].0, 1.99991, 5).printed(seen[1].1, 0.0, 12);
    worst.printed(refreshed[1].0, 1.0, 12).printed(refreshed[1].1, -4.5e-5, 6);
    worst.done()
}

// ppo.clip-no-constraint

/// Two samples share one parameter. The one with the large feature is clipped early and carried on by the other until that
/// one is clipped too: its ratio and its divergence end far outside of what the interval suggests.
fn no_constraint(_: u64) -> Result<f64, String> {
    let features = [1.0, 0.1];
    let half = [0.5f64.ln(); 2];
    let log_sigmoid = |x: f64| -(-x).exp().ln_1p();
    let mut theta = 0.0;
    let mut steps = 0;
    let mut flat = Vec::new();
    loop {
        let log_prob = features.map(|x| log_sigmoid(theta * x));
        let mut d = [f64::NAN; 2];
        let stats = surrogate::clip_loss(&log_prob, &half, &[1.0, 1.0], 0.2, &mut d);
        flat.push(stats.flat_fraction);
        // d log sigma(theta x) / d theta = x (1 - sigma).
        let grad: f64 = (0..2).map(|i| d[i] * features[i] * (1.0 - log_prob[i].exp())).sum();
        if grad == 0.0 || steps == 20_000 {
            break;
        }
        theta -= 0.02 * grad;
        steps += 1;
    }
    let p = log_sigmoid(theta).exp();
    let mut worst = Worst::new();
    worst.printed(theta, 4.05465, 3).printed(p / 0.5, 1.96591, 3);
    worst.printed(kl(&[0.5, 0.5], &[p, 1.0 - p]), 1.35137, 3);
    // One sample flat most of the way, both at the end: the first one's ratio moved on while it had no slope.
    worst.holds(steps == 7482 && flat[0] == 0.0 && flat[steps / 2] == 0.5 && flat[steps] == 1.0);
    // A penalty pulls such a sample back; the clipped loss does not.
    let log_prob = [log_sigmoid(theta)];
    let mut d = [f64::NAN];
    surrogate::penalty_loss(&log_prob, &half[..1], &[0.0], 1.0, Direction::OldNew, &mut d);
    worst.holds(d[0] > 0.5 && surrogate::clip_grad(p / 0.5, 1.0, 0.2) == 0.0);
    worst.done()
}

/// With a parameter of its own, a sample overshoots the bound by at most its last step.
fn no_constraint_tabular(_: u64) -> Result<f64, String> {
    for (advantage, lr) in [(1.0, 0.1), (1.0, 1.0), (-1.0, 0.3), (0.5, 5.0)] {
        let mut z = [0.0, 0.0];
        let old = 0.5f64.ln();
        let mut inside = 0;
        for _ in 0..10_000 {
            let log_prob = [categorical::log_prob(&z, 0)];
            let mut d = [f64::NAN];
            surrogate::clip_loss(&log_prob, &[old], &[advantage], 0.2, &mut d);
            let before = z;
            categorical::add_d_log_prob(&before, 0, -lr * d[0], &mut z);
            if z == before {
                break;
            }
            // A step is only taken from inside the interval.
            inside += 1;
            let ratio = surrogate::ratio(log_prob[0], old);
            require((0.8..=1.2).contains(&ratio), || format!("a step from ratio {ratio}"))?;
        }
        let ratio = surrogate::ratio(categorical::log_prob(&z, 0), old);
        require(inside > 0 && !(0.8..=1.2).contains(&ratio), || {
            format!("stopped at {ratio} after {inside}")
        })?;
    }
    Ok(0.0)
}

// ppo.penalty

fn divergence(bandit: &Bandit, direction: Direction) -> f64 {
    match direction {
        Direction::OldNew => kl(&bandit.old(), &bandit.pi()),
        Direction::NewOld => kl(&bandit.pi(), &bandit.old()),
    }
}

const BOTH: [Direction; 2] = [Direction::OldNew, Direction::NewOld];

/// The exact objective, and the mean of the per-sample divergence under the acting policy.
fn penalty_definition((bandit, beta): (Bandit, f64)) -> Result<f64, String> {
    let (pi, old) = (bandit.pi(), bandit.old());
    let mut worst = Worst::new();
    for direction in BOTH {
        let exact = divergence(&bandit, direction);
        let want = dot(&pi, &bandit.advantage) - beta * exact;
        worst.same(surrogate::penalty(&pi, &old, &bandit.advantage, beta, direction), want);
        let sampled: Vec<f64> =
            pi.iter().zip(&old).map(|(p, o)| surrogate::divergence((p / o).ln(), direction)).collect();
        worst.same(dot(&old, &sampled), exact).holds(sampled.iter().all(|&d| d >= 0.0));
        // Every action once, weighted by how often the acting policy takes it: the batch form is the exact objective.
        let (new_log, old_log): (Vec<f64>, Vec<f64>) =
            pi.iter().zip(&old).map(|(p, o)| (p.ln(), o.ln())).unzip();
        let mut loss = 0.0;
        for a in 0..pi.len() {
            let mut d = [f64::NAN];
            let (new, old_, adv) = (&new_log[a..=a], &old_log[a..=a], &bandit.advantage[a..=a]);
            loss += old[a] * surrogate::penalty_loss(new, old_, adv, beta, direction, &mut d).loss;
        }
        worst.same(loss, -want);
        worst.same(
            surrogate::penalty(&pi, &old, &bandit.advantage, 0.0, direction),
            dot(&pi, &bandit.advantage),
        );
    }
    // The estimators of the text: E_old[rho log rho] for one direction, E_old[-log rho] for the other.
    let new_old: f64 = pi.iter().zip(&old).map(|(p, o)| o * (p / o) * (p / o).ln()).sum();
    let old_new: f64 = pi.iter().zip(&old).map(|(p, o)| -o * (p / o).ln()).sum();
    worst.same(new_old, divergence(&bandit, Direction::NewOld));
    worst.same(old_new, divergence(&bandit, Direction::OldNew));
    worst.done()
}

/// The expected gradient of the batch form, by enumeration, against differences of the exact objective.
fn penalty_gradient((bandit, beta): (Bandit, f64)) -> Result<f64, String> {
    let (pi, old) = (bandit.pi(), bandit.old());
    let mut worst = Worst::new();
    for direction in BOTH {
        let objective = |z: &[f64]| {
            let moved = Bandit { logits: z.to_vec(), ..bandit.clone() };
            -dot(&moved.pi(), &bandit.advantage) + beta * divergence(&moved, direction)
        };
        let mut grad = vec![0.0; pi.len()];
        for a in 0..pi.len() {
            let mut d = [f64::NAN];
            let (new, old_log) = ([pi[a].ln()], [old[a].ln()]);
            surrogate::penalty_loss(&new, &old_log, &bandit.advantage[a..=a], beta, direction, &mut d);
            categorical::add_d_log_prob(&bandit.logits, a, old[a] * d[0], &mut grad);
        }
        worst.gradient(&grad, &gradient(objective, &bandit.logits));
        for (p, o) in pi.iter().zip(&old) {
            let x = (p / o).ln();
            let written = |x: f64| match direction {
                Direction::OldNew => x.exp() - 1.0 - x,
                Direction::NewOld => x.exp() * x - x.exp() + 1.0,
            };
            worst.gradient(
                &[surrogate::divergence_grad(x, direction)],
                &[crate::oracles::derivative(written, x)],
            );
        }
    }
    worst.done()
}

/// At the acting policy itself the objective has the plain policy gradient: the divergence has no slope there.
fn penalty_first_step((bandit, beta): (Bandit, f64)) -> Result<f64, String> {
    let old = bandit.old();
    let baseline = dot(&old, &bandit.advantage);
    let plain: Vec<f64> = old.iter().zip(&bandit.advantage).map(|(p, a)| p * (a - baseline)).collect();
    let mut worst = Worst::new();
    for direction in BOTH {
        let objective = |z: &[f64]| surrogate::penalty(&softmax(z), &old, &bandit.advantage, beta, direction);
        worst.gradient(&plain, &gradient(objective, &bandit.old_logits));
        let pull: f64 = surrogate::divergence_grad(0.0, direction);
        worst.holds(pull == 0.0 && surrogate::divergence::<f64>(0.0, direction) == 0.0);
    }
    worst.done()
}

/// Both divergences curve like the Fisher matrix `diag(pi) - pi pi^T` at the acting policy.
fn penalty_curvature(bandit: Bandit) -> Result<f64, String> {
    let old = bandit.old();
    let zero = vec![0.0; old.len()];
    let h = 1e-3;
    let mut worst = Worst::new();
    for direction in BOTH {
        let at = |i: usize, j: usize, x: f64, y: f64| {
            let mut z = bandit.old_logits.clone();
            z[i] += x;
            z[j] += y;
            -surrogate::penalty(&softmax(&z), &old, &zero, 1.0, direction)
        };
        for i in 0..old.len() {
            for j in 0..old.len() {
                let second =
                    (at(i, j, h, h) - at(i, j, h, -h) - at(i, j, -h, h) + at(i, j, -h, -h)) / (4.0 * h * h);
                let fisher = if i == j { old[i] } else { 0.0 } - old[i] * old[j];
                worst.same(second, fisher);
            }
        }
    }
    worst.done()
}

/// The closed maximiser of one direction beats 300 other policies, and the optimum value is `beta log E_old e^(A / beta)`.
fn penalty_maximiser((bandit, beta, seed): (Bandit, f64, u64)) -> Result<f64, String> {
    let old = bandit.old();
    let value = |pi: &[f64], direction| surrogate::penalty(pi, &old, &bandit.advantage, beta, direction);
    let mut best = vec![f64::NAN; old.len()];
    surrogate::penalty_maximiser(&old, &bandit.advantage, beta, &mut best);
    let top = value(&best, Direction::NewOld);
    let mut worst = Worst::new();
    worst.same(best.iter().sum(), 1.0);
    let partition: f64 = old.iter().zip(&bandit.advantage).map(|(o, a)| o * (a / beta).exp()).sum();
    worst.same(top, beta * partition.ln());
    let mut rng = Stream::new(seed, "maximiser-check", 0);
    for i in 0..300 {
        let size = [1e-3, 0.1, 2.0][i % 3];
        let moved: Vec<f64> = best.iter().map(|p| p.max(1e-300).ln() + size * rng.normal()).collect();
        let top_logit = moved.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let moved: Vec<f64> = moved.iter().map(|z| z - top_logit).collect();
        worst.at_most(value(&softmax(&moved), Direction::NewOld), top);
    }
    // A huge weight keeps the acting policy.
    surrogate::penalty_maximiser(&old, &bandit.advantage, 1e12, &mut best);
    best.iter().zip(&old).for_each(|(b, o)| _ = worst.same(*b, *o));
    worst.done()
}

/// Loss, divergence and gradient of a batch, written out.
fn penalty_batch((batch, beta): (Batch, f64)) -> Result<f64, String> {
    let n = batch.advantage.len() as f64;
    let mut worst = Worst::new();
    for direction in BOTH {
        let per_sample = |x: f64| match direction {
            Direction::OldNew => x.exp() - 1.0 - x,
            Direction::NewOld => x.exp() * x - x.exp() + 1.0,
        };
        let log_ratio = |new: &[f64], i: usize| new[i] - batch.old_log_prob[i];
        let mean_kl = |new: &[f64]| (0..new.len()).map(|i| per_sample(log_ratio(new, i))).sum::<f64>() / n;
        let loss = |new: &[f64]| {
            let gain = (0..new.len()).map(|i| log_ratio(new, i).exp() * batch.advantage[i]).sum::<f64>() / n;
            beta * mean_kl(new) - gain
        };
        let mut d = vec![f64::NAN; batch.advantage.len()];
        let got = surrogate::penalty_loss(
            &batch.log_prob,
            &batch.old_log_prob,
            &batch.advantage,
            beta,
            direction,
            &mut d,
        );
        worst.gradient(&d, &gradient(loss, &batch.log_prob));
        // To the precision of an identity, not of a difference.
        let tight = TOL_FD / TOL_ID;
        worst.add(tight * crate::measure::relative(got.loss, loss(&batch.log_prob), 0.0));
        worst.add(tight * crate::measure::relative(got.kl, mean_kl(&batch.log_prob), 0.0));
    }
    worst.done()
}

fn penalty_single_precision((batch, beta): (Batch, f64)) -> Result<f64, String> {
    let (new, old, a) = (narrow(&batch.log_prob), narrow(&batch.old_log_prob), narrow(&batch.advantage));
    let beta = beta as f32;
    let mut worst = Worst::new();
    for direction in BOTH {
        let mut d = vec![f32::NAN; a.len()];
        let got = surrogate::penalty_loss(&new, &old, &a, beta, direction, &mut d);
        let mut want_d = vec![f64::NAN; a.len()];
        let (n, o, w) = (widen(&new), widen(&old), widen(&a));
        let want = surrogate::penalty_loss(&n, &o, &w, f64::from(beta), direction, &mut want_d);
        worst.all(&widen(&d), &want_d).same(got.loss.into(), want.loss).same(got.kl.into(), want.kl);
    }
    worst.done()
}

/// From the uniform policy to (0.9, 0.1) the two directions differ, and so do their maximisers.
fn penalty_closed(_: u64) -> Result<f64, String> {
    let (old, new) = ([0.5, 0.5], [0.9, 0.1]);
    let zero = [0.0, 0.0];
    let mut worst = Worst::new();
    worst.printed(-surrogate::penalty(&new, &old, &zero, 1.0, Direction::OldNew), 0.510826, 6);
    worst.printed(-surrogate::penalty(&new, &old, &zero, 1.0, Direction::NewOld), 0.368064, 6);
    // One direction's maximiser is beaten in the other.
    let advantage = [1.0, -1.0];
    let mut best = [f64::NAN; 2];
    surrogate::penalty_maximiser(&old, &advantage, 0.5, &mut best);
    let value = |p: f64, direction| surrogate::penalty(&[p, 1.0 - p], &old, &advantage, 0.5, direction);
    let grid = |direction| {
        (1..1000).map(|i| value(f64::from(i) / 1000.0, direction)).fold(f64::NEG_INFINITY, f64::max)
    };
    worst.holds(grid(Direction::OldNew) > value(best[0], Direction::OldNew) + 0.01);
    worst.holds(grid(Direction::NewOld) <= value(best[0], Direction::NewOld));
    // A policy that gives up an action is infinitely far in one direction only.
    worst.holds(surrogate::penalty(&[1.0, 0.0], &old, &zero, 1.0, Direction::OldNew) == f64::NEG_INFINITY);
    worst.printed(-surrogate::penalty(&[1.0, 0.0], &old, &zero, 1.0, Direction::NewOld), 2f64.ln(), 12);
    // Near-zero weights put everything on the best action without overflow.
    surrogate::penalty_maximiser(&old, &[1e3, -1e3], 1e-6, &mut best);
    worst.holds(best == [1.0, 0.0]);
    worst.done()
}

// ppo.beta-adapt

/// The weight after a sequence of phases against a counter of doublings, in both precisions.
fn beta_adapt((measured, target): (Vec<f64>, f64)) -> Result<f64, String> {
    fn follow<F: Real>(measured: &[f64], target: F) -> Result<(), String> {
        let start = F::of(0.75);
        let (mut beta, mut exponent) = (start, 0);
        for &share in measured {
            let kl = F::of(share) * target;
            beta = surrogate::adapt_beta(beta, kl, target);
            let (above, below) = (kl > F::of(1.5) * target, kl < target / F::of(1.5));
            exponent += i32::from(above) - i32::from(below);
            let want = start * F::of(2.0).powi(exponent);
            require(beta == want && beta > F::zero(), || format!("{beta} instead of {want} after {kl}"))?;
        }
        Ok(())
    }
    follow::<f64>(&measured, target)?;
    follow::<f32>(&measured, target as f32)?;
    Ok(0.0)
}

fn beta_adapt_edges(_: u64) -> Result<f64, String> {
    for target in [0.01, 0.5, 4.0] {
        for kl in [target, target * 1.5, target / 1.5] {
            let got = surrogate::adapt_beta(3.0, kl, target);
            require(got == 3.0, || format!("{got} at a divergence of {kl} for {target}"))?;
        }
        require(surrogate::adapt_beta(3.0, 0.0, target) == 1.5, || "at no divergence".to_owned())?;
        require(surrogate::adapt_beta(3.0, target * 1.500001, target) == 6.0, || "just above".to_owned())?;
        require(surrogate::adapt_beta(3.0, target / 1.500001, target) == 1.5, || "just below".to_owned())?;
    }
    // A divergence that falls as the weight grows settles within the band.
    let mut beta = 1e-3;
    for _ in 0..40 {
        beta = surrogate::adapt_beta(beta, 1.0 / beta, 0.02);
    }
    let settled = 1.0 / beta / 0.02;
    require((1.0 / 1.5..=1.5).contains(&settled), || format!("settled at {settled} times the target"))?;
    Ok(0.0)
}

// ppo.value-loss

/// Values, the values at collection, targets, and the half-width of the clip.
#[derive(Clone, Debug)]
struct ValueBatch {
    value: Vec<f64>,
    old_value: Vec<f64>,
    target: Vec<f64>,
    clip_eps: f64,
}

fn value_batch() -> impl Strategy<Value = ValueBatch> + Clone + Send + Sync {
    (vec((normal(), normal(), normal()), 1..=48), 0.05..=1.0f64).prop_map(|(samples, clip_eps)| ValueBatch {
        value: samples.iter().map(|s| s.0 + 0.5 * s.1).collect(),
        old_value: samples.iter().map(|s| s.0).collect(),
        target: samples.iter().map(|s| s.2).collect(),
        clip_eps,
    })
}

impl ValueBatch {
    /// Without samples within `margin` of a kink of the clipped loss.
    fn smooth(mut self, margin: f64) -> Self {
        let keep: Vec<bool> = (0..self.value.len())
            .map(|i| {
                let moved = self.value[i] - self.old_value[i];
                let clipped = self.old_value[i] + moved.clamp(-self.clip_eps, self.clip_eps) - self.target[i];
                let tie = (clipped.abs() - (self.value[i] - self.target[i]).abs()).abs();
                (moved.abs() - self.clip_eps).abs() > margin && (moved.abs() < self.clip_eps || tie > margin)
            })
            .collect();
        for x in [&mut self.value, &mut self.old_value, &mut self.target] {
            let mut keep = keep.iter();
            x.retain(|_| *keep.next().expect("one verdict per sample"));
        }
        self
    }

    fn half_mean(&self, f: impl Fn(usize) -> f64) -> f64 {
        0.5 * (0..self.value.len()).map(f).sum::<f64>() / self.value.len().max(1) as f64
    }

    fn plain(&self, value: &[f64]) -> f64 {
        self.half_mean(|i| (value[i] - self.target[i]).powi(2))
    }

    fn clipped(&self, value: &[f64]) -> f64 {
        self.half_mean(|i| {
            let moved = (value[i] - self.old_value[i]).clamp(-self.clip_eps, self.clip_eps);
            (value[i] - self.target[i]).powi(2).max((self.old_value[i] + moved - self.target[i]).powi(2))
        })
    }
}

fn value_gradient(batch: ValueBatch) -> Result<f64, String> {
    let batch = batch.smooth(1e-3);
    let mut d = vec![f64::NAN; batch.value.len()];
    let mut worst = Worst::new();
    let plain = value_loss::mse(&batch.value, &batch.target, &mut d);
    worst.gradient(&d, &gradient(|v| batch.plain(v), &batch.value));
    d.fill(f64::NAN);
    let clipped = value_loss::clipped(&batch.value, &batch.old_value, &batch.target, batch.clip_eps, &mut d);
    worst.gradient(&d, &gradient(|v| batch.clipped(v), &batch.value));
    let tight = TOL_FD / TOL_ID;
    worst.add(tight * crate::measure::relative(plain, batch.plain(&batch.value), 0.0));
    worst.add(tight * crate::measure::relative(clipped, batch.clipped(&batch.value), 0.0));
    // A wide interval clips nothing, and an untouched network neither.
    let wide = value_loss::clipped(&batch.value, &batch.old_value, &batch.target, 1e6, &mut d);
    worst.add(tight * crate::measure::relative(wide, plain, 0.0));
    let still =
        value_loss::clipped(&batch.old_value, &batch.old_value, &batch.target, batch.clip_eps, &mut d);
    worst.add(tight * crate::measure::relative(still, batch.plain(&batch.old_value), 0.0));
    worst.holds(clipped >= plain - 1e-12);
    worst.done()
}

fn value_single_precision(batch: ValueBatch) -> Result<f64, String> {
    let batch = batch.smooth(1e-4);
    let (v, o, y) = (narrow(&batch.value), narrow(&batch.old_value), narrow(&batch.target));
    let eps = batch.clip_eps as f32;
    let (mut d, mut want) = (vec![f32::NAN; v.len()], vec![f64::NAN; v.len()]);
    let mut worst = Worst::new();
    let got = value_loss::mse(&v, &y, &mut d);
    worst.same(got.into(), value_loss::mse(&widen(&v), &widen(&y), &mut want)).all(&widen(&d), &want);
    let got = value_loss::clipped(&v, &o, &y, eps, &mut d);
    let wide = value_loss::clipped(&widen(&v), &widen(&o), &widen(&y), f64::from(eps), &mut want);
    worst.same(got.into(), wide).all(&widen(&d), &want);
    worst.done()
}

/// A table over states and times, fitted to the targets of all trajectories weighted by their probabilities: what comes
/// out is the target's operator applied to the old values. Pairs that never occur keep their value.
fn value_minimiser(
    ((mdp, steps, policy), old, lambda): ((Mdp, usize, Policy), Vec<f64>, f64),
) -> Result<f64, String> {
    let states = mdp.states();
    let paths = Paths::new(&mdp, &policy, steps, None);
    let old_value = |t: usize, s: usize| if t == steps { 0.0 } else { old[t * 3 + s] };
    let rows = chain(&mdp, &policy);
    let reward: Vec<f64> = mean_reward(&mdp)
        .iter()
        .enumerate()
        .map(|(s, row)| row.iter().enumerate().map(|(a, r)| policy[[s, a]] * r).sum())
        .collect();
    let mut worst = Worst::new();
    for lambda in [0.0, lambda, 1.0] {
        let (_, target) = paths.estimate(old_value, End::Terminated, mdp.gamma, lambda);
        let (mut index, mut y, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for (n, &p) in paths.prob.iter().enumerate() {
            for t in 0..steps {
                index.push(t * states + paths.states[n][t]);
                y.push(target[[t, n]]);
                weight.push(p);
            }
        }
        let untouched = 1234.5;
        let mut fitted = vec![untouched; steps * states];
        value_loss::mean_target(&index, &y, &weight, &mut fitted);
        // M_t = r + gamma P [(1 - lambda) V_old + lambda M_{t+1}], M_T = 0.
        let mut after = vec![0.0; states];
        for t in (0..steps).rev() {
            let mixed: Vec<f64> =
                (0..states).map(|s| (1.0 - lambda) * old_value(t + 1, s) + lambda * after[s]).collect();
            after = (0..states).map(|s| reward[s] + mdp.gamma * dot(&rows[s], &mixed)).collect();
            for s in 0..states {
                let seen = index.iter().zip(&weight).any(|(&i, &w)| i == t * states + s && w > 0.0);
                let got = fitted[t * states + s];
                worst.same(got, if seen { after[s] } else { untouched });
            }
        }
    }
    worst.done()
}

/// At the mean target of every state the gradients of its samples cancel; a factor in front of the loss changes nothing.
fn value_stationary_point((data, weight): (Vec<(usize, f64)>, f64)) -> Result<f64, String> {
    let (index, y): (Vec<usize>, Vec<f64>) = data.into_iter().unzip();
    let mut table = vec![f64::NAN; 5];
    value_loss::mean_target(&index, &y, &vec![weight; y.len()], &mut table);
    let value: Vec<f64> = index.iter().map(|&s| table[s]).collect();
    let mut d = vec![f64::NAN; y.len()];
    value_loss::mse(&value, &y, &mut d);
    let mut worst = Worst::new();
    for (s, &fitted) in table.iter().enumerate() {
        let here: Vec<usize> = (0..y.len()).filter(|&i| index[i] == s).collect();
        worst.holds(fitted.is_nan() == here.is_empty());
        worst.same(here.iter().map(|&i| d[i]).sum(), 0.0);
    }
    worst.done()
}

/// Three steps that pay 1 each, with discount 0.9: one table for all times fits neither the value of any time nor that of
/// the endless problem.
fn value_pooled(_: u64) -> Result<f64, String> {
    let reward = Array2::from_elem((3, 1), 1.0);
    let zero = Array2::zeros((3, 1));
    let end = array![[End::No], [End::No], [End::Terminated]];
    let (mut a, mut y) = (zero.clone(), zero.clone());
    gae::gae(&reward, &zero, &zero, &end, 0.9, 1.0, &mut a, &mut y);
    let y: Vec<f64> = y.iter().copied().collect();
    let mut by_time = [f64::NAN; 3];
    value_loss::mean_target(&[0, 1, 2], &y, &[1.0; 3], &mut by_time);
    let mut pooled = [f64::NAN];
    value_loss::mean_target(&[0, 0, 0], &y, &[1.0; 3], &mut pooled);
    let mut worst = Worst::new();
    worst.all(&by_time, &[2.71, 1.9, 1.0]).same(pooled[0], 5.61 / 3.0);
    worst.done()
}

fn explained_variance(samples: Vec<(f64, f64)>) -> Result<f64, String> {
    let (value, target): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
    let n = value.len() as f64;
    let variance = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / n;
        x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n
    };
    let error: Vec<f64> = value.iter().zip(&target).map(|(v, y)| y - v).collect();
    let mut worst = Worst::new();
    if variance(&target) > 1e-2 {
        worst
            .same(normalise::explained_variance(&value, &target), 1.0 - variance(&error) / variance(&target));
        let shifted: Vec<f64> = target.iter().map(|y| y + 3.0).collect();
        worst.same(normalise::explained_variance(&shifted, &target), 1.0);
        worst.same(normalise::explained_variance(&vec![0.5; target.len()], &target), 0.0);
    }
    worst.holds(normalise::explained_variance(&value, &vec![0.25; value.len()]).is_nan());
    worst.done()
}

// ppo.target-reuse

/// A chain of two steps with rewards 0 and 1: many epochs on frozen targets end at one application of the operator, and only
/// the second phase reaches the value of the policy. Refreshing the targets on the way would reach it at once.
fn target_reuse(_: u64) -> Result<f64, String> {
    let reward = array![[0.0], [1.0]];
    let end = array![[End::No], [End::Terminated]];
    let targets = |v: &[f64; 2]| {
        let value = array![[v[0]], [v[1]]];
        let next = array![[v[1]], [7.0]];
        let (mut a, mut y) = (Array2::zeros((2, 1)), Array2::zeros((2, 1)));
        gae::gae(&reward, &value, &next, &end, 1.0, 0.0, &mut a, &mut y);
        [y[[0, 0]], y[[1, 0]]]
    };
    let phase = |start: [f64; 2], refresh: bool, epochs: usize| {
        let mut v = start;
        let mut y = targets(&start);
        for _ in 0..epochs {
            if refresh {
                y = targets(&v);
            }
            let mut d = [f64::NAN; 2];
            value_loss::mse(&v, &y, &mut d);
            v = [v[0] - d[0], v[1] - d[1]];
        }
        v
    };
    let first = phase([0.0, 0.0], false, 60);
    let second = phase(first, false, 60);
    let mut worst = Worst::new();
    worst.all(&first, &[0.0, 1.0]).all(&second, &[1.0, 1.0]).all(&phase([0.0, 0.0], true, 120), &[1.0, 1.0]);
    let mut table = [5.0, 5.0];
    value_loss::mean_target(&[0, 1], &targets(&[0.0, 0.0]), &[1.0, 1.0], &mut table);
    worst.all(&table, &first);
    // One epoch goes part of the way to the same place.
    let one = phase([0.0, 0.0], false, 1);
    worst.all(&one, &[0.0, 0.5]);
    worst.done()
}

// ppo.total-loss

/// A minibatch with everything that the loss reads.
#[derive(Clone, Debug)]
struct TotalBatch {
    policy: Batch,
    entropy: Vec<f64>,
    value: ValueBatch,
}

fn total_batch() -> impl Strategy<Value = TotalBatch> + Clone + Send + Sync {
    (
        vec((-5.0..=0.0f64, normal(), normal(), 0.0..=2.0f64, (normal(), normal(), normal())), 1..=24),
        0.05..=0.5f64,
    )
        .prop_map(|(samples, clip_eps)| TotalBatch {
            policy: Batch {
                old_log_prob: samples.iter().map(|s| s.0).collect(),
                log_prob: samples.iter().map(|s| s.0 + 0.3 * s.1).collect(),
                advantage: samples.iter().map(|s| s.2).collect(),
            },
            entropy: samples.iter().map(|s| s.3).collect(),
            value: ValueBatch {
                value: samples.iter().map(|s| s.4.0 + 0.5 * s.4.1).collect(),
                old_value: samples.iter().map(|s| s.4.0).collect(),
                target: samples.iter().map(|s| s.4.2).collect(),
                clip_eps,
            },
        })
}

fn coefficients() -> impl Strategy<Value = Coefficients<f64>> + Clone + Send + Sync {
    let surrogate = prop_oneof![
        (0.02..0.5f64).prop_map(|clip_eps| Surrogate::Clip { clip_eps }),
        (0.0..3.0f64).prop_map(|kl_coef| Surrogate::Penalty { kl_coef }),
    ];
    let weight = || prop_oneof![4 => 0.0..=2.0f64, 1 => Just(0.0)];
    (surrogate, any::<bool>(), weight(), weight()).prop_map(|(surrogate, clip_value, vf_coef, ent_coef)| {
        // The half-width of the value clip is the batch's.
        Coefficients { surrogate, clip_value: clip_value.then_some(0.0), vf_coef, ent_coef }
    })
}

impl TotalBatch {
    fn weights(&self, weights: &Coefficients<f64>) -> Coefficients<f64> {
        Coefficients { clip_value: weights.clip_value.map(|_| self.value.clip_eps), ..*weights }
    }

    /// The surrogate's loss, the value loss and the entropy, each written out.
    fn parts(
        &self,
        weights: &Coefficients<f64>,
        log_prob: &[f64],
        entropy: &[f64],
        value: &[f64],
    ) -> [f64; 3] {
        let n = log_prob.len() as f64;
        let policy = (0..log_prob.len())
            .map(|i| {
                let x = log_prob[i] - self.policy.old_log_prob[i];
                let a = self.policy.advantage[i];
                match weights.surrogate {
                    Surrogate::Clip { clip_eps } => -naive_clip(x.exp(), a, clip_eps),
                    Surrogate::Penalty { kl_coef } => kl_coef * (x.exp() - 1.0 - x) - x.exp() * a,
                }
            })
            .sum::<f64>()
            / n;
        let fit =
            if weights.clip_value.is_some() { self.value.clipped(value) } else { self.value.plain(value) };
        [policy, fit, entropy.iter().sum::<f64>() / n]
    }

    fn run(&self, weights: &Coefficients<f64>) -> (loss::Terms<f64>, [Vec<f64>; 3]) {
        let n = self.entropy.len();
        let [mut d_log_prob, mut d_entropy, mut d_value] = [(); 3].map(|()| vec![f64::NAN; n]);
        let batch = loss::Batch {
            log_prob: &self.policy.log_prob,
            old_log_prob: &self.policy.old_log_prob,
            advantage: &self.policy.advantage,
            entropy: &self.entropy,
            value: &self.value.value,
            old_value: &self.value.old_value,
            return_: &self.value.target,
        };
        let mut grad = Gradients { log_prob: &mut d_log_prob, entropy: &mut d_entropy, value: &mut d_value };
        let terms = loss::total(&batch, &self.weights(weights), &mut grad);
        (terms, [d_log_prob, d_entropy, d_value])
    }

    /// Whether some sample is within `margin` of a kink.
    fn at_a_kink(&self, weights: &Coefficients<f64>, margin: f64) -> bool {
        let near = |r: f64| match weights.surrogate {
            Surrogate::Clip { clip_eps } => ((r - 1.0).abs() - clip_eps).abs() < margin,
            Surrogate::Penalty { .. } => false,
        };
        let smooth = self.value.clone().smooth(margin).value.len() == self.value.value.len();
        ratios(&self.policy).into_iter().any(near) || weights.clip_value.is_some() && !smooth
    }
}

fn total_definition((batch, weights): (TotalBatch, Coefficients<f64>)) -> Result<f64, String> {
    let (terms, _) = batch.run(&weights);
    let [policy, value, entropy] =
        batch.parts(&weights, &batch.policy.log_prob, &batch.entropy, &batch.value.value);
    let mut worst = Worst::new();
    worst.same(terms.policy, policy).same(terms.value, value).same(terms.entropy, entropy);
    worst.same(terms.loss, policy + weights.vf_coef * value - weights.ent_coef * entropy);
    let ratios = ratios(&batch.policy);
    let n = ratios.len() as f64;
    worst.same(terms.approx_kl, ratios.iter().map(|r| r - 1.0 - r.ln()).sum::<f64>() / n);
    if let Surrogate::Clip { clip_eps } = weights.surrogate {
        let outside = ratios.iter().filter(|r| (*r - 1.0).abs() > clip_eps).count() as f64;
        worst.same(terms.clip_fraction, outside / n);
    }
    worst.done()
}

fn total_gradient((batch, weights): (TotalBatch, Coefficients<f64>)) -> Result<f64, String> {
    if batch.at_a_kink(&weights, 1e-3) {
        return Ok(0.0);
    }
    let (_, [d_log_prob, d_entropy, d_value]) = batch.run(&weights);
    let (log_prob, entropy, value) = (&batch.policy.log_prob, &batch.entropy, &batch.value.value);
    let loss = |l: &[f64], h: &[f64], v: &[f64]| {
        let [policy, fit, entropy] = batch.parts(&weights, l, h, v);
        policy + weights.vf_coef * fit - weights.ent_coef * entropy
    };
    let mut worst = Worst::new();
    worst.gradient(&d_log_prob, &gradient(|l| loss(l, entropy, value), log_prob));
    worst.gradient(&d_entropy, &gradient(|h| loss(log_prob, h, value), entropy));
    worst.gradient(&d_value, &gradient(|v| loss(log_prob, entropy, v), value));
    // Without their weights the value and the entropy pull at nothing; the policy's part never depends on them.
    let bare = Coefficients { vf_coef: 0.0, ent_coef: 0.0, ..weights };
    let (_, [bare_log_prob, bare_entropy, bare_value]) = batch.run(&bare);
    worst.holds(bare_log_prob == d_log_prob && bare_entropy.iter().chain(&bare_value).all(|&d| d == 0.0));
    worst.done()
}

/// One network for both: the sum of the parts' gradients is the gradient of the sum, and the trunk feels `vf_coef`.
fn total_shared_trunk(
    (params, inputs, vf_coef, ent_coef): (Vec<f64>, Vec<f64>, f64, f64),
) -> Result<f64, String> {
    // Two inputs, two hidden units, two logits and a value.
    let mlp = Mlp::new(&[2, 2, 3], Activation::Tanh);
    let params = &params[..mlp.num_params()];
    let x = Array2::from_shape_vec((4, 2), inputs[..8].to_vec()).map_err(|e| e.to_string())?;
    let actions = [0usize, 1, 1, 0];
    let (advantage, target) = ([1.0, -0.5, 2.0, 0.3], [0.5, -1.0, 0.0, 2.0]);
    let old = [-0.4, -0.9, -0.7, -1.1];
    let plain = |p: &[f64], row: usize| {
        super::nn::plain_forward(&[2, 2, 3], Activation::Tanh, p, &inputs[2 * row..2 * row + 2], |_| ())
    };
    let surrogate = Surrogate::Penalty { kl_coef: 0.5 };
    let total = |p: &[f64], vf_coef: f64, ent_coef: f64| -> f64 {
        (0..4)
            .map(|i| {
                let y = plain(p, i);
                let pi = softmax(&y[..2]);
                let x = pi[actions[i]].ln() - old[i];
                let policy = 0.5 * (x.exp() - 1.0 - x) - x.exp() * advantage[i];
                let entropy: f64 = -pi.iter().map(|p| p * p.ln()).sum::<f64>();
                (policy + vf_coef * 0.5 * (y[2] - target[i]).powi(2) - ent_coef * entropy) / 4.0
            })
            .sum()
    };
    let run = |vf_coef: f64, ent_coef: f64| {
        let mut ws = mlp.workspace(4);
        let y = mlp.forward(params, &x, &mut ws).to_owned();
        let logits: Vec<f64> = y.rows().into_iter().flat_map(|row| [row[0], row[1]]).collect();
        let action = actions.map(|a| a as u32);
        let mut evaluation = categorical::Evaluation::new(4, 2);
        categorical::evaluate(&logits, &action, &mut evaluation);
        let value: Vec<f64> = y.column(2).to_vec();
        let [mut d_log_prob, mut d_entropy, mut d_value] = [[f64::NAN; 4]; 3];
        let batch = loss::Batch {
            log_prob: &evaluation.log_prob,
            old_log_prob: &old,
            advantage: &advantage,
            entropy: &evaluation.entropy,
            value: &value,
            old_value: &value,
            return_: &target,
        };
        let weights = Coefficients { surrogate, clip_value: None, vf_coef, ent_coef };
        let mut out = Gradients { log_prob: &mut d_log_prob, entropy: &mut d_entropy, value: &mut d_value };
        loss::total(&batch, &weights, &mut out);
        let mut d_logits = vec![f64::NAN; 8];
        categorical::backward(&evaluation, &action, &d_log_prob, &d_entropy, &mut d_logits);
        let d_out =
            Array2::from_shape_fn((4, 3), |(i, k)| if k < 2 { d_logits[2 * i + k] } else { d_value[i] });
        let mut grad = vec![0.0; params.len()];
        mlp.backward(params, &x, &d_out, &mut ws, &mut grad);
        grad
    };
    let (whole, policy) = (run(vf_coef, ent_coef), run(0.0, 0.0));
    let mut worst = Worst::new();
    worst.gradient(&whole, &gradient(|p| total(p, vf_coef, ent_coef), params));
    // The parts add up.
    let value = run(vf_coef, 0.0);
    let entropy = run(0.0, ent_coef);
    for i in 0..params.len() {
        worst.add((whole[i] - (value[i] + entropy[i] - policy[i])).abs());
    }
    // The trunk, the first four weights and two biases, does not decouple.
    worst.holds((0..6).any(|i| (value[i] - policy[i]).abs() > 1e-12));
    worst.done()
}

// ppo.adv-norm

/// Mean and population standard deviation in two passes.
fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}

fn norm_definition((advantage, eps): (Vec<f64>, f64)) -> Result<f64, String> {
    let (mean, std) = moments(&advantage);
    let mut got = advantage.clone();
    normalise::advantages(&mut got, eps);
    let mut worst = Worst::new();
    for (g, a) in got.iter().zip(&advantage) {
        worst.same(*g, (a - mean) / (std + eps));
    }
    let (new_mean, new_std) = moments(&got);
    worst.same(new_mean, 0.0).same(new_std, std / (std + eps));
    // Order is kept, sign is not promised.
    for i in 1..got.len() {
        worst.holds((advantage[i] - advantage[i - 1]) * (got[i] - got[i - 1]) >= 0.0);
    }
    worst.done()
}

/// Entries outside of the mask count for nothing and stay as they are, NaN and infinity among them.
fn norm_mask((entries, eps): (Vec<(f64, bool)>, f64)) -> Result<f64, String> {
    let kept: Vec<f64> = entries.iter().filter(|e| e.1).map(|e| e.0).collect();
    let mut worst = Worst::new();
    for junk in [f64::NAN, f64::INFINITY, 1e30] {
        let (mut x, mask): (Vec<f64>, Vec<bool>) =
            entries.iter().map(|&(a, kept)| (if kept { a } else { junk }, kept)).unzip();
        normalise::masked(&mut x, &mask, eps);
        let mut want = kept.clone();
        normalise::advantages(&mut want, eps);
        let (mean, std) = moments(&kept);
        let mut i = 0;
        for (x, kept_) in x.iter().zip(&mask) {
            if *kept_ {
                let written = if kept.len() == 1 { 0.0 } else { (kept[i] - mean) / (std + eps) };
                worst.same(*x, want[i]).same(*x, written);
                i += 1;
            } else {
                worst.holds(x.to_bits() == junk.to_bits());
            }
        }
    }
    worst.done()
}

/// `c A + b` with `c > 0` gives the same, if nothing is added to the standard deviation.
fn norm_affine((advantage, c, b): (Vec<f64>, f64, f64)) -> Result<f64, String> {
    let (mut plain, mut moved) =
        (advantage.clone(), advantage.iter().map(|a| c * a + b).collect::<Vec<f64>>());
    normalise::advantages(&mut plain, 0.0);
    normalise::advantages(&mut moved, 0.0);
    // Rounding b + c A is an error in A that the division by a small standard deviation magnifies.
    let (_, std) = moments(&advantage);
    let magnified = (1.0 + b.abs() / c) / std.min(1.0);
    let mut worst = Worst::new();
    for (p, m) in plain.iter().zip(&moved) {
        worst.scaled(*p, *m, magnified);
    }
    worst.done()
}

fn norm_single_precision(advantage: Vec<f64>) -> Result<f64, String> {
    let mut single = narrow(&advantage);
    let mut wide = widen(&single);
    if moments(&wide).1 < 0.05 {
        return Ok(0.0);
    }
    normalise::advantages(&mut single, 1e-8);
    normalise::advantages(&mut wide, 1e-8);
    let mut worst = Worst::new();
    worst.all(&widen(&single), &wide);
    worst.done()
}

/// Equal entries, one entry among them, give exact zeros in both precisions, even with nothing added to the deviation.
fn norm_equal((value, count, eps): (f64, usize, f64)) -> Result<f64, String> {
    fn zeros<F: Real>(value: f64, count: usize, eps: f64) -> bool {
        let mut plain = vec![F::of(value); count];
        normalise::advantages(&mut plain, F::of(eps));
        let mut masked = vec![F::of(value); 2 * count];
        let mask: Vec<bool> = (0..2 * count).map(|i| i % 2 == 1).collect();
        masked.iter_mut().step_by(2).for_each(|x| *x = F::nan());
        normalise::masked(&mut masked, &mask, F::of(eps));
        plain.iter().chain(masked.iter().skip(1).step_by(2)).all(|&x| x == F::zero())
    }
    require(zeros::<f64>(value, count, eps) && zeros::<f32>(value, count, eps), || "not zero".to_owned())?;
    Ok(0.0)
}

fn norm_closed(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let mut x = [1.0, 2.0, 3.0];
    normalise::advantages(&mut x, 0.0);
    worst.printed(x[0], -1.2247, 4).printed(x[1], 0.0, 12).printed(x[2], 1.2247, 4);
    let mut all_hidden = [f64::NAN, 3.0];
    normalise::masked(&mut all_hidden, &[false, false], 0.0);
    worst.holds(all_hidden[0].is_nan() && all_hidden[1] == 3.0);
    let mut shows = [1.0, f64::NAN, 2.0];
    normalise::advantages(&mut shows, 1e-8);
    worst.holds(shows.iter().all(|x| x.is_nan()));
    worst.done()
}

/// Two states with a logit each; the first action pays 1 in one state and 10 in the other. Batches of two samples are
/// listed: with raw rewards the mean gradient is that of the objective, with normalised ones it has another direction.
fn norm_biased(_: u64) -> Result<f64, String> {
    let pay = [[1.0, 0.0], [10.0, 0.0]];
    let mean_gradient = |normalised: bool| {
        let mut total = [0.0; 2];
        // A sample is a state and an action, all four equally likely.
        samples(&[0.25; 4], 2, &mut |tuple, prob| {
            let mut advantage: Vec<f64> = tuple.iter().map(|&i| pay[i / 2][i % 2]).collect();
            if normalised {
                normalise::advantages(&mut advantage, 0.0);
            }
            for (&i, a) in tuple.iter().zip(&advantage) {
                let score = if i % 2 == 0 { 0.5 } else { -0.5 };
                total[i / 2] += prob * score * a / 2.0;
            }
        });
        total[0] / total[1]
    };
    let (raw, normalised) = (mean_gradient(false), mean_gradient(true));
    require((raw - 0.1).abs() < 1e-12, || format!("raw ratio {raw}"))?;
    require((normalised - 0.1).abs() > 0.2, || format!("normalised ratio {normalised}"))?;
    Ok(0.0)
}

// ppo.early-stop

/// Updates until the divergence exceeds the threshold: the one that crossed counts, and nothing after it.
fn early_stop_definition((measured, threshold): (Vec<f64>, f64)) -> Result<f64, String> {
    let updates = |stop: &dyn Fn(f64) -> bool| {
        let mut count = 0;
        for &kl in &measured {
            count += 1;
            if stop(kl) {
                break;
            }
        }
        count
    };
    let want = measured.iter().position(|&kl| kl > threshold).map_or(measured.len(), |i| i + 1);
    let by_math = updates(&|kl| should_stop(kl, threshold));
    let by_single = updates(&|kl| should_stop(kl as f32, threshold as f32));
    let by_ppo = updates(&|kl| loss::stops_early(kl, Some(threshold)));
    let without = updates(&|kl| loss::stops_early(kl, None));
    require((by_math, by_ppo) == (want, want), || {
        format!("{by_math} and {by_ppo} updates instead of {want}")
    })?;
    let tie = measured.iter().any(|&kl| (kl - threshold).abs() < 1e-7);
    require(tie || by_single == want, || format!("{by_single} updates in f32 instead of {want}"))?;
    require(without == measured.len(), || format!("{without} updates without a target"))?;
    Ok(0.0)
}

/// The mean of both estimators over all actions of the acting policy is the exact divergence; the sign of k1 matters.
fn early_stop_estimators((old, new): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let exact = kl(&old, &new);
    let (mut k1, mut k3, mut reversed) = (0.0, 0.0, 0.0);
    for (o, n) in old.iter().zip(&new) {
        let one = approx_kl(&[n.ln()], &[o.ln()]);
        k1 += o * one.k1;
        k3 += o * one.k3;
        reversed += o * -one.k1;
        require(one.k3 >= 0.0, || format!("k3 = {} on a sample", one.k3))?;
    }
    let mut worst = Worst::new();
    worst.same(k1, exact).same(k3, exact).same(reversed, -exact);
    // A batch is the mean of its samples.
    let (new_log, old_log): (Vec<f64>, Vec<f64>) =
        new.iter().zip(&old).map(|(n, o)| (n.ln(), o.ln())).unzip();
    let got = approx_kl(&new_log, &old_log);
    let n = old.len() as f64;
    worst.same(got.k1, old_log.iter().zip(&new_log).map(|(o, n)| o - n).sum::<f64>() / n);
    let k3 = |(o, l): (&f64, &f64)| (l - o).exp() - 1.0 - (l - o);
    worst.same(got.k3, old_log.iter().zip(&new_log).map(k3).sum::<f64>() / n);
    worst.done()
}

fn early_stop_edges(_: u64) -> Result<f64, String> {
    // A threshold of 0 stops at the first move, and not before it; exactly on the threshold goes on.
    for stop in [|kl: f64, t: f64| should_stop(kl, t), |kl: f64, t: f64| loss::stops_early(kl, Some(t))] {
        require(stop(1e-300, 0.0) && !stop(0.0, 0.0), || "a threshold of 0".to_owned())?;
        require(!stop(0.015, 0.015) && stop(0.0151, 0.015), || "on the threshold".to_owned())?;
        require(stop(f64::INFINITY, 1e300), || "an infinite divergence".to_owned())?;
    }
    // A divergence that is no number must not let updates go on.
    require(should_stop(f64::NAN, 0.5) && should_stop(f32::NAN, 0.5), || "NaN goes on".to_owned())?;
    let none = approx_kl::<f64>(&[], &[]);
    require(none.k1 == 0.0 && none.k3 == 0.0, || "an empty batch".to_owned())?;
    Ok(0.0)
}

// ppo.epochs

/// Every index once per epoch, whatever the sizes; lists are full but for the last.
fn epochs_partition((len, size, seed): (usize, usize, u64)) -> Result<f64, String> {
    let mut minibatches = Minibatches::new(len, size);
    let mut rng = Stream::new(seed, "epochs-check", 0);
    for epoch in 0..3 {
        minibatches.shuffle(&mut rng);
        let mut seen = vec![0; len];
        let count = minibatches.count();
        for list in 0..count {
            let list_ = minibatches.get(list);
            let want = if list + 1 < count { size } else { len - size * (count - 1) };
            require(list_.len() == want, || format!("list {list} of {count} has {} entries", list_.len()))?;
            list_.iter().for_each(|&i| seen[i as usize] += 1);
        }
        require(seen.iter().all(|&n| n == 1), || format!("epoch {epoch} visits {seen:?}"))?;
        require(minibatches.largest() == size.min(len), || "the largest list".to_owned())?;
    }
    Ok(0.0)
}

/// At fixed parameters the mean of the minibatches' gradients, weighted by their sizes, is the gradient of the whole.
fn epochs_mean((gradients, size, seed): (Vec<f64>, usize, u64)) -> Result<f64, String> {
    let n = gradients.len();
    let full = gradients.iter().sum::<f64>() / n as f64;
    let mut minibatches = Minibatches::new(n, size);
    minibatches.shuffle(&mut Stream::new(seed, "epochs-check", 1));
    let means: Vec<(f64, f64)> = (0..minibatches.count())
        .map(|list| {
            let list = minibatches.get(list);
            let sum: f64 = list.iter().map(|&i| gradients[i as usize]).sum();
            (sum / list.len() as f64, list.len() as f64)
        })
        .collect();
    let mut worst = Worst::new();
    worst.same(means.iter().map(|(mean, size)| mean * size).sum::<f64>() / n as f64, full);
    if n % size == 0 {
        worst.same(means.iter().map(|m| m.0).sum::<f64>() / means.len() as f64, full);
    }
    worst.done()
}

/// Over many epochs every index is first equally often, and epochs differ.
fn epochs_uniform(seed: u64) -> Result<f64, String> {
    let (n, epochs) = (5, 5000);
    let mut minibatches = Minibatches::new(n, 2);
    let mut rng = Stream::new(seed, "epochs-check", 2);
    let mut first = vec![0.0; n];
    let mut together = 0.0;
    for _ in 0..epochs {
        minibatches.shuffle(&mut rng);
        first[minibatches.get(0)[0] as usize] += 1.0;
        // Neighbours in the buffer end up in one list no more often than any pair: 2 lists of 2 among 10 pairs.
        together += f64::from(u8::from((0..2).any(|l| {
            let list = minibatches.get(l);
            list.contains(&0) && list.contains(&1)
        })));
    }
    let mut worst = Worst::new();
    let total = f64::from(epochs);
    for count in first {
        worst.within_five_se(count / total, 0.2, (0.2 * 0.8 / total).sqrt());
    }
    worst.within_five_se(together / total, 0.2, (0.2 * 0.8 / total).sqrt());
    worst.done()
}

/// Values 1, 2, 3 in lists of two and one: the plain mean of the means is 2.25 for one of the partitions.
fn epochs_closed(_: u64) -> Result<f64, String> {
    let mut minibatches = Minibatches::new(3, 2);
    let mut rng = Stream::new(1, "epochs-check", 3);
    let mean = |list: &[u32]| list.iter().map(|&i| f64::from(i) + 1.0).sum::<f64>() / list.len() as f64;
    let mut worst = Worst::new();
    let mut found = false;
    for _ in 0..100 {
        minibatches.shuffle(&mut rng);
        let (two, one) = (mean(minibatches.get(0)), mean(minibatches.get(1)));
        worst.same((2.0 * two + one) / 3.0, 2.0);
        if minibatches.get(1) == [2] {
            found = true;
            worst.same(0.5 * (two + one), 2.25);
        }
    }
    worst.holds(found);
    // A minibatch larger than the buffer is the buffer.
    let large = Minibatches::new(3, 100);
    worst.holds(large.count() == 1 && large.get(0).len() == 3);
    worst.done()
}
