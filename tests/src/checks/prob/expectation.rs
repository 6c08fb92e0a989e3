//! Expectations and their estimates: `prob.expectation-sum` to `prob.is-trajectory`.

use super::{Discrete, discrete, dot, law};
use crate::generators::{
    Mdp, Policy, normals, simplex_pair, simplex_pair_with_zeros, simplex_with_zeros, tiny_and_policies,
};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_QUAD, TOL_STAT, Worst, require};
use crate::oracles::{self, samples, trajectories};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::probability::{self, NoSwap};
use rederive_math::{Stream, divergence};
use std::collections::BTreeMap;

pub(super) fn checks() -> Vec<Check> {
    let pair_and_values = || (simplex_pair(), normals(6));
    vec![
        random("prob.expectation-sum", "definition", TOL_ID, discrete(), expectation_definition),
        random(
            "prob.expectation-sum",
            "linear",
            TOL_ID,
            (discrete(), normals(6), normals(2)),
            expectation_linear,
        ),
        fixed("prob.expectation-sum", "edges", TOL_ID, |_| expectation_edges()),
        random("prob.total-expectation", "definition", TOL_ID, joint_table(), total_definition),
        fixed("prob.total-expectation", "closed", TOL_ID, |_| total_closed()),
        random("prob.grad-sum-swap", "gradient", TOL_FD, (normals(2..=5), normals(5)), swap_gradient),
        fixed("prob.grad-sum-swap", "moving-support", TOL_QUAD, |_| moving_support()),
        // One case lists up to 4^5 samples.
        random(
            "prob.mc-mean",
            "moments",
            TOL_ID,
            (simplex_with_zeros(1..=4), normals(4), 1..=5usize),
            mc_moments,
        ),
        fixed("prob.mc-mean", "seeded", TOL_STAT, mc_seeded),
        fixed("prob.mc-mean", "edges", EXACT, |_| mc_edges()),
        random(
            "prob.importance-sampling",
            "definition",
            TOL_ID,
            (discrete(), vec(0.0..1.0f64, 6)),
            is_definition,
        ),
        random("prob.importance-sampling", "unbiased", TOL_ID, (pair_and_values(), 1..=3usize), is_unbiased),
        random("prob.importance-sampling", "weights", TOL_ID, simplex_pair_with_zeros(), is_weights),
        random("prob.importance-sampling", "sample-size", TOL_ID, vec(0.01..5.0f64, 1..=8), is_sample_size),
        fixed("prob.importance-sampling", "closed", TOL_ID, |_| is_closed()),
        random("prob.is-variance", "definition", TOL_ID, pair_and_values(), is_variance),
        // One case lists up to 6^4 samples.
        random("prob.is-variance", "product", TOL_ID, (simplex_pair(), 1..=4usize), is_variance_product),
        fixed("prob.is-variance", "closed", TOL_STAT, |_| is_variance_closed()),
        random("prob.is-trajectory", "definition", TOL_ID, (tiny_and_policies(), normals(6)), is_trajectory),
        random("prob.is-trajectory", "whole-path", TOL_ID, tiny_and_policies(), is_whole_path),
        fixed("prob.is-trajectory", "mutants-die", TOL_ID, |_| is_trajectory_closed()),
    ]
}

/// Two laws on the same outcomes, and a value for each outcome.
type PairAndValues = ((Vec<f64>, Vec<f64>), Vec<f64>);

fn expectation_definition(case: Discrete) -> Measured {
    let f: Vec<f64> = case.whole.iter().map(|&y| f64::from(y)).collect();
    let mut histogram: BTreeMap<i32, f64> = BTreeMap::new();
    for (&y, &p) in case.whole.iter().zip(&case.p).filter(|(_, p)| **p > 0.0) {
        *histogram.entry(y).or_default() += p;
    }
    let right = histogram.iter().map(|(&y, p)| f64::from(y) * p).sum();
    let mut worst = Worst::new();
    worst.same(law(probability::expectation(&case.p, &f))?, right);
    let pushed = law(probability::push_forward(&case.p, &f))?;
    require(pushed.len() == histogram.len(), || format!("{pushed:?} instead of {histogram:?}"))?;
    for ((y, p), (&value, &prob)) in pushed.iter().zip(&histogram) {
        worst.same(*y, f64::from(value)).same(*p, prob);
    }
    worst.done()
}

fn expectation_linear((case, other, factors): (Discrete, Vec<f64>, Vec<f64>)) -> Measured {
    let other = &other[..case.p.len()];
    let mixed: Vec<f64> = case.real.iter().zip(other).map(|(x, y)| factors[0] * x + factors[1] * y).collect();
    let mean = |f: &[f64]| law(probability::expectation(&case.p, f));
    Worst::new().same(mean(&mixed)?, factors[0] * mean(&case.real)? + factors[1] * mean(other)?).done()
}

fn expectation_edges() -> Measured {
    let mean = |p: &[f64], f: &[f64]| law(probability::expectation(p, f));
    let mut worst = Worst::new();
    // An unweighted mean would give 2 for both.
    worst
        .same(mean(&[0.0, 0.0, 1.0], &[1.0, 2.0, 3.0])?, 3.0)
        .same(mean(&[0.7, 0.1, 0.2], &[1.0, 2.0, 3.0])?, 1.5);
    worst.same(mean(&[0.7, 0.1, 0.2], &[2.5; 3])?, 2.5);
    // What cannot happen does not count, whatever it would pay.
    worst.same(mean(&[0.5, 0.5, 0.0], &[1.0, 2.0, f64::INFINITY])?, 1.5);
    worst.holds(probability::expectation(&[0.5, 0.6], &[1.0, 2.0]).is_err());
    worst.holds(panics(|| probability::expectation(&[0.5, 0.5], &[1.0])));
    worst.done()
}

/// `Pr(y, x)` with rows that may be all zero, and the value of each `x`.
fn joint_table() -> impl Strategy<Value = (Array2<f64>, Vec<f64>)> + Clone + Send + Sync {
    let sizes = (1..=4usize, 1..=5usize);
    (sizes, simplex_with_zeros(20), vec(any::<bool>(), 4), normals(5), any::<bool>()).prop_map(
        |((rows, columns), p, keep, x, function)| {
            let mut table = Array2::from_shape_fn((rows, columns), |(i, j)| {
                // Where X is a function of Y, a row has a single entry.
                let possible = if function { j == (i * 7 + 3) % columns } else { true };
                if (i > 0 && !keep[i]) || !possible { 0.0 } else { p[i * 5 + j] }
            });
            table[[0, 3 % columns]] += 1e-3;
            let sum = table.sum();
            (table / sum, x[..columns].to_vec())
        },
    )
}

fn total_definition((table, x): (Array2<f64>, Vec<f64>)) -> Measured {
    let moment = |k: i32| table.indexed_iter().map(|((_, j), p)| p * x[j].powi(k)).sum::<f64>();
    let (mean, square) = (moment(1), moment(2));
    let (mut within, mut between) = (0.0, 0.0);
    for row in table.rows() {
        // Sums of p x^k over the row are Pr(y) E[X^k | y].
        let part = |k: i32| row.iter().zip(&x).map(|(p, x)| p * x.powi(k)).sum::<f64>();
        if part(0) > 0.0 {
            within += part(2) - part(1).powi(2) / part(0);
            between += part(0) * (part(1) / part(0) - mean).powi(2);
        }
    }
    let got = law(probability::total_expectation(&table, &x))?;
    let mut worst = Worst::new();
    worst.same(got.mean, mean).scaled(got.variance(), square - mean * mean, square);
    worst.scaled(got.within, within, square).scaled(got.between, between, square);
    worst.done()
}

fn total_closed() -> Measured {
    // Pr(y) = 0.2 and 0.8 with conditional means 1 and 2: weighting them alike would give 1.5.
    let got = law(probability::total_expectation(&array![[0.2, 0.0], [0.0, 0.8], [0.0, 0.0]], &[1.0, 2.0]))?;
    let mut worst = Worst::new();
    worst.same(got.mean, 1.8).same(got.within, 0.0).same(got.between, 0.16);
    // The same law of X when Y says nothing: all of the variance is within.
    let got = law(probability::total_expectation(&array![[0.1, 0.4], [0.1, 0.4]], &[1.0, 2.0]))?;
    worst.same(got.mean, 1.8).same(got.within, 0.16).same(got.between, 0.0);
    worst.done()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn swap_gradient((logits, f): (Vec<f64>, Vec<f64>)) -> Measured {
    let n = logits.len();
    let f = &f[..n];
    let prob = softmax(&logits);
    let mut slopes = Array2::from_elem((n, n), f64::NAN);
    probability::softmax_slopes(&prob, &mut slopes);
    let mut formula = vec![f64::NAN; n];
    law(probability::d_expectation(&prob, &slopes, f, &mut formula))?;
    let difference = oracles::gradient(|z| dot(&softmax(z), f), &logits);
    let mut worst = Worst::new();
    worst.gradient(&formula, &difference);
    // The slopes themselves; their diagonal alone would not do.
    for (b, row) in oracles::transpose(&oracles::jacobian(softmax, &logits)).iter().enumerate() {
        worst.gradient(slopes.row(b).as_slice().unwrap_or(&[]), row);
    }
    worst.done()
}

/// The support of a uniform law on `[0, theta]` moves: `E[x] = theta / 2` has the derivative 1/2, while the integral of the
/// density's derivative is -1/2. A grid of such a law must be refused.
fn moving_support() -> Measured {
    let mean = |theta: f64| oracles::integral(0.0, theta, |x| x / theta);
    let swapped = oracles::integral(0.0, 1.0, |x| -x);
    let mut worst = Worst::new();
    worst.same(oracles::derivative(mean, 1.0), 0.5).same(swapped, -0.5);
    let n = 50;
    let x: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
    let height = 1.0 / f64::from(n);
    // The grid's masses shrink as theta grows, and nothing says where the mass goes.
    let slopes = Array2::from_elem((1, x.len()), -height);
    let verdict = probability::d_expectation(&vec![height; x.len()], &slopes, &x, &mut [0.0]);
    require(matches!(verdict, Err(NoSwap::Mass { .. })), || format!("mass that leaves gets {verdict:?}"))?;
    // With the cell that the support grows into, the mass is conserved but the support is not.
    let (mut p, mut slopes) = (vec![height; x.len() + 1], Array2::from_elem((1, x.len() + 1), -height));
    p[x.len()] = 0.0;
    slopes[[0, x.len()]] = 1.0;
    let verdict = probability::d_expectation(&p, &slopes, &vec![1.0; x.len() + 1], &mut [0.0]);
    require(matches!(verdict, Err(NoSwap::Outcome { .. })), || format!("a new outcome gets {verdict:?}"))?;
    worst.done()
}

fn variance(p: &[f64], f: &[f64]) -> f64 {
    let mean = dot(p, f);
    p.iter().zip(f).map(|(p, x)| p * (x - mean).powi(2)).sum()
}

fn mc_moments((p, f, n): (Vec<f64>, Vec<f64>, usize)) -> Measured {
    let f = &f[..p.len()];
    let (mut first, mut second, mut squared_error) = (0.0, 0.0, 0.0);
    samples(&p, n, &mut |tuple, prob| {
        let x: Vec<f64> = tuple.iter().map(|&i| f[i]).collect();
        let estimate = probability::mc_mean(&x);
        first += prob * estimate.mean;
        second += prob * estimate.mean.powi(2);
        squared_error += prob * estimate.standard_error.powi(2);
    });
    let (mean, spread) = law(probability::mc_moments(&p, f, n))?;
    let square = dot(&p, &f.iter().map(|x| x * x).collect::<Vec<_>>());
    let mut worst = Worst::new();
    worst.same(mean, dot(&p, f)).same(spread, variance(&p, f) / n as f64);
    worst.same(first, mean).scaled(second - first * first, spread, square);
    if n > 1 {
        // The squared standard error is an unbiased estimate of the mean's variance.
        worst.scaled(squared_error, spread, square);
    }
    worst.done()
}

fn mc_seeded(seed: u64) -> Measured {
    let (p, f) = ([0.5, 0.2, 0.2, 0.1], [1.0, -2.0, 0.5, 7.0]);
    let mut stream = Stream::new(seed, "monte carlo", 0);
    let n = 10_000;
    let x: Vec<f64> = (0..n)
        .map(|_| {
            let mut u = stream.unit();
            let drawn = p.iter().position(|p| {
                u -= p;
                u < 0.0
            });
            f[drawn.unwrap_or(p.len() - 1)]
        })
        .collect();
    let estimate = probability::mc_mean(&x);
    let (mean, spread) = law(probability::mc_moments(&p, &f, n))?;
    let mut worst = Worst::new();
    worst.within_five_se(estimate.mean, mean, spread.sqrt());
    // The estimated standard error is itself within a tenth of the exact one at this size.
    worst.add((estimate.standard_error / spread.sqrt() - 1.0).abs() / 0.1);
    worst.done()
}

fn mc_edges() -> Measured {
    // One sample says nothing about its spread.
    let one = probability::mc_mean(&[3.0]);
    require(one.mean == 3.0 && one.standard_error == f64::INFINITY, || format!("{one:?} for the sample 3"))?;
    let same = probability::mc_mean(&[2.0; 7]);
    require(same.mean == 2.0 && same.standard_error == 0.0, || format!("{same:?} for seven times 2"))?;
    let none = panics(|| probability::mc_mean::<f64>(&[]));
    require(none, || "no sample is accepted".to_owned())?;
    Ok(0.0)
}

/// Where `q` covers `p f` the two sums agree; where it does not, the rest is what they differ by.
fn is_definition((case, u): (Discrete, Vec<f64>)) -> Measured {
    let n = case.p.len();
    let mut q: Vec<f64> = u[..n].iter().map(|u| if *u < 0.3 { 0.0 } else { *u }).collect();
    q[n - 1] += 1.0;
    let sum: f64 = q.iter().sum();
    q.iter_mut().for_each(|x| *x /= sum);
    let got = law(probability::reweighted(&case.p, &q, &case.real))?;
    let missed: f64 = (0..n).filter(|&i| q[i] == 0.0).map(|i| case.p[i] * case.real[i]).sum();
    let covered = (0..n).all(|i| q[i] > 0.0 || case.p[i] * case.real[i] == 0.0);
    require(got.covered == covered, || format!("{got:?} for {q:?} in place of {:?}", case.p))?;
    Worst::new().same(got.value, dot(&case.p, &case.real) - missed).done()
}

fn is_unbiased((((p, q), f), n): (PairAndValues, usize)) -> Measured {
    let f = &f[..p.len()];
    let (mut mean, mut weight_mean) = (0.0, 0.0);
    samples(&q, n, &mut |tuple, prob| {
        let weight: Vec<f64> = tuple.iter().map(|&i| p[i] / q[i]).collect();
        let value: Vec<f64> = tuple.iter().map(|&i| f[i]).collect();
        let got = probability::importance_sampling(&weight, &value);
        mean += prob * got.plain.mean;
        weight_mean += prob * got.weight.mean;
    });
    Worst::new().same(mean, dot(&p, f)).same(weight_mean, 1.0).done()
}

/// The mean weight is the mass of `p` that `q` covers.
fn is_weights((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    let covered: f64 = p.iter().zip(&q).filter(|(_, q)| **q > 0.0).map(|(p, _)| p).sum();
    let got = law(probability::reweighted(&p, &q, &vec![1.0; p.len()]))?;
    Worst::new().same(got.weight_mean, covered).same(got.value, covered).done()
}

fn is_sample_size(weight: Vec<f64>) -> Measured {
    let n = weight.len() as f64;
    let value: Vec<f64> = (0..weight.len()).map(|i| (i as f64).cos()).collect();
    let got = probability::importance_sampling(&weight, &value);
    // N / (1 + cv^2) with the squared coefficient of variation of the weights.
    let mean = weight.iter().sum::<f64>() / n;
    let cv2 = weight.iter().map(|w| (w / mean - 1.0).powi(2)).sum::<f64>() / n;
    let mut worst = Worst::new();
    worst.same(got.effective_sample_size, n / (1.0 + cv2));
    // The self-normalised estimate is a mean under the normalised weights and does not know their scale.
    let scaled: Vec<f64> = weight.iter().map(|w| 3.0 * w).collect();
    let again = probability::importance_sampling(&scaled, &value);
    worst.same(got.self_normalised, dot(&weight, &value) / (n * mean));
    worst.same(again.self_normalised, got.self_normalised).same(again.plain.mean, 3.0 * got.plain.mean);
    worst.same(again.effective_sample_size, got.effective_sample_size);
    worst.done()
}

fn is_closed() -> Measured {
    let (p, q, f) = ([0.5, 0.5], [1.0, 0.0], [1.0, 3.0]);
    let mut worst = Worst::new();
    // The truth is 2; every sample of q is the first outcome, so the estimate is 0.5 however many are drawn.
    worst.same(law(probability::expectation(&p, &f))?, 2.0);
    worst.same(probability::importance_sampling(&[0.5; 4], &[1.0; 4]).plain.mean, 0.5);
    // The mean weight gives it away.
    let got = law(probability::reweighted(&p, &q, &f))?;
    worst.same(got.value, 0.5).same(got.weight_mean, 0.5).holds(!got.covered);
    // A value of 0 need not be covered.
    worst.holds(law(probability::reweighted(&p, &q, &[1.0, 0.0]))?.covered);
    worst.done()
}

fn is_variance(((p, q), f): PairAndValues) -> Measured {
    let f = &f[..p.len()];
    let moment = |k: i32| -> f64 { (0..p.len()).map(|i| q[i] * (p[i] / q[i] * f[i]).powi(k)).sum() };
    let weight: f64 = (0..p.len()).map(|i| q[i] * (p[i] / q[i]).powi(2)).sum();
    let mut worst = Worst::new();
    worst.same(law(probability::second_moment(&p, &q))?, weight);
    worst.same(law(divergence::chi_squared(&p, &q))?, weight - 1.0);
    worst.scaled(law(probability::weighted_variance(&p, &q, f))?, moment(2) - moment(1).powi(2), moment(2));
    // p = q leaves the variance of f.
    worst.same(law(probability::weighted_variance(&p, &p, f))?, variance(&p, f));
    worst.done()
}

fn is_variance_product(((p, q), steps): ((Vec<f64>, Vec<f64>), usize)) -> Measured {
    let (mut second, mut mean) = (0.0, 0.0);
    samples(&q, steps, &mut |tuple, prob| {
        let weight: f64 = tuple.iter().map(|&i| p[i] / q[i]).product();
        mean += prob * weight;
        second += prob * weight * weight;
    });
    let step = law(probability::second_moment(&p, &q))?;
    let product = probability::product_second_moment(&vec![step; steps]);
    Worst::new().same(mean, 1.0).same(second, product).same(product, step.powi(steps as i32)).done()
}

fn is_variance_closed() -> Measured {
    let step = law(probability::second_moment(&[0.6, 0.4], &[0.5, 0.5]))?;
    let mut worst = Worst::new();
    worst.printed(step, 1.04, 10);
    // Adding the steps' moments instead of multiplying them would give 52.
    worst.printed(probability::product_second_moment(&[step; 50]), 7.107, 3);
    // Where q misses some of p nothing finite is right, although a sampler of q would not notice.
    let (p, q) = ([0.5, 0.5], [1.0, 0.0]);
    worst.holds(probability::second_moment(&p, &q) == Ok(f64::INFINITY));
    worst.holds(probability::weighted_variance(&p, &q, &[1.0, 3.0]) == Ok(f64::INFINITY));
    worst.done()
}

fn ratios(old: &Policy, new: &Policy, states: &[usize], actions: &[usize]) -> Vec<f64> {
    let log = |policy: &Policy| -> Vec<f64> {
        actions.iter().zip(states).map(|(&a, &s)| policy[[s, a]].ln()).collect()
    };
    let mut out = vec![f64::NAN; actions.len()];
    probability::trajectory_ratios(&log(new), &log(old), &mut out);
    out
}

/// `E[f(s_t, a_t)]` under the new policy, and under the old one with cumulative ratios, for every `t`.
fn is_trajectory(((mdp, horizon, old, new), f): ((Mdp, usize, Policy, Policy), Vec<f64>)) -> Measured {
    let value = |s: usize, a: usize| f[s * 2 + a];
    let (mut direct, mut weighted) = (vec![0.0; horizon], vec![0.0; horizon]);
    trajectories(&mdp, &new, horizon, &mut |path| {
        for (t, mean) in direct.iter_mut().enumerate() {
            *mean += path.prob * value(path.states[t], path.actions[t]);
        }
    });
    trajectories(&mdp, &old, horizon, &mut |path| {
        let ratio = ratios(&old, &new, path.states, path.actions);
        for (t, mean) in weighted.iter_mut().enumerate() {
            *mean += path.prob * ratio[t] * value(path.states[t], path.actions[t]);
        }
    });
    Worst::new().all(&direct, &weighted).done()
}

/// The last ratio is that of the trajectories' probabilities: dynamics and first state cancel.
fn is_whole_path((mdp, horizon, old, new): (Mdp, usize, Policy, Policy)) -> Measured {
    let mut new_prob = BTreeMap::new();
    trajectories(&mdp, &new, horizon, &mut |path| {
        new_prob.insert((path.states.to_vec(), path.actions.to_vec()), path.prob);
    });
    let mut worst = Worst::new();
    trajectories(&mdp, &old, horizon, &mut |path| {
        let ratio = ratios(&old, &new, path.states, path.actions)[horizon - 1];
        let key = (path.states.to_vec(), path.actions.to_vec());
        worst.same(path.prob * ratio, new_prob.get(&key).copied().unwrap_or(0.0));
        let same = ratios(&old, &old, path.states, path.actions);
        worst.same(same[horizon - 1], 1.0);
    });
    worst.done()
}

/// From the start, action a leads to one state and b to another; how often is the first one reached? The ratio of the second
/// step alone leaves the old answer.
fn is_trajectory_closed() -> Measured {
    let (old, new) = ([0.1f64, 0.9], [0.9f64, 0.1]);
    let (mut cumulative, mut single) = (0.0, 0.0);
    for first in 0..2 {
        // The second action is chosen alike by both policies, so its own ratio is 1.
        let mut ratio = [f64::NAN; 2];
        let log = |law: &[f64; 2]| [law[first].ln(), 0.5f64.ln()];
        probability::trajectory_ratios(&log(&new), &log(&old), &mut ratio);
        let mut alone = [f64::NAN];
        probability::trajectory_ratios(&log(&new)[1..], &log(&old)[1..], &mut alone);
        let reached = f64::from(u8::from(first == 0));
        cumulative += old[first] * ratio[1] * reached;
        single += old[first] * alone[0] * reached;
    }
    Worst::new().same(cumulative, 0.9).same(single, 0.1).done()
}
