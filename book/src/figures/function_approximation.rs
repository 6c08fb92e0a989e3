//! Figures of the chapter on function approximation and DQN.

use super::{Curve, Panel, Role};
use ndarray::Array2;
use plotters::prelude::SeriesLabelPosition;
use rederive_dqn::{loss, target};
use rederive_math::{Stream, linear};

const BATCH: usize = 20_000;
const ACTIONS: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

/// The mean target of a batch in which both networks err by standard normal numbers whose correlation is `correlation`: of a
/// terminal-free transition without reward, so that the target is the value of the next state.
fn mean_target(truth: &[f64], correlation: f64, double: bool) -> f64 {
    let actions = truth.len();
    let mut rng = Stream::new(0, "overestimation", actions as u64);
    let shape = (BATCH, actions);
    let evaluate = Array2::from_shape_fn(shape, |(_, a)| truth[a] + rng.normal());
    let own = (1.0 - correlation * correlation).sqrt();
    let select = Array2::from_shape_fn(shape, |(i, a)| {
        truth[a] + correlation * (evaluate[[i, a]] - truth[a]) + own * rng.normal()
    });
    let (reward, ends, discount) = (vec![0.0; BATCH], vec![false; BATCH], vec![1.0; BATCH]);
    let mut y = vec![f64::NAN; BATCH];
    if double {
        loss::double_q_target(&reward, &ends, &discount, &select, &evaluate, &mut y);
    } else {
        loss::td_target(&reward, &ends, &discount, &evaluate, &mut y);
    }
    y.iter().sum::<f64>() / BATCH as f64
}

/// The mean target over the number of actions: with the maximum, and with selection by another network.
pub(super) fn overestimation() -> Vec<Panel> {
    let forms = [
        ("max", 0.0, false, Role::First),
        ("double, correlation 0.9", 0.9, true, Role::Second),
        ("double, correlation 0.5", 0.5, true, Role::Third),
        ("double, independent", 0.0, true, Role::Fourth),
    ];
    let curves = |truth: &dyn Fn(usize) -> Vec<f64>| {
        let mut curves: Vec<Curve> = forms
            .into_iter()
            .map(|(label, correlation, double, colour)| {
                let point = |n: usize| (n as f64, mean_target(&truth(n), correlation, double));
                Curve { dots: true, ..Curve::new(label, colour, ACTIONS.map(point).into()) }
            })
            .collect();
        curves.push(Curve::new("truth", Role::Dashed, vec![(0.0, 0.0), (33.0, 0.0)]));
        curves
    };
    let panel = |title, y, curves| Panel {
        title,
        x_label: "actions",
        x: 0.0..33.0,
        y,
        log: (false, false),
        legend: SeriesLabelPosition::UpperLeft,
        curves,
    };
    vec![
        panel("mean target, all actions worth 0", -0.4..3.2, curves(&|n| vec![0.0; n])),
        panel("worth from 0 down to −1", -0.8..2.8, curves(&spaced)),
    ]
}

/// Values at even distances from 0, the best, down to -1.
fn spaced(n: usize) -> Vec<f64> {
    (0..n).map(|a| -(a as f64) / (n as f64 - 1.0).max(1.0)).collect()
}

const STEPS: u64 = 2000;
const PERIOD: u64 = 500;

/// A target that follows `online` by copies, or by a share per step.
fn follow(online: &[f64], kappa: Option<f64>) -> Vec<(f64, f64)> {
    let mut theta = [0.0];
    let mut points = vec![(0.0, 0.0)];
    for (t, &value) in (1..).zip(online) {
        match kappa {
            Some(kappa) => target::soft(&mut theta, &[value], kappa),
            None => _ = target::hard(&mut theta, &[value], t - 1, t, PERIOD),
        }
        points.push((t as f64, theta[0]));
    }
    points
}

/// Targets that follow a constant parameter, and one that rises and trembles.
pub(super) fn target_networks() -> Vec<Panel> {
    let constant = vec![1.0; STEPS as usize];
    let mut rng = Stream::new(0, "online", 0);
    let mut shake = 0.0;
    let moving: Vec<f64> = (0..STEPS)
        .map(|t| {
            shake = 0.95 * shake + 0.05 * rng.normal();
            1.0 - (-(t as f64) / 700.0).exp() + shake
        })
        .collect();
    let curves = |online: &[f64]| {
        let path: Vec<(f64, f64)> = (1..).map(f64::from).zip(online.iter().copied()).collect();
        vec![
            Curve::new("online", Role::Dashed, path),
            Curve::new("copy every 500 steps", Role::First, follow(online, None)),
            Curve::new("κ = 0.005", Role::Second, follow(online, Some(0.005))),
            Curve::new("κ = 0.001", Role::Third, follow(online, Some(0.001))),
        ]
    };
    let panel = |title, curves| Panel {
        title,
        x_label: "steps",
        x: 0.0..STEPS as f64,
        y: -0.3..1.7,
        log: (false, false),
        legend: SeriesLabelPosition::UpperLeft,
        curves,
    };
    vec![panel("a constant parameter", curves(&constant)), panel("a parameter that learns", curves(&moving))]
}

const UPDATES: u64 = 300;
const ALPHA: f64 = 0.1;

/// The weight of the two-state example as a logarithm: one update per step with the value of the next state read from a target
/// that `follows` the weight.
fn weight(gamma: f64, mut follows: impl FnMut(&mut [f64], &[f64], u64)) -> Vec<(f64, f64)> {
    let (mut w, mut behind) = ([1.0], [1.0]);
    let mut points = vec![(0.0, 0.0)];
    for t in 1..=UPDATES {
        let delta = gamma * linear::value(&[2.0], &behind) - linear::value(&[1.0], &w);
        linear::step(&mut w, &[1.0], delta, ALPHA);
        follows(&mut behind, &w, t);
        points.push((t as f64, w[0].log10()));
    }
    points
}

/// The two-state example: for several discounts, and with target networks.
pub(super) fn offpolicy_divergence() -> Vec<Panel> {
    let at_once = |behind: &mut [f64], w: &[f64], _: u64| behind.copy_from_slice(w);
    let copies = |period: u64| {
        move |behind: &mut [f64], w: &[f64], t: u64| _ = target::hard(behind, w, t - 1, t, period)
    };
    let discounts = [(0.9, Role::First), (0.7, Role::Second), (0.5, Role::Third), (0.3, Role::Fourth)];
    let mut by_discount: Vec<Curve> = discounts
        .into_iter()
        .map(|(gamma, colour)| Curve::new(format!("γ = {gamma}"), colour, weight(gamma, at_once)))
        .collect();
    let factor = linear::full_gradient_factor(ALPHA, 0.9).log10();
    let full = (0..=UPDATES).map(|t| (t as f64, t as f64 * factor)).collect();
    by_discount.push(Curve::new("γ = 0.9, full gradient", Role::Dashed, full));
    let by_target = vec![
        Curve::new("no target network", Role::First, weight(0.9, at_once)),
        Curve::new("copy every 10 steps", Role::Second, weight(0.9, copies(10))),
        Curve::new("copy every 50 steps", Role::Third, weight(0.9, copies(50))),
        Curve::new("κ = 0.02", Role::Fourth, weight(0.9, |behind, w, _| target::soft(behind, w, 0.02))),
    ];
    let panel = |title, y, curves| Panel {
        title,
        x_label: "updates",
        x: 0.0..UPDATES as f64,
        y,
        log: (false, true),
        legend: SeriesLabelPosition::UpperLeft,
        curves,
    };
    vec![panel("weight", -6.0..16.0, by_discount), panel("weight, γ = 0.9", -0.5..12.0, by_target)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_networks_alike_overestimate_alike() {
        let truth = spaced(5);
        assert_eq!(mean_target(&truth, 1.0, true), mean_target(&truth, 1.0, false));
        assert_eq!((truth[0], truth[4], spaced(1)[0]), (0.0, -1.0, 0.0));
        // Two actions worth 0: the mean of the larger of two normal numbers, times the correlation.
        let exact = std::f64::consts::PI.sqrt().recip();
        for (correlation, double, want) in [(0.0, false, exact), (0.5, true, 0.5 * exact), (0.0, true, 0.0)] {
            assert!((mean_target(&[0.0, 0.0], correlation, double) - want).abs() < 0.03);
        }
    }

    #[test]
    fn the_figures_have_the_numbers_of_the_text() {
        let end = |points: Vec<(f64, f64)>| points[points.len() - 1].1;
        assert!((end(follow(&[1.0; 1000], Some(0.005))) - 0.993346).abs() < 1e-6);
        let hundred = weight(0.9, |behind, w, _| behind.copy_from_slice(w))[100].1;
        assert!((10f64.powf(hundred) - 2199.76).abs() < 0.01);
    }
}
