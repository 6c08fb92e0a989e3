//! Estimators of a divergence from samples: `kl.*`.
//!
//! The estimators under test see one log-ratio at a time; the other side is an exact sum over all outcomes of two small
//! laws, or a central difference of one.

use crate::generators::{batch, normals, simplex_pair, simplex_pair_with_zeros};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_STAT, Worst, require};
use crate::oracles::{derivative, gradient};
use crate::{Check, fixed, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::estimators::{Estimator, approx_kl, estimates, k1, k2, k3};
use std::f64::consts::LN_2;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("kl.k123", "definition", TOL_ID, simplex_pair_with_zeros(), k123_definition),
        random("kl.k123", "third-order", 1.0, neighbours(skewed), k123_third_order),
        fixed("kl.k123", "closed", TOL_STAT, k123_closed),
        random("kl.k123", "accuracy", 1e-12, -1.0..=1.0f64, k123_accuracy),
        random("kl.k123", "batch", TOL_ID, batch(), k123_batch),
        random("kl.k123", "single-precision", 1e-6, batch(), k123_single_precision),
        random("kl.k3-variance", "definition", TOL_ID, simplex_pair_with_zeros(), k3_variance_definition),
        random("kl.k3-variance", "orders", 1.0, neighbours(spread_out), k3_variance_orders),
        fixed("kl.k3-variance", "closed", TOL_STAT, k3_variance_closed),
        random("kl.estimator-gradients", "gradient", TOL_FD, -3.0..=3.0f64, estimator_derivative),
        random("kl.estimator-gradients", "definition", TOL_FD, logits_and_law(), estimator_gradients),
        random("kl.estimator-gradients", "live-ratio", TOL_FD, (logits_and_law(), normals(6)), live_ratio),
        random("kl.estimator-gradients", "in-the-reward", TOL_FD, logits_and_law(), in_the_reward),
        fixed("kl.estimator-gradients", "closed", TOL_STAT, estimator_gradients_closed),
        fixed("kl.estimator-gradients", "equal-laws", EXACT, estimator_gradients_at_equal_laws),
    ]
}

const ALL: [Estimator; 3] = [Estimator::K1, Estimator::K2, Estimator::K3];

/// `KL(p || q)`, written out; infinite where `q` excludes what `p` does not.
fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p.ln() - q.ln())).sum()
}

/// The mean of an estimator over `x ~ p`, with `r = q(x) / p(x)`.
fn mean(estimator: fn(f64) -> f64, p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * estimator((q / p).ln())).sum()
}

fn variance(estimator: fn(f64) -> f64, p: &[f64], q: &[f64]) -> f64 {
    let centre = mean(estimator, p, q);
    p.iter()
        .zip(q)
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, q)| p * (estimator((q / p).ln()) - centre).powi(2))
        .sum()
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let total: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / total).collect()
}

// kl.k123

fn k123_definition((p, q): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let missed: f64 = p.iter().zip(&q).filter(|(p, _)| **p == 0.0).map(|(_, q)| q).sum();
    let mut worst = Worst::new();
    worst.same(mean(k1, &p, &q), kl(&p, &q)).same(mean(k3, &p, &q), kl(&p, &q) - missed);
    let half_square =
        p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| 0.5 * p * (q.ln() - p.ln()).powi(2)).sum();
    worst.same(mean(k2, &p, &q), half_square);
    for (p, q) in p.iter().zip(&q).filter(|(p, q)| **p > 0.0 && **q > 0.0) {
        let log_ratio = (q / p).ln();
        require(k2(log_ratio) >= 0.0 && k3(log_ratio) >= 0.0, || format!("negative at {log_ratio}"))?;
        // k1 is not: it has the sign of p - q.
        worst.holds(k1(log_ratio) < 0.0 || q <= p);
    }
    worst.done()
}

/// Two laws at distance 0.01: the logits of the first, and how far the second's lie away.
#[derive(Clone, Debug)]
struct Neighbours {
    p: Vec<f64>,
    displacement: Vec<f64>,
}

/// Draws neighbours whose displacement has the central moments that `wanted` asks for.
fn neighbours(wanted: fn(&Neighbours) -> bool) -> impl Strategy<Value = Neighbours> + Clone + Send + Sync {
    (normals(3..=6), normals(6))
        .prop_map(|(logits, direction)| {
            let direction = &direction[..logits.len()];
            let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-9);
            Neighbours {
                p: softmax(&logits),
                displacement: direction.iter().map(|d| 1e-2 * d / norm).collect(),
            }
        })
        .prop_filter("the moments are too small", wanted)
}

impl Neighbours {
    fn central_moment(&self, order: i32) -> f64 {
        let mean: f64 = self.p.iter().zip(&self.displacement).map(|(p, d)| p * d).sum();
        self.p.iter().zip(&self.displacement).map(|(p, d)| p * (d - mean).powi(order)).sum()
    }

    /// `log q - log p` where the second law's logits lie `share` of the displacement away.
    fn log_ratio(&self, share: f64) -> Vec<f64> {
        let total: f64 = self.p.iter().zip(&self.displacement).map(|(p, d)| p * (share * d).exp_m1()).sum();
        self.displacement.iter().map(|d| share * d - total.ln_1p()).collect()
    }

    fn mean(&self, share: f64, f: impl Fn(f64) -> f64) -> f64 {
        self.p.iter().zip(self.log_ratio(share)).map(|(p, x)| p * f(x)).sum()
    }

    fn variance(&self, share: f64, f: impl Fn(f64) -> f64) -> f64 {
        let centre = self.mean(share, &f);
        self.mean(share, |x| (f(x) - centre).powi(2))
    }
}

fn skewed(pair: &Neighbours) -> bool {
    pair.central_moment(3).abs() >= 0.3 * pair.central_moment(2).powf(1.5)
}

fn spread_out(pair: &Neighbours) -> bool {
    let square = pair.central_moment(2).powi(2);
    pair.central_moment(4) - square >= 0.1 * square
}

/// The bias of k2 is of third order: at half the distance it is an eighth.
fn k123_third_order(pair: Neighbours) -> Result<f64, String> {
    let bias = |share: f64| (pair.mean(share, k2) - pair.mean(share, |x| -x)).abs();
    Ok((bias(1.0) / bias(0.5) - 8.0).abs())
}

fn k123_closed(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let uniform = [0.5, 0.5];
    worst.printed(mean(k1, &[0.6, 0.4], &uniform), 0.020136, 6);
    worst.printed(mean(k3, &[0.6, 0.4], &uniform), 0.020136, 6);
    worst.printed(mean(k2, &[0.6, 0.4], &uniform), 0.019931, 6);
    worst.printed(mean(k1, &[0.99, 0.01], &uniform), 0.637146, 6);
    worst.printed(mean(k2, &[0.99, 0.01], &uniform), 0.307497, 6);
    // The bias has either sign.
    worst.holds(mean(k2, &[0.01, 0.99], &[0.001, 0.999]) > mean(k1, &[0.01, 0.99], &[0.001, 0.999]));
    // What the first law excludes is missing from k3.
    worst.printed(mean(k3, &[1.0, 0.0], &uniform), 0.193147, 6);
    worst.printed(mean(k1, &[1.0, 0.0], &uniform), LN_2, 12);
    // Samples of a third law do not estimate this divergence.
    let policy: [f64; 2] = [0.8, 0.2];
    let stale: f64 = uniform.iter().zip(&policy).map(|(old, p)| old * k3((0.5 / p).ln())).sum();
    worst.printed(stale, 0.339356, 6).printed(mean(k3, &policy, &uniform), 0.192745, 6);
    for estimator in ALL {
        worst.holds(estimator.value(0.0f64) == 0.0 && estimator.value(0.0f32) == 0.0);
    }
    worst.done()
}

/// Near 0 the textbook form of k3 loses its digits; ours must agree with the series there, relative to its size.
fn k123_accuracy(x: f64) -> Result<f64, String> {
    let mut worst = Worst::new();
    for scale in [1.0, 1e-2, 1e-5, 1e-8] {
        let x = x * scale;
        // e^x - 1 - x = sum of x^n / n!, added from the smallest term.
        let mut terms = vec![x * x / 2.0];
        for n in 3..=25 {
            terms.push(terms[n - 3] * x / n as f64);
        }
        let series: f64 = terms.iter().rev().sum();
        if series > 1e-300 {
            worst.add((k3(x) - series).abs() / series);
        }
    }
    worst.done()
}

/// The batched forms against the one-sample forms.
fn k123_batch(batch: crate::generators::Batch) -> Result<f64, String> {
    let log_ratio: Vec<f64> = batch.log_prob.iter().zip(&batch.old_log_prob).map(|(l, o)| l - o).collect();
    let n = log_ratio.len();
    let (mut one, mut two, mut three) = (vec![f64::NAN; n], vec![f64::NAN; n], vec![f64::NAN; n]);
    estimates(&log_ratio, &mut one, &mut two, &mut three);
    let mut worst = Worst::new();
    for (i, &x) in log_ratio.iter().enumerate() {
        worst.same(one[i], -x).same(two[i], 0.5 * x * x).same(three[i], x.exp_m1() - x);
        worst.same(k1(x), -x).same(k2(x), 0.5 * x * x).same(k3(x), x.exp_m1() - x);
        for (estimator, want) in ALL.into_iter().zip([-x, 0.5 * x * x, x.exp_m1() - x]) {
            worst.same(estimator.value(x), want);
        }
    }
    worst.done()
}

fn k123_single_precision(batch: crate::generators::Batch) -> Result<f64, String> {
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let widen = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (new, old) = (narrow(&batch.log_prob), narrow(&batch.old_log_prob));
    let log_ratio: Vec<f32> = new.iter().zip(&old).map(|(n, o)| n - o).collect();
    let n = log_ratio.len();
    let (mut one, mut two, mut three) = (vec![f32::NAN; n], vec![f32::NAN; n], vec![f32::NAN; n]);
    estimates(&log_ratio, &mut one, &mut two, &mut three);
    let mut worst = Worst::new();
    for (i, x) in widen(&log_ratio).into_iter().enumerate() {
        worst.same(f64::from(one[i]), -x).same(f64::from(two[i]), 0.5 * x * x);
        worst.same(f64::from(three[i]), x.exp_m1() - x);
        worst.holds(three[i] >= 0.0);
    }
    let got = approx_kl(&new, &old);
    let ratios = widen(&log_ratio);
    let count = n as f64;
    worst.same(f64::from(got.k1), ratios.iter().map(|x| -x).sum::<f64>() / count);
    worst.same(f64::from(got.k3), ratios.iter().map(|x| x.exp_m1() - x).sum::<f64>() / count);
    worst.done()
}

// kl.k3-variance

/// The exact moments of every estimator, against sums over all outcomes written out.
fn k3_variance_definition((p, q): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let written: [fn(f64) -> f64; 3] = [|x| -x, |x| 0.5 * x * x, |x| x.exp() - 1.0 - x];
    let mut worst = Worst::new();
    if p.iter().zip(&q).any(|(&p, &q)| p > 0.0 && q == 0.0) {
        // An infinite divergence has no finite moment.
        worst.holds(ALL.iter().all(|estimator| estimator.moments(&p, &q).0 == f64::INFINITY));
        return worst.done();
    }
    for (estimator, written) in ALL.iter().zip(written) {
        let (mean_, variance_) = estimator.moments(&p, &q);
        worst.same(mean_, mean(written, &p, &q)).same(variance_, variance(written, &p, &q));
        let (mean_, variance_) = estimator.moments(&p, &p);
        worst.same(mean_, 0.0).same(variance_, 0.0);
    }
    worst.done()
}

/// At half the distance the variance of k3 is a sixteenth, that of k1 a quarter. The bands are 2 and 0.5 wide.
fn k3_variance_orders(pair: Neighbours) -> Result<f64, String> {
    let ratio = |f: fn(f64) -> f64| pair.variance(1.0, f) / pair.variance(0.5, f);
    let mut worst = Worst::new();
    worst.add((ratio(k3) - 16.0).abs() / 2.0).add((ratio(k1) - 4.0).abs() / 0.5);
    worst.holds(pair.variance(1.0, k3) < pair.variance(1.0, k1));
    worst.done()
}

/// Near each other k3 varies far less than k1; far away it varies more.
fn k3_variance_closed(_: u64) -> Result<f64, String> {
    let uniform: [f64; 2] = [0.5, 0.5];
    let mut worst = Worst::new();
    let (near, far) = ([0.6, 0.4], [0.99, 0.01]);
    worst.printed(Estimator::K3.moments(&near, &uniform).1, 3.01e-5, 7);
    worst.printed(Estimator::K1.moments(&near, &uniform).1, 0.03946, 5);
    worst.printed(Estimator::K3.moments(&far, &uniform).1, 19.958, 3);
    worst.printed(Estimator::K1.moments(&far, &uniform).1, 0.20904, 5);
    for estimator in ALL {
        worst.holds(estimator.moments(&uniform, &uniform) == (0.0, 0.0));
    }
    worst.done()
}

// kl.estimator-gradients

/// Logits of the trained policy and another law, of one size.
fn logits_and_law() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (vec(-2.0..=2.0f64, 6), simplex_pair()).prop_map(|(z, (_, q))| (z[..q.len()].to_vec(), q))
}

/// One sample: the slope in `log pi`, on which the log-ratio `log q - log pi` depends with slope -1.
fn estimator_derivative(log_ratio: f64) -> Result<f64, String> {
    let written: [fn(f64) -> f64; 3] = [|x| -x, |x| 0.5 * x * x, |x| x.exp() - 1.0 - x];
    let mut worst = Worst::new();
    for (estimator, written) in ALL.iter().zip(written) {
        let difference = derivative(|log_pi| written(log_ratio - log_pi), 0.0);
        worst.gradient(&[estimator.grad(log_ratio)], &[difference]);
        let single = f64::from(estimator.grad(log_ratio as f32));
        worst.holds(
            (single - estimator.grad(f64::from(log_ratio as f32))).abs() < 1e-5 * (1.0 + single.abs()),
        );
    }
    worst.done()
}

/// The mean gradient of an estimator with its samples held fixed: `sum_x pi(x) slope(x) (e_x - pi)`.
fn mean_gradient(z: &[f64], weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let pi = softmax(z);
    let total: f64 = (0..z.len()).map(&weight).sum();
    (0..z.len()).map(|b| weight(b) - pi[b] * total).collect()
}

fn estimator_gradients((z, q): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let pi = softmax(&z);
    let with = |estimator: Estimator| mean_gradient(&z, |x| pi[x] * estimator.grad((q[x] / pi[x]).ln()));
    let mut worst = Worst::new();
    worst.gradient(&with(Estimator::K1), &vec![0.0; z.len()]);
    worst.gradient(&with(Estimator::K2), &gradient(|z| kl(&softmax(z), &q), &z));
    worst.gradient(&with(Estimator::K3), &gradient(|z| kl(&q, &softmax(z)), &z));
    // The same with the estimators' values differentiated, the samples' law frozen.
    for estimator in ALL {
        let frozen = |z: &[f64]| -> f64 {
            softmax(z).iter().enumerate().map(|(x, p)| pi[x] * estimator.value((q[x] / p).ln())).sum()
        };
        worst.gradient(&with(estimator), &gradient(frozen, &z));
    }
    worst.done()
}

/// Weighted by a live ratio `rho = pi / pi_old`, k3 has the gradient of `KL(pi || q)` wherever the trained policy is.
fn live_ratio(((z, q), old): ((Vec<f64>, Vec<f64>), Vec<f64>)) -> Result<f64, String> {
    let (pi, old) = (softmax(&z), softmax(&old[..z.len()]));
    // E_old[rho k3] differentiated: rho k3 in log pi has the slope rho (k3 + k3').
    let got = mean_gradient(&z, |x| {
        let log_ratio = (q[x] / pi[x]).ln();
        old[x] * (pi[x] / old[x]) * (k3(log_ratio) + Estimator::K3.grad(log_ratio))
    });
    let mut worst = Worst::new();
    worst.gradient(&got, &gradient(|z| kl(&softmax(z), &q), &z));
    worst.done()
}

/// `-k1` as a detached reward gives the score-function gradient of `-KL(pi || q)`.
fn in_the_reward((z, q): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let pi = softmax(&z);
    let got = mean_gradient(&z, |x| -pi[x] * k1((q[x] / pi[x]).ln()));
    let mut worst = Worst::new();
    worst.gradient(&got, &gradient(|z| -kl(&softmax(z), &q), &z));
    worst.done()
}

/// `(0.9, 0.1)` against the uniform law, in the logit of the first action: k2 follows one direction, k3 the other.
fn estimator_gradients_closed(_: u64) -> Result<f64, String> {
    let z = [9f64.ln(), 0.0];
    let pi = softmax(&z);
    let with = |estimator: Estimator| mean_gradient(&z, |x| pi[x] * estimator.grad((0.5 / pi[x]).ln()))[0];
    let mut worst = Worst::new();
    worst.printed(with(Estimator::K2), 0.19775, 5).printed(with(Estimator::K3), 0.4, 12);
    worst.printed(with(Estimator::K1), 0.0, 12);
    worst.done()
}

fn estimator_gradients_at_equal_laws(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.holds(Estimator::K2.grad(0.0f64) == 0.0 && Estimator::K3.grad(0.0f64) == 0.0);
    worst.holds(mean_gradient(&[0.0; 4], |_| 0.25 * Estimator::K1.grad(0.0)).iter().all(|g| g.abs() < 1e-16));
    worst.done()
}
