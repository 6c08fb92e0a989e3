//! Figures of the chapter on Monte Carlo and temporal differences.

use super::{Curve, Panel, Role, span};
use ndarray::{Array2, Array3};
use plotters::prelude::SeriesLabelPosition;
use rederive_math::{Stream, monte_carlo, td};

/// States of the walk; the one after them has ended.
const WALK: usize = 19;
/// Where the returns start: V = 0.3.
const START: usize = 12;

/// A step to either side, or none, with equal chances; leaving on the right pays 1, on the left -1. Without the pause the walk would be
/// in every other state only, and the curves would jump between even and odd n.
fn walk() -> (Array3<f64>, Array3<f64>, Array2<f64>) {
    let (mut p, mut r) = (Array3::zeros((WALK + 1, 1, WALK + 1)), Array3::zeros((WALK + 1, 1, WALK + 1)));
    p[[WALK, 0, WALK]] = 1.0;
    for s in 0..WALK {
        for next in [if s == 0 { WALK } else { s - 1 }, s, s + 1] {
            p[[s, 0, next]] = 1.0 / 3.0;
        }
    }
    r[[0, 0, WALK]] = -1.0;
    r[[WALK - 1, 0, WALK]] = 1.0;
    (p, r, Array2::ones((WALK + 1, 1)))
}

/// The value without discount grows by a tenth per state.
fn exact(s: usize) -> f64 {
    if s == WALK { 0.0 } else { (s as f64 - 9.0) / 10.0 }
}

/// Bias and standard deviation of n-step returns, exactly, over n.
pub(super) fn bias_variance() -> Vec<Panel> {
    type Critic = dyn Fn(usize) -> f64;
    let critics: [(&str, &Critic, Role); 4] = [
        ("exact", &exact, Role::First),
        ("V = 0", &|_| 0.0, Role::Second),
        ("three times too large", &|s| 3.0 * exact(s), Role::Third),
        ("wrong in one state", &|s| exact(s) + if s == START + 4 { 2.0 } else { 0.0 }, Role::Fourth),
    ];
    let (p, r, policy) = walk();
    let (mut bias, mut deviation) = (Vec::new(), Vec::new());
    for (label, critic, colour) in critics {
        let value: Vec<f64> = (0..=WALK).map(critic).collect();
        let (mut mean, mut variance) = (value.clone(), vec![0.0; WALK + 1]);
        let (mut biases, mut deviations) = (Vec::new(), Vec::new());
        let mut n = 0;
        while n < 1000 {
            n = (n + 1).max((n as f64 * 1.1) as usize);
            td::nstep_moments(&p, &r, &policy, &value, 1.0, n, (&mut mean, &mut variance));
            let x = (n as f64).log10();
            biases.push((x, mean[START] - exact(START)));
            deviations.push((x, variance[START].sqrt()));
        }
        bias.push(Curve::new("", colour, biases));
        deviation.push(Curve::new(label, colour, deviations));
    }
    let panel = |title, y, legend, curves| Panel {
        title,
        x_label: "n",
        x: 0.0..3.0,
        y,
        log: (true, false),
        legend,
        curves,
    };
    vec![
        panel("bias", span(&bias), SeriesLabelPosition::UpperRight, bias),
        panel(
            "standard deviation",
            0.0..1.5 * span(&deviation).end,
            SeriesLabelPosition::UpperLeft,
            deviation,
        ),
    ]
}

/// Values and probabilities of the mean of `k` coins of +1 and -1.
fn mean_of_coins(k: usize) -> (Vec<f64>, Vec<f64>) {
    let mut law = vec![1.0];
    for _ in 0..k {
        let heads = law.iter().chain(&[0.0]);
        let tails = [0.0].iter().chain(&law);
        law = heads.zip(tails).map(|(a, b)| 0.5 * (a + b)).collect();
    }
    ((0..=k).map(|heads| 2.0 * heads as f64 / k as f64 - 1.0).collect(), law)
}

const ACTIONS: usize = 10;
const RUNS: usize = 500;
const EPISODES: usize = 400;

/// The largest of ten learnt values, by episodes, averaged over runs: every action pays a normal number of mean -0.1 and ends. With one
/// table, and with two of which one selects and the other one values.
fn learnt(double: bool) -> Vec<(f64, f64)> {
    let mut mean = vec![0.0; EPISODES];
    let mut rng = Stream::new(0, "max-bias", 0);
    for _ in 0..RUNS {
        let (mut one, mut two) = ([0.0; ACTIONS], [0.0; ACTIONS]);
        for mean in &mut mean {
            let a = rng.below(ACTIONS as u32) as usize;
            let table = if double && rng.unit() < 0.5 { &mut two } else { &mut one };
            monte_carlo::average_step(&mut table[a], rng.normal() - 0.1, 0.1);
            let evaluate = if double { &two } else { &one };
            *mean += td::double_q_target(0.0, false, &one, evaluate, 1.0) / RUNS as f64;
        }
    }
    mean.into_iter().enumerate().map(|(i, m)| (i as f64 + 1.0, m)).collect()
}

/// The mean of the largest estimate over the number of actions; and what learning makes of it.
pub(super) fn max_bias() -> Vec<Panel> {
    let estimates = [(1, Role::First), (4, Role::Second), (16, Role::Third)].map(|(k, colour)| {
        let (value, prob) = mean_of_coins(k);
        let point = |n: usize| (n as f64, td::expected_max(&vec![value.clone(); n], &vec![prob.clone(); n]));
        let label = if k == 1 { "one coin each".to_owned() } else { format!("mean of {k} coins") };
        Curve { dots: true, ..Curve::new(label, colour, (1..=16).map(point).collect()) }
    });
    let truth = vec![(0.0, -0.1), (EPISODES as f64, -0.1)];
    let learnt = vec![
        Curve::new("Q-learning", Role::First, learnt(false)),
        Curve::new("double Q-learning", Role::Second, learnt(true)),
        Curve::new("truth", Role::Dashed, truth),
    ];
    vec![
        Panel {
            title: "mean of the largest estimate of 0",
            x_label: "actions",
            x: 0.0..17.0,
            y: -0.05..1.1,
            log: (false, false),
            legend: SeriesLabelPosition::LowerRight,
            curves: estimates.into(),
        },
        Panel {
            title: "value of the best of ten actions",
            x_label: "episodes",
            x: 0.0..EPISODES as f64,
            y: -0.3..0.6,
            log: (false, false),
            legend: SeriesLabelPosition::UpperRight,
            curves: learnt,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_has_the_values_that_are_said_to_be_exact() {
        let (p, r, policy) = walk();
        let value: Vec<f64> = (0..=WALK).map(exact).collect();
        let mut error = vec![f64::NAN; WALK + 1];
        td::expected_td_update(&p, &r, &policy, &value, 1.0, &mut error);
        assert!(error.iter().all(|e| e.abs() < 1e-15));
    }

    #[test]
    fn coins_have_the_law_of_coins() {
        let (value, prob) = mean_of_coins(4);
        assert_eq!(value, [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(prob, [0.0625, 0.25, 0.375, 0.25, 0.0625]);
    }
}
