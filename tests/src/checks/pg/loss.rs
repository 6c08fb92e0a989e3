//! The loss whose gradient is the estimate, and what its sum is divided by.

use super::{coin, logits, score, softmax};
use crate::generators::{Mdp, Policy, normals, tiny_and_policy};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_STAT, Worst, require};
use crate::oracles::{derivative, gradient, samples, trajectories};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::policy_gradient::loss::{Aggregation, surrogate, surrogate_padded};
use rederive_math::policy_gradient::trajectories::{Sample, estimate};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("pg.loss-surrogate", "gradient", TOL_FD, sampled(), loss_gradient),
        random("pg.loss-surrogate", "definition", TOL_ID, flat_batch(), loss_definition),
        random("pg.loss-surrogate", "single-precision", 1e-5, flat_batch(), loss_single),
        fixed("pg.loss-surrogate", "closed", TOL_STAT, |_| loss_closed()),
        fixed("pg.loss-surrogate", "edges", EXACT, |_| loss_edges()),
        random("pg.aggregation", "definition", TOL_ID, padded(), aggregation),
        fixed("pg.aggregation", "closed", TOL_STAT, |_| aggregation_closed()),
        fixed("pg.aggregation", "edges", EXACT, |_| aggregation_edges()),
    ]
}

// pg.loss-surrogate

/// MDP-tiny with a policy, which of its paths were sampled, and the advantages of their steps.
#[derive(Clone, Debug)]
struct Sampled {
    policy: Policy,
    /// States and actions of each.
    paths: Vec<(Vec<usize>, Vec<usize>)>,
    /// Of each step.
    advantage: Vec<Vec<f64>>,
}

fn sampled() -> impl Strategy<Value = Sampled> + Clone + Send + Sync {
    (tiny_and_policy(), vec((any::<u32>(), normals(4)), 1..=5), 0..8u8).prop_map(
        |((mdp, horizon, policy), chosen, zero): ((Mdp, usize, Policy), _, _)| {
            let mut all = Vec::new();
            trajectories(&mdp, &policy, horizon, &mut |path| {
                all.push((path.states.to_vec(), path.actions.to_vec()));
            });
            let paths = chosen.iter().map(|(i, _)| all[*i as usize % all.len()].clone()).collect();
            let advantage = chosen
                .into_iter()
                .map(
                    |(_, a): (u32, Vec<f64>)| {
                        if zero == 0 { vec![0.0; horizon] } else { a[..horizon].to_vec() }
                    },
                )
                .collect();
            Sampled { policy, paths, advantage }
        },
    )
}

fn loss_gradient(case: Sampled) -> Measured {
    let Sampled { policy, paths, advantage } = &case;
    let n = paths.len() as f64;
    // The loss, with samples and advantages frozen.
    let loss = |z: &[f64]| {
        let policy = softmax(z, 2);
        let mut sum = 0.0;
        for ((states, actions), advantage) in paths.iter().zip(advantage) {
            for (t, &a) in actions.iter().enumerate() {
                sum += advantage[t] * policy[[states[t], a]].ln();
            }
        }
        -sum / n
    };
    let truth = gradient(loss, &logits(policy));
    let mut worst = Worst::new();
    // The negative estimate.
    let samples: Vec<_> = paths
        .iter()
        .zip(advantage)
        .map(|((states, actions), weight)| Sample { states, actions, weight })
        .collect();
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    estimate(policy, &samples, &mut out);
    let minus: Vec<f64> = out.iter().map(|g| -g).collect();
    worst.gradient(&minus, &truth);
    // The gradient of the loss in the log-probabilities, handed on to the logits.
    let steps: Vec<(usize, usize, f64)> = paths
        .iter()
        .zip(advantage)
        .flat_map(|((states, actions), advantage)| {
            actions.iter().enumerate().map(move |(t, &a)| (states[t], a, advantage[t]))
        })
        .collect();
    let log_prob: Vec<f64> = steps.iter().map(|&(s, a, _)| policy[[s, a]].ln()).collect();
    let weights: Vec<f64> = steps.iter().map(|step| step.2).collect();
    let mut d = vec![f64::NAN; steps.len()];
    let scale = Aggregation::Trajectories.scale(paths.len(), steps.len());
    let value = surrogate(&log_prob, &weights, scale, &mut d);
    worst.same(value, loss(&logits(policy)));
    let mut chained = vec![0.0; policy.len()];
    for (&(s, a, _), d) in steps.iter().zip(&d) {
        for b in 0..2 {
            chained[2 * s + b] += d * score(policy, s, a, b);
        }
    }
    worst.gradient(&chained, &truth).done()
}

/// Log-probabilities with their advantages, and a scale.
fn flat_batch() -> impl Strategy<Value = (Vec<(f64, f64)>, f64)> + Clone + Send + Sync {
    (vec((-6.0..=0.0f64, -3.0..=3.0f64), 0..=200), 0.001..=2.0f64)
}

fn loss_definition((batch, scale): (Vec<(f64, f64)>, f64)) -> Measured {
    let (log_prob, advantage): (Vec<f64>, Vec<f64>) = batch.into_iter().unzip();
    let mut d = vec![f64::NAN; log_prob.len()];
    let loss = surrogate(&log_prob, &advantage, scale, &mut d);
    let want = -scale * log_prob.iter().zip(&advantage).map(|(l, a)| l * a).sum::<f64>();
    let mut worst = Worst::new();
    worst.same(loss, want);
    for (d, a) in d.iter().zip(&advantage) {
        worst.same(*d, -scale * a);
    }
    worst.done()
}

fn loss_single((batch, scale): (Vec<(f64, f64)>, f64)) -> Measured {
    let (log_prob, advantage): (Vec<f32>, Vec<f32>) =
        batch.into_iter().map(|(l, a)| (l as f32, a as f32)).unzip();
    let mut d = vec![f32::NAN; log_prob.len()];
    let loss = f64::from(surrogate(&log_prob, &advantage, scale as f32, &mut d));
    let wide = |x: f32| f64::from(x);
    let terms = || log_prob.iter().zip(&advantage).map(|(&l, &a)| wide(l) * wide(a));
    let scale = wide(scale as f32);
    let mut worst = Worst::new();
    worst.scaled(loss, -scale * terms().sum::<f64>(), scale * terms().map(f64::abs).sum::<f64>());
    for (&d, &a) in d.iter().zip(&advantage) {
        worst.same(wide(d), -scale * wide(a));
    }
    worst.done()
}

fn loss_closed() -> Measured {
    let mut worst = Worst::new();
    // One decision, p = 0.8, rewards 1 and 0, the value as baseline. The mean loss over the policy's own samples:
    let (p, reward, value) = (0.8f64, [1.0, 0.0], 0.8);
    let prob = [p, 1.0 - p];
    let advantage = reward.map(|r| r - value);
    let (mut mean, mut slope) = (0.0, 0.0);
    for a in 0..2 {
        let mut d = [f64::NAN];
        mean += prob[a] * surrogate(&[prob[a].ln()], &advantage[a..=a], 1.0, &mut d);
        slope += prob[a] * d[0] * score(&coin(1, p), 0, a, 0);
    }
    // Its value is no objective; its slope, with samples held fixed, is that of -J = -0.8.
    worst.printed(mean, -0.221_81, 5).printed(slope, -0.16, 12);
    worst.holds((-mean - 0.8).abs() > 0.5);
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let z = 4f64.ln();
    // Drawn anew from the policy that moves, the same expression has another slope, even of the other sign.
    let live = |z: f64| {
        let p = sigmoid(z);
        -(advantage[0] * p * p.ln() + advantage[1] * (1.0 - p) * (1.0 - p).ln())
    };
    worst.printed(derivative(live, z), 0.16 * (-1.0 - 0.2 * 0.8f64.ln() - 0.8 * 0.2f64.ln()), 8);
    worst.holds(derivative(live, z) > 0.05);
    // With a value that moves along, the slope is off by the value's own times the mean log-probability.
    let attached = |z: f64| {
        let v = sigmoid(z);
        -(0.8 * (1.0 - v) * sigmoid(z).ln() + 0.2 * (0.0 - v) * (1.0 - sigmoid(z)).ln())
    };
    let entropy = -(0.8 * 0.8f64.ln() + 0.2 * 0.2f64.ln());
    worst.printed(derivative(attached, z), -0.16 - 0.16 * entropy, 8).done()
}

fn loss_edges() -> Measured {
    let mut d = [f64::NAN; 3];
    let loss = surrogate(&[-1.0, -2.0, -3.0], &[0.0; 3], 0.5, &mut d);
    require(loss == 0.0 && d == [0.0; 3], || format!("{loss}, {d:?} without an advantage"))?;
    require(surrogate::<f64>(&[], &[], 1.0, &mut []) == 0.0, || "an empty batch has a loss".to_owned())?;
    for refused in [
        panics(|| surrogate(&[0.0], &[1.0, 2.0], 1.0, &mut [0.0])),
        panics(|| surrogate(&[0.0], &[1.0], 1.0, &mut [])),
    ] {
        require(refused, || "lengths that differ are accepted".to_owned())?;
    }
    Ok(0.0)
}

// pg.aggregation

/// Trajectories of different lengths: log-probabilities, advantages, and how many more steps the array has than the longest.
type Padded = (Vec<Vec<(f64, f64)>>, usize);

fn padded() -> impl Strategy<Value = Padded> + Clone + Send + Sync {
    (vec(vec((-6.0..=0.0f64, -3.0..=3.0f64), 1..=8), 1..=5), 0..=3usize)
}

fn aggregation((trajectories, more): Padded) -> Measured {
    let length: Vec<usize> = trajectories.iter().map(Vec::len).collect();
    let steps = length.iter().max().unwrap_or(&0) + more;
    let n = trajectories.len();
    // Behind the end there is nothing that may be read.
    let of = |pick: fn(&(f64, f64)) -> f64| {
        Array2::from_shape_fn((steps, n), |(t, i)| trajectories[i].get(t).map_or(f64::NAN, pick))
    };
    let (log_prob, advantage) = (of(|x| x.0), of(|x| x.1));
    let total: usize = length.iter().sum();
    let sum: f64 = trajectories.iter().flatten().map(|(l, a)| l * a).sum();
    let mut worst = Worst::new();
    let run = |aggregation| {
        let mut d = Array2::from_elem((steps, n), f64::NAN);
        (surrogate_padded(&log_prob, &advantage, &length, aggregation, &mut d), d)
    };
    let (by_trajectory, d_trajectory) = run(Aggregation::Trajectories);
    let (by_step, d_step) = run(Aggregation::Steps);
    worst.same(by_trajectory, -sum / n as f64).same(by_step, -sum / total as f64);
    let mean_length = total as f64 / n as f64;
    worst.same(by_step, by_trajectory / mean_length);
    for ((t, i), &d) in d_trajectory.indexed_iter() {
        let want = trajectories[i].get(t).map_or(0.0, |(_, a)| -a / n as f64);
        worst.same(d, want).same(d_step[[t, i]], want / mean_length);
    }
    if length.iter().all(|&l| l == 1) {
        // A batch of single steps: both are the same.
        worst.holds(by_step == by_trajectory && d_step == d_trajectory);
    } else {
        worst.holds(by_trajectory.abs() < 1e-6 || by_step != by_trajectory);
    }
    worst.done()
}

/// Probability, scores in the logit of the first action, returns to go.
type Episode = (f64, Vec<f64>, Vec<f64>);

/// One state: the first action ends with reward 1, the second pays nothing and goes on, at most two steps.
fn aggregation_closed() -> Measured {
    let p: f64 = 0.5;
    let episodes: [Episode; 3] = [
        (p, vec![1.0 - p], vec![1.0]),
        ((1.0 - p) * p, vec![-p, 1.0 - p], vec![1.0, 1.0]),
        ((1.0 - p) * (1.0 - p), vec![-p, -p], vec![0.0, 0.0]),
    ];
    let law: Vec<f64> = episodes.iter().map(|e| e.0).collect();
    let (mut sum_form, mut flat, mut mean_length) = (0.0, 0.0, 0.0);
    samples(&law, 2, &mut |batch, prob| {
        let length: Vec<usize> = batch.iter().map(|&e| episodes[e].1.len()).collect();
        let at = |of: fn(&Episode) -> &Vec<f64>| {
            Array2::from_shape_fn((2, 2), |(t, i)| {
                of(&episodes[batch[i]]).get(t).copied().unwrap_or(f64::NAN)
            })
        };
        let (scores, returns) = (at(|e| &e.1), at(|e| &e.2));
        let log_prob = Array2::from_elem((2, 2), p.ln());
        for (aggregation, mean) in
            [(Aggregation::Trajectories, &mut sum_form), (Aggregation::Steps, &mut flat)]
        {
            let mut d = Array2::from_elem((2, 2), f64::NAN);
            surrogate_padded(&log_prob, &returns, &length, aggregation, &mut d);
            for (i, &length) in length.iter().enumerate() {
                for t in 0..length {
                    *mean -= prob * d[[t, i]] * scores[[t, i]];
                }
            }
        }
        mean_length += prob * length.iter().sum::<usize>() as f64 / 2.0;
    });
    // J = p + (1 - p) p, whose slope in the logit is p (1 - p) (2 - 2 p).
    let slope = p * (1.0 - p) * (2.0 - 2.0 * p);
    let mut worst = Worst::new();
    worst.printed(sum_form, 0.25, 12).printed(slope, 0.25, 12);
    worst.printed(flat, 0.208_333, 6).printed(flat * mean_length, 0.3125, 12).done()
}

fn aggregation_edges() -> Measured {
    // Lengths 1 and 3, weights of 1: sums of 2 against 1, and 1/2 against 1/4 for each step.
    let ones = Array2::from_elem((3, 2), -1.0);
    let weight = Array2::from_elem((3, 2), 1.0);
    for (aggregation, loss, each) in
        [(Aggregation::Trajectories, 2.0, -0.5), (Aggregation::Steps, 1.0, -0.25)]
    {
        let mut d = Array2::from_elem((3, 2), f64::NAN);
        let got = surrogate_padded(&ones, &weight, &[1, 3], aggregation, &mut d);
        require(got == loss && d[[0, 0]] == each && d[[2, 1]] == each && d[[1, 0]] == 0.0, || {
            format!("{aggregation:?}: {got}, {d}")
        })?;
    }
    require(Aggregation::Trajectories.scale::<f64>(0, 0) == 0.0, || "no trajectories".to_owned())?;
    let too_long =
        panics(|| surrogate_padded(&ones, &weight, &[1, 4], Aggregation::Steps, &mut Array2::zeros((3, 2))));
    require(too_long, || "a length behind the array is accepted".to_owned())?;
    Ok(0.0)
}
