//! Policies: `policy.*` and `ent.bonus`.
//!
//! The distributions under test are closed forms and their handwritten gradients; the other side is a naive sum, a central
//! difference of one, or a quadrature of a density written out here.

mod beta;

use crate::generators::normal;
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_QUAD, TOL_STAT, Worst, require};
use crate::oracles::{derivative, gaussian_integral, gradient, integral, jacobian};
use crate::{Check, fixed, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::{Stream, categorical, gaussian};
use std::f64::consts::{LN_2, PI, TAU};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let scales = || (-2.0..=2.0f64, -2.0..=2.0f64, -2.0..=2.0f64);
    let mut checks = vec![
        random("ent.bonus", "gradient", TOL_FD, (logits(6.0), -3.0..=3.0f64), entropy_gradient),
        random("ent.bonus", "sign", EXACT, (logits(6.0), 1e-3..=1.0f64), entropy_sign),
        fixed("ent.bonus", "edges", TOL_ID, entropy_edges),
        fixed("ent.bonus", "soft-value", TOL_STAT, entropy_soft_value),
        random("policy.softmax", "definition", TOL_ID, logits(30.0), softmax_definition),
        random("policy.softmax", "gradient", TOL_FD, (logits(30.0), -3.0..=3.0f64), softmax_gradient),
        random("policy.softmax", "shift", TOL_ID, logits_pair(30.0), softmax_shift),
        fixed("policy.softmax", "extremes", EXACT, softmax_extremes),
        fixed("policy.softmax", "reward", TOL_STAT, softmax_reward),
        random("policy.softmax", "divergences", TOL_ID, logits_pair(8.0), softmax_divergences),
        random(
            "policy.softmax",
            "divergence-gradients",
            TOL_FD,
            logits_pair(6.0),
            softmax_divergence_gradients,
        ),
        random("policy.softmax", "sampler", EXACT, (logits(3.0), 1..=2000u32), softmax_sampler),
        fixed("policy.softmax", "batch-sampler", TOL_STAT, softmax_batch_sampler),
        random("policy.softmax", "batch", TOL_ID, rows(8.0), softmax_batch),
        random("policy.softmax", "batch-gradient", TOL_FD, rows(6.0), softmax_batch_gradient),
        random("policy.softmax", "single-precision", 1e-5, rows(8.0), softmax_single_precision),
        random("policy.gaussian", "definition", TOL_ID, dimensions(), gaussian_definition),
        random("policy.gaussian", "gradient", TOL_FD, (dimensions(), scales()), gaussian_gradient),
        random("policy.gaussian", "integrals", TOL_QUAD, dimensions(), gaussian_integrals),
        random("policy.gaussian", "kl-gradient", TOL_FD, dimensions(), gaussian_kl_gradient).at_most(96),
        fixed("policy.gaussian", "closed", TOL_STAT, gaussian_closed),
        fixed("policy.gaussian", "squashed", TOL_QUAD, gaussian_squashed),
        random(
            "policy.gaussian",
            "score-identity",
            TOL_FD,
            (dimensions(), scales()),
            gaussian_score_identity,
        ),
        random(
            "policy.gaussian",
            "single-precision",
            1e-5,
            (dimensions(), scales()),
            gaussian_single_precision,
        ),
        fixed("policy.gaussian", "batch-sampler", TOL_STAT, gaussian_batch_sampler),
    ];
    checks.extend(beta::checks());
    checks
}

// Softmax: the other side

/// The probabilities of logits up to 30 in size, straight from the definition.
fn naive_softmax(z: &[f64]) -> Vec<f64> {
    let total: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / total).collect()
}

fn naive_entropy(z: &[f64]) -> f64 {
    -naive_softmax(z).iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

fn naive_kl(z: &[f64], y: &[f64]) -> f64 {
    naive_softmax(z)
        .iter()
        .zip(naive_softmax(y))
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, q)| p * (p / q).ln())
        .sum()
}

fn logits(max: f64) -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec(-max..=max, 1..=6)
}

/// Two rows of logits of one length.
fn logits_pair(max: f64) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    vec((-max..=max, -max..=max), 1..=6).prop_map(|pairs| pairs.into_iter().unzip())
}

/// A batch of logits `[B, A]` with an action, and gradients at its log-probability and its entropy, per row.
#[derive(Clone, Debug)]
struct Rows {
    actions: usize,
    logits: Vec<f64>,
    action: Vec<u32>,
    d_log_prob: Vec<f64>,
    d_entropy: Vec<f64>,
}

fn rows(max: f64) -> impl Strategy<Value = Rows> + Clone + Send + Sync {
    (1..=9usize, vec((vec(-max..=max, 9), any::<u32>(), normal(), normal()), 1..=40)).prop_map(
        |(actions, rows)| Rows {
            actions,
            logits: rows.iter().flat_map(|row| row.0[..actions].to_vec()).collect(),
            action: rows.iter().map(|row| row.1 % actions as u32).collect(),
            d_log_prob: rows.iter().map(|row| row.2).collect(),
            d_entropy: rows.iter().map(|row| row.3).collect(),
        },
    )
}

// policy.softmax

fn softmax_definition(z: Vec<f64>) -> Result<f64, String> {
    let want = naive_softmax(&z);
    let (mut log_p, mut p) = (vec![f64::NAN; z.len()], vec![f64::NAN; z.len()]);
    categorical::log_softmax(&z, &mut log_p);
    categorical::probabilities(&z, &mut p);
    let mut worst = Worst::new();
    worst.all(&p, &want).same(p.iter().sum(), 1.0);
    for (a, want) in want.iter().enumerate() {
        worst.same(log_p[a], want.ln()).same(categorical::log_prob(&z, a), want.ln());
    }
    let largest = want.iter().copied().fold(0.0, f64::max);
    worst.holds(want[categorical::mode(&z)] == largest);
    worst.done()
}

fn softmax_gradient((z, scale): (Vec<f64>, f64)) -> Result<f64, String> {
    let pi = naive_softmax(&z);
    let mut worst = Worst::new();
    for a in 0..z.len() {
        let mut grad = vec![1.0; z.len()];
        categorical::add_d_log_prob(&z, a, scale, &mut grad);
        let grad: Vec<f64> = grad.iter().map(|g| g - 1.0).collect();
        worst.gradient(&grad, &gradient(|z| scale * naive_softmax(z)[a].ln(), &z));
    }
    // The Jacobian of the probabilities themselves.
    let probabilities = |z: &[f64]| {
        let mut p = vec![0.0; z.len()];
        categorical::probabilities(z, &mut p);
        p
    };
    for (a, row) in jacobian(probabilities, &z).iter().enumerate() {
        let formula: Vec<f64> = (0..z.len()).map(|b| pi[a] * (f64::from(u8::from(a == b)) - pi[b])).collect();
        worst.gradient(&formula, row);
        // All entries of a column add up to nothing: not all probabilities can rise.
        worst.add(formula.iter().sum::<f64>().abs());
    }
    worst.done()
}

/// Adding a constant to all logits changes nothing; nor do logits of a thousand overflow.
fn softmax_shift((z, y): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let n = z.len();
    let (want, last) = (naive_softmax(&z), n - 1);
    let mut worst = Worst::new();
    for shift in [1e3, -1e3] {
        let moved: Vec<f64> = z.iter().map(|z| z + shift).collect();
        let (mut log_p, mut p) = (vec![f64::NAN; n], vec![f64::NAN; n]);
        categorical::log_softmax(&moved, &mut log_p);
        categorical::probabilities(&moved, &mut p);
        for a in 0..n {
            worst.same(log_p[a], want[a].ln()).same(p[a], want[a]);
            worst.same(categorical::log_prob(&moved, a), want[a].ln());
        }
        worst.same(categorical::entropy(&moved), naive_entropy(&z));
        worst.same(categorical::kl(&moved, &y), naive_kl(&z, &y));
        worst.same(categorical::kl(&y, &moved), naive_kl(&y, &z));
        let (mut grad, mut want_grad) = (vec![0.0; n], vec![0.0; n]);
        for (z, grad) in [(&moved, &mut grad), (&z, &mut want_grad)] {
            categorical::add_d_log_prob(z, last, 1.0, grad);
            categorical::add_d_entropy(z, -0.5, grad);
            categorical::add_d_kl_first(z, &y, 0.3, grad);
            categorical::add_d_kl_second(&y, z, 0.7, grad);
        }
        worst.all(&grad, &want_grad);
        let action = [last as u32];
        let mut evaluation = categorical::Evaluation::new(1, n);
        categorical::evaluate(&moved, &action, &mut evaluation);
        worst.same(evaluation.log_prob[0], want[last].ln()).same(evaluation.entropy[0], naive_entropy(&z));
        worst.holds(categorical::mode(&moved) == categorical::mode(&z));
        for u in [0.1, 0.5, 0.9] {
            let drawn = categorical::sample(&moved, u);
            let below: f64 = want[..drawn].iter().sum();
            worst.at_most(below, u).at_most(u, below + want[drawn]);
        }
        let (mut streams, mut action, mut log_prob) = ([Stream::new(1, "shift-check", 0)], [0], [f64::NAN]);
        categorical::sample_rows(&moved, n, &mut streams, &mut action, &mut log_prob);
        worst.same(log_prob[0], want[action[0] as usize].ln());
    }
    worst.done()
}

/// One action has log-probability 0 and no gradient; hopeless and impossible actions give 0 and -infinity, never NaN.
fn softmax_extremes(_: u64) -> Result<f64, String> {
    for z in [-1e3, 0.0, 7.5, 1e3] {
        softmax_extreme(&[z], 0, 0.0)?;
        require(categorical::kl(&[z], &[-z]) == 0.0, || format!("kl with one action, logit {z}"))?;
        require(categorical::sample(&[z], 0.999) == 0, || format!("sample with one action, logit {z}"))?;
    }
    softmax_extreme(&[1e3, -1e3], 0, 0.0)?;
    softmax_extreme(&[1e3, -1e3], 1, -2e3)?;
    softmax_extreme(&[0.0, f64::NEG_INFINITY, -1e3], 1, f64::NEG_INFINITY)?;
    // A second distribution that excludes what the first does is infinitely far away.
    let (all, one) = ([0.0, 0.0], [0.0, f64::NEG_INFINITY]);
    require(categorical::kl(&all, &one) == f64::INFINITY, || "kl to a smaller support".to_owned())?;
    require(categorical::kl(&one, &all) == LN_2, || "kl to a larger support".to_owned())?;
    for z in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
        let hidden = categorical::log_prob(&z, 0).is_finite() || categorical::entropy(&z).is_finite();
        require(!hidden, || format!("NaN is hidden in {z:?}"))?;
    }
    Ok(0.0)
}

/// A law that is certain: its entropy is 0, the log-probability of `a` is `log_p`, and every gradient is finite.
fn softmax_extreme(z: &[f64], a: usize, log_p: f64) -> Result<(), String> {
    let say = |what: &str| format!("{what} of action {a} for the logits {z:?}");
    let mut grad = vec![0.0; z.len()];
    categorical::add_d_log_prob(z, a, 1.0, &mut grad);
    categorical::add_d_entropy(z, 1.0, &mut grad);
    categorical::add_d_kl_first(z, z, 1.0, &mut grad);
    categorical::add_d_kl_second(z, z, 1.0, &mut grad);
    require(grad.iter().all(|g| g.is_finite()), || say("gradient"))?;
    require(categorical::log_prob(z, a) == log_p, || say("log-probability"))?;
    require(categorical::entropy(z) == 0.0, || say("entropy"))?;
    let action = [a as u32];
    let mut wide = categorical::Evaluation::new(1, z.len());
    categorical::evaluate(z, &action, &mut wide);
    require(wide.log_prob[0] == log_p && wide.entropy[0] == 0.0, || say("evaluation in f64"))?;
    let narrow: Vec<f32> = z.iter().map(|&z| z as f32).collect();
    let mut single = categorical::Evaluation::new(1, z.len());
    categorical::evaluate(&narrow, &action, &mut single);
    let same = f64::from(single.log_prob[0]) == log_p && single.entropy[0] == 0.0;
    require(same, || say("evaluation in f32"))?;
    let (mut d, mut d_single) = (vec![f64::NAN; z.len()], vec![f32::NAN; z.len()]);
    categorical::backward(&wide, &action, &[1.0], &[1.0], &mut d);
    categorical::backward(&single, &action, &[1.0], &[1.0], &mut d_single);
    let finite = d.iter().all(|d| d.is_finite()) && d_single.iter().all(|d| d.is_finite());
    require(finite, || say("batched gradient"))
}

/// From the uniform policy, a reward of 10 and a step of 0.1 raise one probability and lower the other; a constant reward
/// moves nothing on average.
fn softmax_reward(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let mut z = [0.0; 2];
    categorical::add_d_log_prob(&[0.0, 0.0], 0, 0.1 * 10.0, &mut z);
    let mut p = [0.0; 2];
    categorical::probabilities(&z, &mut p);
    worst.printed(p[0], 0.731059, 6).printed(p[1], 0.268941, 6);
    for z in [vec![0.0, 0.0], vec![1.0, -2.0, 0.3]] {
        let mut mean = vec![0.0; z.len()];
        for (a, p) in naive_softmax(&z).into_iter().enumerate() {
            categorical::add_d_log_prob(&z, a, p * 10.0, &mut mean);
        }
        mean.iter().for_each(|&m| _ = worst.printed(m, 0.0, 12));
    }
    worst.done()
}

/// Entropy and KL against naive sums, and their bounds.
fn softmax_divergences((z, y): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.same(categorical::entropy(&z), naive_entropy(&z)).same(categorical::kl(&z, &y), naive_kl(&z, &y));
    worst.at_most(0.0, categorical::kl(&z, &y)).same(categorical::kl(&z, &z), 0.0);
    worst.at_most(0.0, categorical::entropy(&z)).at_most(categorical::entropy(&z), (z.len() as f64).ln());
    worst.done()
}

fn softmax_divergence_gradients((z, y): (Vec<f64>, Vec<f64>)) -> Result<f64, String> {
    let mut worst = Worst::new();
    let mut first = vec![0.0; z.len()];
    categorical::add_d_kl_first(&z, &y, 1.5, &mut first);
    worst.gradient(&first, &gradient(|z| 1.5 * naive_kl(z, &y), &z));
    let mut second = vec![0.0; z.len()];
    categorical::add_d_kl_second(&z, &y, -0.5, &mut second);
    worst.gradient(&second, &gradient(|y| -0.5 * naive_kl(&z, y), &y));
    worst.done()
}

/// Evenly spaced uniform numbers give every action its share, to one count.
fn softmax_sampler((z, draws): (Vec<f64>, u32)) -> Result<f64, String> {
    let mut count = vec![0u32; z.len()];
    let mut narrow_count = count.clone();
    let narrow: Vec<f32> = z.iter().map(|&z| z as f32).collect();
    for i in 0..draws {
        let u = (f64::from(i) + 0.5) / f64::from(draws);
        count[categorical::sample(&z, u)] += 1;
        narrow_count[categorical::sample(&narrow, u as f32)] += 1;
    }
    let mut worst = Worst::new();
    for ((p, &n), &m) in naive_softmax(&z).into_iter().zip(&count).zip(&narrow_count) {
        let want = p * f64::from(draws);
        worst.add((f64::from(n) - want).abs() - 1.0).add((f64::from(m) - want).abs() - 1.01);
    }
    worst.done()
}

/// Whole batches, drawn from the streams' own numbers, at a frequency that five standard errors allow.
fn softmax_batch_sampler(seed: u64) -> Result<f64, String> {
    let z: [f32; 3] = [0.3, -0.7, 1.1];
    let rows = 4096;
    let logits: Vec<f32> = z.iter().copied().cycle().take(3 * rows).collect();
    let mut streams: Vec<Stream> = (0..rows as u64).map(|n| Stream::new(seed, "softmax-check", n)).collect();
    let (mut action, mut log_prob) = (vec![0; rows], vec![0.0; rows]);
    let mut count = [0.0; 3];
    let mut worst = Worst::new();
    let wide = naive_softmax(&z.map(f64::from));
    for _ in 0..8 {
        categorical::sample_rows(&logits, 3, &mut streams, &mut action, &mut log_prob);
        for (&a, &l) in action.iter().zip(&log_prob) {
            count[a as usize] += 1.0;
            worst.holds((f64::from(l) - wide[a as usize].ln()).abs() < 1e-6);
        }
    }
    let total = 8.0 * rows as f64;
    for (n, p) in count.iter().zip(&wide) {
        worst.within_five_se(n / total, *p, (p * (1.0 - p) / total).sqrt());
    }
    worst.done()
}

/// The batched values against naive sums, row by row.
fn softmax_batch(rows: Rows) -> Result<f64, String> {
    let mut evaluation = categorical::Evaluation::new(0, rows.actions);
    categorical::evaluate(&rows.logits, &rows.action, &mut evaluation);
    let mut worst = Worst::new();
    worst.holds(evaluation.log_prob.len() == rows.action.len());
    for (b, z) in rows.logits.chunks_exact(rows.actions).enumerate() {
        worst.same(evaluation.log_prob[b], naive_softmax(z)[rows.action[b] as usize].ln());
        worst.same(evaluation.entropy[b], naive_entropy(z));
    }
    worst.done()
}

/// The batched gradients against central differences of naive sums.
fn softmax_batch_gradient(rows: Rows) -> Result<f64, String> {
    let n = rows.actions;
    let mut evaluation = categorical::Evaluation::new(rows.action.len(), n);
    categorical::evaluate(&rows.logits, &rows.action, &mut evaluation);
    let mut d_logits = vec![f64::NAN; rows.logits.len()];
    categorical::backward(&evaluation, &rows.action, &rows.d_log_prob, &rows.d_entropy, &mut d_logits);
    let mut worst = Worst::new();
    for (b, z) in rows.logits.chunks_exact(n).enumerate() {
        let a = rows.action[b] as usize;
        let loss =
            |z: &[f64]| rows.d_log_prob[b] * naive_softmax(z)[a].ln() + rows.d_entropy[b] * naive_entropy(z);
        worst.gradient(&d_logits[b * n..(b + 1) * n], &gradient(loss, z));
    }
    worst.done()
}

fn softmax_single_precision(rows: Rows) -> Result<f64, String> {
    let n = rows.actions;
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let widen = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (z, dl, dh) = (narrow(&rows.logits), narrow(&rows.d_log_prob), narrow(&rows.d_entropy));
    let mut single = categorical::Evaluation::new(rows.action.len(), n);
    categorical::evaluate(&z, &rows.action, &mut single);
    let mut single_grad = vec![f32::NAN; z.len()];
    categorical::backward(&single, &rows.action, &dl, &dh, &mut single_grad);
    let mut double = categorical::Evaluation::new(rows.action.len(), n);
    categorical::evaluate(&widen(&z), &rows.action, &mut double);
    let mut double_grad = vec![f64::NAN; z.len()];
    categorical::backward(&double, &rows.action, &widen(&dl), &widen(&dh), &mut double_grad);
    let mut worst = Worst::new();
    worst.all(&widen(&single.log_prob), &double.log_prob).all(&widen(&single.entropy), &double.entropy);
    worst.all(&widen(&single_grad), &double_grad);
    worst.done()
}

// ent.bonus

fn entropy_gradient((z, scale): (Vec<f64>, f64)) -> Result<f64, String> {
    let mut grad = vec![2.0; z.len()];
    categorical::add_d_entropy(&z, scale, &mut grad);
    let grad: Vec<f64> = grad.iter().map(|g| g - 2.0).collect();
    let mut worst = Worst::new();
    worst.gradient(&grad, &gradient(|z| scale * naive_entropy(z), &z));
    worst.done()
}

/// A small step down the loss `-ent_coef H` raises the entropy.
fn entropy_sign((z, ent_coef): (Vec<f64>, f64)) -> Result<f64, String> {
    let mut grad = vec![0.0; z.len()];
    categorical::add_d_entropy(&z, -ent_coef, &mut grad);
    let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
    let mut worst = Worst::new();
    if norm >= 1e-3 {
        let after: Vec<f64> = z.iter().zip(&grad).map(|(z, g)| z - 1e-3 * g).collect();
        worst.holds(naive_entropy(&after) > naive_entropy(&z));
    }
    worst.done()
}

/// Nothing to gain at the uniform policy, and nothing but zeros where the policy is certain.
fn entropy_edges(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    for n in 1..=7 {
        let mut grad = vec![0.0; n];
        categorical::add_d_entropy(&vec![3.25; n], 1.0, &mut grad);
        grad.iter().for_each(|&g| _ = worst.same(g, 0.0));
        worst.same(categorical::entropy(&vec![3.25; n]), (n as f64).ln());
    }
    for z in [[800.0, -800.0, 0.0], [0.0, -1e308, -50.0], [f64::NEG_INFINITY, 0.0, -1e3]] {
        let mut grad = vec![0.0; 3];
        categorical::add_d_entropy(&z, 1.0, &mut grad);
        grad.iter().for_each(|&g| _ = worst.same(g, 0.0));
        worst.same(categorical::entropy(&z), 0.0);
    }
    worst.done()
}

/// In the first state one action leads to a state with two equal actions, the other ends; no rewards, discount 0.9. The
/// bonus of the states visited does not see the entropy to come; the soft value does.
fn entropy_soft_value(_: u64) -> Result<f64, String> {
    let gamma = 0.9;
    let logits = |p: f64| [p.ln(), (1.0 - p).ln()];
    let soft_value =
        |p: f64| categorical::entropy(&logits(p)) + gamma * p * categorical::entropy(&[0.0, 0.0]);
    let frozen = |p: f64| categorical::entropy(&logits(p)) + gamma * 0.5 * categorical::entropy(&[0.0, 0.0]);
    let mut grad = vec![0.0; 2];
    categorical::add_d_entropy(&logits(0.5), 1.0, &mut grad);
    let mut worst = Worst::new();
    worst.printed(derivative(frozen, 0.5), 0.0, 6).printed(derivative(soft_value, 0.5), 0.623832, 6);
    worst.printed(grad[0], 0.0, 12).printed(grad[1], 0.0, 12);
    worst.done()
}

// policy.gaussian

/// The log-density of one dimension, written out.
fn normal_log_density(x: f64, mean: f64, std: f64) -> f64 {
    -(x - mean).powi(2) / (2.0 * std * std) - (std * TAU.sqrt()).ln()
}

fn normal_density(x: f64, mean: f64, std: f64) -> f64 {
    normal_log_density(x, mean, std).exp()
}

/// One dimension of two Gaussians, with an action.
#[derive(Clone, Copy, Debug)]
struct Dimension {
    mean: f64,
    log_std: f64,
    other_mean: f64,
    other_log_std: f64,
    action: f64,
}

fn dimensions() -> impl Strategy<Value = Vec<Dimension>> + Clone + Send + Sync {
    let log_std = -2.0..=1.0f64;
    vec((-3.0..=3.0f64, log_std.clone(), -1.0..=1.0f64, log_std, normal()), 1..=3).prop_map(|dims| {
        dims.into_iter()
            .map(|(mean, log_std, shift, other_log_std, noise)| Dimension {
                mean,
                log_std,
                // Not more standard deviations away than the quadrature covers well.
                other_mean: mean + 3.0 * shift * other_log_std.exp().min(1.0),
                other_log_std,
                action: mean + log_std.exp() * noise,
            })
            .collect()
    })
}

fn pick(dims: &[Dimension], f: impl Fn(&Dimension) -> f64) -> Vec<f64> {
    dims.iter().map(f).collect()
}

/// Mean and log standard deviation of the first and the second Gaussian, and the action.
fn parts(dims: &[Dimension]) -> [Vec<f64>; 5] {
    [
        pick(dims, |d| d.mean),
        pick(dims, |d| d.log_std),
        pick(dims, |d| d.other_mean),
        pick(dims, |d| d.other_log_std),
        pick(dims, |d| d.action),
    ]
}

fn gaussian_definition(dims: Vec<Dimension>) -> Result<f64, String> {
    let [mean, log_std, _, _, action] = parts(&dims);
    let want: f64 = dims.iter().map(|d| normal_log_density(d.action, d.mean, d.log_std.exp())).sum();
    let mut worst = Worst::new();
    worst.same(gaussian::log_prob(&mean, &log_std, &action), want);
    // What is drawn is the mean plus the scaled noise, and comes with its own log-density.
    let noise = pick(&dims, |d| (d.action - d.mean) / d.log_std.exp());
    let mut drawn = vec![f64::NAN; dims.len()];
    worst.same(gaussian::sample(&mean, &log_std, &noise, &mut drawn), want).all(&drawn, &action);
    // A batch of two rows, the second at its mean.
    let rows = [mean.clone(), mean.clone()].concat();
    let mut log_prob = [f64::NAN; 2];
    gaussian::evaluate(&rows, &log_std, &[action, mean].concat(), &mut log_prob);
    let at_mean: f64 = dims.iter().map(|d| -(d.log_std.exp() * TAU.sqrt()).ln()).sum();
    worst.all(&log_prob, &[want, at_mean]);
    worst.done()
}

fn gaussian_gradient((dims, scales): (Vec<Dimension>, (f64, f64, f64))) -> Result<f64, String> {
    let [mean, log_std, _, _, action] = parts(&dims);
    let n = dims.len();
    let log_density =
        |p: &[f64]| -> f64 { (0..n).map(|d| normal_log_density(action[d], p[d], p[n + d].exp())).sum() };
    let at = [mean.clone(), log_std.clone()].concat();
    let (mut d_mean, mut d_log_std) = (vec![1.0; n], vec![1.0; n]);
    gaussian::add_d_log_prob(&mean, &log_std, &action, scales.0, &mut d_mean, &mut d_log_std);
    let got: Vec<f64> = d_mean.iter().chain(&d_log_std).map(|g| g - 1.0).collect();
    let mut worst = Worst::new();
    worst.gradient(&got, &gradient(|p| scales.0 * log_density(p), &at));
    // Two rows with one log_std, and its entropy.
    let rows = [mean.clone(), pick(&dims, |d| d.other_mean)].concat();
    let actions = [action.clone(), action.clone()].concat();
    let (mut d_rows, mut d_log_std) = (vec![f64::NAN; 2 * n], vec![1.0; n]);
    let d_log_prob = [scales.0, scales.1];
    gaussian::backward(&rows, &log_std, &actions, &d_log_prob, scales.2, &mut d_rows, &mut d_log_std);
    let loss = |p: &[f64]| -> f64 {
        let log_std = &p[2 * n..];
        let row = |b: usize| -> f64 {
            (0..n).map(|d| normal_log_density(action[d], p[b * n + d], log_std[d].exp())).sum()
        };
        let entropy: f64 =
            log_std.iter().map(|s| 0.5 * (TAU * std::f64::consts::E * (2.0 * s).exp()).ln()).sum();
        scales.0 * row(0) + scales.1 * row(1) + scales.2 * entropy
    };
    let got: Vec<f64> = d_rows.iter().copied().chain(d_log_std.iter().map(|g| g - 1.0)).collect();
    worst.gradient(&got, &gradient(loss, &[rows, log_std].concat()));
    worst.done()
}

/// `KL(1 || 2)` of one dimension by quadrature.
fn kl_by_quadrature(m1: f64, s1: f64, m2: f64, s2: f64) -> f64 {
    let ratio = |x: f64| normal_log_density(x, m1, s1.exp()) - normal_log_density(x, m2, s2.exp());
    gaussian_integral(m1, s1.exp(), |x| normal_density(x, m1, s1.exp()) * ratio(x))
}

/// Mass, entropy, KL and Fisher matrix against quadratures. The second ones add up over dimensions.
fn gaussian_integrals(dims: Vec<Dimension>) -> Result<f64, String> {
    let [mean, log_std, other_mean, other_log_std, _] = parts(&dims);
    let mut worst = Worst::new();
    let mut entropy = 0.0;
    let mut kl = 0.0;
    for d in &dims {
        let std = d.log_std.exp();
        let density = |x: f64| gaussian::log_prob(&[d.mean], &[d.log_std], &[x]).exp();
        worst.same(gaussian_integral(d.mean, std, density), 1.0);
        entropy -= gaussian_integral(d.mean, std, |x| {
            normal_density(x, d.mean, std) * normal_log_density(x, d.mean, std)
        });
        kl += kl_by_quadrature(d.mean, d.log_std, d.other_mean, d.other_log_std);
        let score = |x: f64| {
            let (mut in_mean, mut in_log_std) = ([0.0], [0.0]);
            gaussian::add_d_log_prob(&[d.mean], &[d.log_std], &[x], 1.0, &mut in_mean, &mut in_log_std);
            [in_mean[0], in_log_std[0]]
        };
        let mean_of = |f: &dyn Fn([f64; 2]) -> f64| {
            gaussian_integral(d.mean, std, |x| normal_density(x, d.mean, std) * f(score(x)))
        };
        worst.same(mean_of(&|s| s[0]), 0.0).same(mean_of(&|s| s[1]), 0.0);
        worst.same(mean_of(&|s| s[0] * s[0]), std.powi(-2));
        worst.same(mean_of(&|s| s[1] * s[1]), 2.0).same(mean_of(&|s| s[0] * s[1]), 0.0);
    }
    worst.same(gaussian::entropy(&log_std), entropy);
    worst.same(gaussian::kl(&mean, &log_std, &other_mean, &other_log_std), kl);
    worst.same(gaussian::kl(&mean, &log_std, &mean, &log_std), 0.0);
    worst.done()
}

/// The gradients of KL in either pair of parameters.
fn gaussian_kl_gradient(dims: Vec<Dimension>) -> Result<f64, String> {
    let [mean, log_std, other_mean, other_log_std, _] = parts(&dims);
    let n = dims.len();
    let kl = |m1: &[f64], s1: &[f64], m2: &[f64], s2: &[f64]| -> f64 {
        (0..n).map(|d| kl_by_quadrature(m1[d], s1[d], m2[d], s2[d])).sum()
    };
    let mut worst = Worst::new();
    let (mut d_mean, mut d_log_std) = (vec![1.0; n], vec![1.0; n]);
    let (first, second) = ((&mean, &log_std), (&other_mean, &other_log_std));
    gaussian::add_d_kl_first(first.0, first.1, second.0, second.1, 0.7, &mut d_mean, &mut d_log_std);
    let got: Vec<f64> = d_mean.iter().chain(&d_log_std).map(|g| g - 1.0).collect();
    let difference = gradient(
        |p| 0.7 * kl(&p[..n], &p[n..], second.0, second.1),
        &[mean.clone(), log_std.clone()].concat(),
    );
    worst.gradient(&got, &difference);
    let (mut d_mean, mut d_log_std) = (vec![1.0; n], vec![1.0; n]);
    gaussian::add_d_kl_second(first.0, first.1, second.0, second.1, -1.3, &mut d_mean, &mut d_log_std);
    let got: Vec<f64> = d_mean.iter().chain(&d_log_std).map(|g| g - 1.0).collect();
    let at = [other_mean.clone(), other_log_std.clone()].concat();
    worst.gradient(&got, &gradient(|p| -1.3 * kl(first.0, first.1, &p[..n], &p[n..]), &at));
    worst.done()
}

fn gaussian_closed(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let (s1, s2) = (0.8f64.ln(), 1.3f64.ln());
    worst.printed(gaussian::kl(&[0.3], &[s1], &[-0.5], &[s2]), 0.364206, 6);
    worst.printed(kl_by_quadrature(0.3, s1, -0.5, s2), 0.364206, 6);
    // A narrow law keeps its digits: log-density, entropy and score at two standard deviations.
    let s: f64 = 1e-3;
    let x = [0.5 + 2.0 * s];
    let (mut d_mean, mut d_log_std) = ([0.0], [0.0]);
    gaussian::add_d_log_prob(&[0.5], &[s.ln()], &x, 1.0, &mut d_mean, &mut d_log_std);
    worst.printed(gaussian::log_prob(&[0.5], &[s.ln()], &x), -2.0 - s.ln() - 0.5 * TAU.ln(), 9);
    worst.printed(gaussian::entropy(&[s.ln()]), 0.5 * (TAU * std::f64::consts::E * 1e-6).ln(), 9);
    worst.printed(d_mean[0] * s, 2.0, 9).printed(d_log_std[0], 3.0, 9);
    worst.done()
}

/// Squashing by tanh without the Jacobian is not a density; with it the mass is 1.
fn gaussian_squashed(_: u64) -> Result<f64, String> {
    let (mean, log_std) = (0.2, -1.5f64);
    let log_density = |y: f64| gaussian::log_prob(&[mean], &[log_std], &[y.atanh()]);
    // In the angle t with y = sin t the integrand has no singular ends.
    let mass = |log_density: &dyn Fn(f64) -> f64| {
        integral(-0.5 * PI, 0.5 * PI, |t| t.cos() * log_density(t.sin()).exp())
    };
    let mut worst = Worst::new();
    worst.same(mass(&|y| log_density(y) - (1.0 - y * y).ln()), 1.0);
    worst.holds((mass(&log_density) - 1.0).abs() > 0.01);
    worst.done()
}

/// REINFORCE needs no critic and no finite set of actions: `E[R(x) score] = d E[R(x)]`.
fn gaussian_score_identity((dims, (a, b, c)): (Vec<Dimension>, (f64, f64, f64))) -> Result<f64, String> {
    let Dimension { mean, log_std, .. } = dims[0];
    let reward = |x: f64| a * x + b * x * x + (c * x).sin();
    let mean_of = |f: &dyn Fn(f64) -> f64| {
        gaussian_integral(mean, log_std.exp(), |x| normal_density(x, mean, log_std.exp()) * f(x))
    };
    let score = |x: f64| {
        let (mut in_mean, mut in_log_std) = ([0.0], [0.0]);
        gaussian::add_d_log_prob(&[mean], &[log_std], &[x], reward(x), &mut in_mean, &mut in_log_std);
        [in_mean[0], in_log_std[0]]
    };
    let got = [mean_of(&|x| score(x)[0]), mean_of(&|x| score(x)[1])];
    let objective =
        |p: &[f64]| gaussian_integral(p[0], p[1].exp(), |x| normal_density(x, p[0], p[1].exp()) * reward(x));
    let mut worst = Worst::new();
    worst.gradient(&got, &gradient(objective, &[mean, log_std]));
    worst.done()
}

fn gaussian_single_precision((dims, scales): (Vec<Dimension>, (f64, f64, f64))) -> Result<f64, String> {
    let [mean, log_std, _, _, action] =
        parts(&dims).map(|x| x.iter().map(|&x| x as f32).collect::<Vec<f32>>());
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (d_log_prob, d_entropy) = (scales.0 as f32, scales.2 as f32);
    let n = dims.len();
    let (mut d_mean, mut d_log_std, mut log_prob) = (vec![f32::NAN; n], vec![0.0; n], [f32::NAN]);
    gaussian::evaluate(&mean, &log_std, &action, &mut log_prob);
    gaussian::backward(&mean, &log_std, &action, &[d_log_prob], d_entropy, &mut d_mean, &mut d_log_std);
    let (mut want_mean, mut want_log_std) = (vec![f64::NAN; n], vec![0.0; n]);
    let (m, s, x) = (wide(&mean), wide(&log_std), wide(&action));
    let scale = [f64::from(d_log_prob)];
    gaussian::backward(&m, &s, &x, &scale, f64::from(d_entropy), &mut want_mean, &mut want_log_std);
    let mut worst = Worst::new();
    worst.same(f64::from(log_prob[0]), gaussian::log_prob(&m, &s, &x));
    worst.all(&wide(&d_mean), &want_mean).all(&wide(&d_log_std), &want_log_std);
    worst.done()
}

/// Whole batches drawn from streams: mean and second moment to five standard errors.
fn gaussian_batch_sampler(seed: u64) -> Result<f64, String> {
    let (rows, log_std) = (8192, [-1.0f32, 0.5]);
    let mean: Vec<f32> = [0.25, -2.0].into_iter().cycle().take(2 * rows).collect();
    let mut streams: Vec<Stream> = (0..rows as u64).map(|n| Stream::new(seed, "gaussian-check", n)).collect();
    let (mut action, mut log_prob) = (vec![f32::NAN; 2 * rows], vec![f32::NAN; rows]);
    gaussian::sample_rows(&mean, &log_std, &mut streams, &mut action, &mut log_prob);
    let mut worst = Worst::new();
    let count = rows as f64;
    for d in 0..2 {
        let z: Vec<f64> = action
            .chunks_exact(2)
            .map(|x| (f64::from(x[d]) - f64::from(mean[d])) / f64::from(log_std[d]).exp())
            .collect();
        worst.within_five_se(z.iter().sum::<f64>() / count, 0.0, count.sqrt().recip());
        worst.within_five_se(z.iter().map(|z| z * z).sum::<f64>() / count, 1.0, (2.0 / count).sqrt());
    }
    for (x, l) in action.chunks_exact(2).zip(&log_prob) {
        let want: f64 = (0..2)
            .map(|d| normal_log_density(f64::from(x[d]), f64::from(mean[d]), f64::from(log_std[d]).exp()))
            .sum();
        worst.add((f64::from(*l) - want).abs() / 1e-4);
    }
    worst.done()
}
