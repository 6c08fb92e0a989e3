//! Figures of the chapter on policy gradients.

use super::{Curve, Panel, Role, grid};
use ndarray::{Array2, Array3, ArrayRef2, array};
use plotters::prelude::SeriesLabelPosition;
use rederive_math::policy_gradient::exact::{self, ascend, share};
use rederive_math::policy_gradient::trajectories::{
    Episodic, Moments, Sample, Weighting, estimate, moments, optimal_baseline,
};
use rederive_math::{Stream, aliasing, bellman};

/// A process of few states as dense arrays.
struct Process {
    p: Array3<f64>,
    r: Array3<f64>,
    mu: Vec<f64>,
    gamma: f64,
}

impl Process {
    /// From a list of `(s, a, s', P, R)`.
    fn new(
        states: usize,
        actions: usize,
        mu: &[f64],
        gamma: f64,
        moves: &[(usize, usize, usize, f64, f64)],
    ) -> Self {
        let shape = (states, actions, states);
        let (mut p, mut r) = (Array3::zeros(shape), Array3::zeros(shape));
        for &(s, a, next, prob, reward) in moves {
            p[[s, a, next]] = prob;
            r[[s, a, next]] = reward;
        }
        Process { p, r, mu: mu.to_vec(), gamma }
    }

    fn episodic(&self, horizon: usize) -> Episodic<'_, f64> {
        Episodic { p: &self.p, r: &self.r, mu: &self.mu, gamma: self.gamma, horizon }
    }
}

// Variance by baseline

/// Two states, two actions: the first tends to stay, the second to leave, and the second state pays more.
fn two_states() -> (Process, Array2<f64>) {
    let moves = [
        (0, 0, 0, 0.8, 1.0),
        (0, 0, 1, 0.2, 1.0),
        (0, 1, 0, 0.3, 0.5),
        (0, 1, 1, 0.7, 1.5),
        (1, 0, 1, 0.8, 3.0),
        (1, 0, 0, 0.2, 2.0),
        (1, 1, 1, 0.3, 2.0),
        (1, 1, 0, 0.7, 2.5),
    ];
    (Process::new(2, 2, &[0.5, 0.5], 0.95, &moves), array![[0.6, 0.4], [0.3, 0.7]])
}

const BASELINES: [(&str, Role); 6] = [
    ("whole return", Role::Dashed),
    ("return to go", Role::First),
    ("best constant", Role::Second),
    ("best per time", Role::Third),
    ("value", Role::Fourth),
    ("best per time and state", Role::Ink),
];

/// The variance of one trajectory's estimate with each baseline, in their order.
fn variances(process: &Process, policy: &ArrayRef2<f64>, horizon: usize) -> [f64; 6] {
    let (of, states) = (process.episodic(horizon), process.mu.len());
    let moments = |weighting, baseline: Option<&ArrayRef2<f64>>| moments(&of, policy, weighting, baseline);
    let best = |group: fn(usize, usize) -> usize| {
        let group = Array2::from_shape_fn((horizon, states), |(t, s)| group(t, s));
        let mut baseline = Array2::zeros((horizon, states));
        optimal_baseline(&of, policy, &group, &mut baseline);
        moments(Weighting::RewardToGo, Some(&baseline))
    };
    let always = Array3::from_shape_fn((horizon, states, policy.ncols()), |(_, s, a)| policy[[s, a]]);
    let mut value = Array2::zeros((horizon + 1, states));
    bellman::finite_horizon_values(&process.p, &process.r, &always, process.gamma, &mut value);
    let value = value.slice(ndarray::s![..horizon, ..]);
    [
        moments(Weighting::TotalReturn, None),
        moments(Weighting::RewardToGo, None),
        best(|_, _| 0),
        best(|t, _| t),
        moments(Weighting::RewardToGo, Some(&value)),
        best(|t, s| 2 * t + s),
    ]
    .map(|m: Moments<f64>| m.variance())
}

/// One decision among three, paying 1, 0.5 and 0; the first is taken with probability `p`, the others equally often. Variances without a
/// baseline, with the value, and with the best constant.
fn bandit(p: f64) -> [f64; 3] {
    let moves = [(0, 0, 0, 1.0, 1.0), (0, 1, 0, 1.0, 0.5), (0, 2, 0, 1.0, 0.0)];
    let process = Process::new(1, 3, &[1.0], 1.0, &moves);
    let rest = 0.5 * (1.0 - p);
    let policy = array![[p, rest, rest]];
    let mut best = array![[0.0]];
    optimal_baseline(&process.episodic(1), &policy, &array![[0]], &mut best);
    [array![[0.0]], array![[p + 0.5 * rest]], best]
        .map(|b| moments(&process.episodic(1), &policy, Weighting::RewardToGo, Some(&b)).variance())
}

pub(super) fn variance() -> Vec<Panel> {
    const HORIZON: usize = 6;
    let (process, policy) = two_states();
    let mut curves: Vec<Curve> = BASELINES
        .iter()
        .map(|&(label, role)| Curve { dots: role != Role::Dashed, ..Curve::new(label, role, Vec::new()) })
        .collect();
    for horizon in 1..=HORIZON {
        for (curve, variance) in curves.iter_mut().zip(variances(&process, &policy, horizon)) {
            curve.points.push((horizon as f64, variance.log10()));
        }
    }
    let labels = [("none", Role::First), ("value", Role::Fourth), ("best", Role::Ink)];
    let mut one: Vec<Curve> =
        labels.iter().map(|&(label, role)| Curve::new(label, role, Vec::new())).collect();
    for p in grid(0.34..0.98, 100) {
        for (curve, variance) in one.iter_mut().zip(bandit(p)) {
            curve.points.push((p, variance.log10()));
        }
    }
    vec![
        Panel {
            title: "variance of one trajectory",
            x_label: "decisions T",
            x: 0.8..HORIZON as f64 + 0.2,
            y: -1.5..5.5,
            log: (false, true),
            legend: SeriesLabelPosition::UpperLeft,
            curves,
        },
        Panel {
            title: "variance of one decision",
            x_label: "probability of the best action",
            x: 0.34..0.98,
            y: -4.0..0.0,
            log: (false, true),
            legend: SeriesLabelPosition::LowerLeft,
            curves: one,
        },
    ]
}

// With and without gamma^t

/// Two decisions that share `p = Pr(a)`: first `a` pays 1 and goes on while the other ends it; then `a` costs 5.
fn tempting() -> Process {
    let moves = [
        (0, 0, 1, 1.0, 1.0),
        (0, 1, 2, 1.0, 0.0),
        (1, 0, 2, 1.0, -5.0),
        (1, 1, 2, 1.0, 0.0),
        (2, 0, 2, 1.0, 0.0),
        (2, 1, 2, 1.0, 0.0),
    ];
    Process::new(3, 2, &[1.0, 0.0, 0.0], 0.5, &moves)
}

/// Two decisions that share `p = Pr(a)`: first `a` pays 1, then it costs 1.5; both go on whatever is taken.
fn regretted() -> Process {
    let moves = [
        (0, 0, 1, 1.0, 1.0),
        (0, 1, 1, 1.0, 0.0),
        (1, 0, 2, 1.0, -1.5),
        (1, 1, 2, 1.0, 0.0),
        (2, 0, 2, 1.0, 0.0),
        (2, 1, 2, 1.0, 0.0),
    ];
    Process::new(3, 2, &[1.0, 0.0, 0.0], 0.5, &moves)
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The policy that all states share.
fn shared(states: usize, p: f64) -> Array2<f64> {
    let mut policy = Array2::zeros((states, 2));
    aliasing::lift(&vec![0; states], &array![[p, 1.0 - p]], &mut policy);
    policy
}

/// The mean estimate in the shared logits.
fn slope(process: &Process, p: f64, weighting: Weighting) -> [f64; 2] {
    let states = process.mu.len();
    let mean = moments(&process.episodic(2), &shared(states, p), weighting, None).mean;
    let mut out = array![[0.0, 0.0]];
    share(&vec![0; states], &mean, &mut out);
    [out[[0, 0]], out[[0, 1]]]
}

fn objective(process: &Process, p: f64) -> f64 {
    let mut mean = 0.0;
    let of = process.episodic(2);
    of.for_each_path(&shared(process.mu.len(), p), |path| mean += path.prob * of.return_(path));
    mean
}

pub(super) fn discount_factor() -> Vec<Panel> {
    const STEPS: usize = 120;
    let process = tempting();
    // In the probability instead of the logit, where the objective is a parabola.
    let by_p = |weighting| {
        let of = |p: f64| (p, slope(&process, p, weighting)[0] / (p * (1.0 - p)));
        grid(0.005..0.3, 118).map(of).collect::<Vec<_>>()
    };
    let objective_by_p = grid(0.0..0.3, 120).map(|p| (p, 10.0 * objective(&process, p))).collect();
    let climb = |weighting| {
        let process = regretted();
        let mut z = [0.0, 0.0];
        let mut points = Vec::new();
        for step in 0..=STEPS {
            let p = sigmoid(z[0] - z[1]);
            points.push((step as f64, objective(&process, p)));
            ascend(&mut z, &slope(&process, p, weighting), 0.5);
        }
        points
    };
    let [with, without] = [Weighting::RewardToGo, Weighting::Undiscounted];
    vec![
        Panel {
            title: "objective and slopes",
            x_label: "p",
            x: 0.0..0.3,
            y: -1.5..2.0,
            log: (false, false),
            legend: SeriesLabelPosition::UpperRight,
            curves: vec![
                Curve::new("10 J", Role::Ink, objective_by_p),
                Curve::new("slope with the factor", Role::First, by_p(with)),
                Curve::new("slope without", Role::Second, by_p(without)),
                Curve::new("", Role::Dashed, vec![(0.0, 0.0), (0.3, 0.0)]),
            ],
        },
        Panel {
            title: "J along the ascent",
            x_label: "steps",
            x: 0.0..STEPS as f64,
            y: 0.0..0.27,
            log: (false, false),
            legend: SeriesLabelPosition::MiddleRight,
            curves: vec![
                Curve::new("with the factor", Role::First, climb(with)),
                Curve::new("without", Role::Second, climb(without)),
            ],
        },
    ]
}

// The corridor

const GAMMA: f64 = 0.9;
/// Probability of going right at first.
const FIRST: f64 = 0.95;
const ALPHA: f64 = 1.0;
const STEPS: usize = 100;

/// Two cells with the goal between them: the left one, the right one, the goal. Actions: right, left.
fn cells() -> Process {
    let moves = [
        (0, 0, 2, 1.0, 1.0),
        (0, 1, 0, 1.0, 0.0),
        (1, 0, 1, 1.0, 0.0),
        (1, 1, 2, 1.0, 1.0),
        (2, 0, 2, 1.0, 0.0),
        (2, 1, 2, 1.0, 0.0),
    ];
    Process::new(3, 2, &[0.5, 0.5, 0.0], GAMMA, &moves)
}

/// Gradient ascent in logits per observation; `J` before each step.
fn follow(
    observation: &[usize],
    mut gradient: impl FnMut(&ArrayRef2<f64>, &mut ArrayRef2<f64>),
) -> Vec<(f64, f64)> {
    let process = cells();
    let rows = observation.iter().max().map_or(0, |o| o + 1);
    let mut logits = Array2::from_shape_fn((rows, 2), |(_, a)| {
        0.5 * (FIRST / (1.0 - FIRST)).ln() * if a == 0 { 1.0 } else { -1.0 }
    });
    let (mut policy, mut exact_gradient) = (Array2::zeros((3, 2)), Array2::zeros((3, 2)));
    let (mut by_state, mut by_row) = (Array2::zeros((3, 2)), Array2::zeros((rows, 2)));
    let mut points = Vec::new();
    for step in 0..=STEPS {
        let prob = Array2::from_shape_fn((rows, 2), |(o, a)| sigmoid(logits[[o, a]] - logits[[o, 1 - a]]));
        aliasing::lift(observation, &prob, &mut policy);
        // The discount is below 1, so there is a solution.
        let j = exact::gradient(&process.p, &process.r, &process.mu, &policy, GAMMA, &mut exact_gradient);
        points.push((step as f64, j.unwrap_or(f64::NAN)));
        by_state.assign(&exact_gradient);
        gradient(&policy, &mut by_state);
        share(observation, &by_state, &mut by_row);
        let (Some(theta), Some(g)) = (logits.as_slice_mut(), by_row.as_slice()) else { break };
        ascend(theta, g, ALPHA);
    }
    points
}

/// REINFORCE with ten episodes per step, each weighted with what it returned.
fn sampled(policy: &ArrayRef2<f64>, rng: &mut Stream, out: &mut ArrayRef2<f64>) {
    let episodes: Vec<(Vec<usize>, Vec<usize>, Vec<f64>)> = (0..10)
        .map(|_| {
            let cell = usize::from(rng.unit() < 0.5);
            let mut actions = Vec::new();
            // Right leads to the goal from the left cell, left from the right one.
            while actions.len() < 100 && actions.last() != Some(&cell) {
                actions.push(usize::from(rng.unit() >= policy[[cell, 0]]));
            }
            let arrived = actions.last() == Some(&cell);
            let return_ = if arrived { GAMMA.powi(actions.len() as i32 - 1) } else { 0.0 };
            (vec![cell; actions.len()], actions.clone(), vec![return_; actions.len()])
        })
        .collect();
    let samples: Vec<_> =
        episodes.iter().map(|(states, actions, weight)| Sample { states, actions, weight }).collect();
    estimate(policy, &samples, out);
}

pub(super) fn corridor() -> Vec<Panel> {
    let shapes = [(0.5, Role::Third), (0.9, Role::First), (0.99, Role::Fourth)].map(|(gamma, role)| {
        let points = grid(0.0..1.0, 200).map(|p| (p, aliasing::merged_cells_value(p, gamma))).collect();
        Curve::new(format!("γ = {gamma}"), role, points)
    });
    let mut rng = Stream::new(0, "corridor-figure", 0);
    let level = |j: f64| vec![(0.0, j), (STEPS as f64, j)];
    let curves = vec![
        Curve::new("sees the cell", Role::Third, follow(&[0, 1, 1], |_, _| {})),
        Curve::new("exact gradient", Role::First, follow(&[0, 0, 0], |_, _| {})),
        Curve::new(
            "ten episodes",
            Role::Second,
            follow(&[0, 0, 0], |policy, g| sampled(policy, &mut rng, g)),
        ),
        Curve::new("", Role::Dashed, level(aliasing::merged_cells_value(0.5, GAMMA))),
        Curve::new("", Role::Dashed, level(aliasing::merged_cells_value(1.0, GAMMA))),
    ];
    vec![
        Panel {
            title: "closed form",
            x_label: "probability of going right",
            x: 0.0..1.0,
            y: 0.2..1.05,
            log: (false, false),
            legend: SeriesLabelPosition::LowerMiddle,
            curves: shapes.into(),
        },
        Panel {
            title: "J along the ascent",
            x_label: "steps",
            x: 0.0..STEPS as f64,
            y: 0.2..1.05,
            log: (false, false),
            legend: SeriesLabelPosition::LowerRight,
            curves,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_freedom_is_never_worse_and_the_value_may_be() {
        let (process, policy) = two_states();
        for horizon in 1..=4 {
            let [total, to_go, constant, time, value, both] = variances(&process, &policy, horizon);
            assert!(total >= to_go - 1e-12 && to_go > constant && constant >= time - 1e-12);
            assert!(time >= both - 1e-12 && value >= both - 1e-12);
        }
        let [none, value, best] = bandit(0.9);
        assert!(value > none && none > best && best >= 0.0);
    }

    #[test]
    fn the_slopes_vanish_where_the_chapter_says() {
        let process = tempting();
        let at = |p, weighting| slope(&process, p, weighting)[0].abs();
        assert!(at(0.2, Weighting::RewardToGo) < 1e-15 && at(2.0 / 15.0, Weighting::Undiscounted) < 1e-15);
        let ends =
            discount_factor()[1].curves.iter().map(|c| c.points[c.points.len() - 1].1).collect::<Vec<_>>();
        assert!(ends[0] > 0.22 && ends[1] < 0.02, "{ends:?}");
    }

    #[test]
    fn the_ascent_reaches_the_closed_form() {
        let ends: Vec<f64> = corridor()[1].curves.iter().map(|c| c.points[c.points.len() - 1].1).collect();
        assert!(ends[0] > 0.97 && (ends[1] - ends[3]).abs() < 1e-3, "{ends:?}");
        assert!(ends[2] > 0.85 && ends[2] <= ends[3] + 1e-12 && ends[4] == 0.5, "{ends:?}");
    }
}
