//! Figures of the chapter on the natural gradient and trust regions.

use super::{Curve, Panel, Result2, Role, grid, span};
use ndarray::{Array2, Array3};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rederive_math::natural_gradient::steepest_step;
use rederive_math::{Stream, bellman, categorical, fisher, mdp, performance, trust_region};

const RADIUS: f64 = 0.03;

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let mut p = vec![0.0; logits.len()];
    categorical::probabilities(logits, &mut p);
    p
}

fn logits(p: [f64; 3]) -> [f64; 3] {
    p.map(f64::ln)
}

fn moved(z: &[f64], d: &[f64], by: f64) -> Vec<f64> {
    z.iter().zip(d).map(|(z, d)| z + by * d).collect()
}

fn information(z: &[f64]) -> Array2<f64> {
    let mut f = Array2::zeros((z.len(), z.len()));
    fisher::softmax(&probabilities(z), &mut f);
    f
}

/// Policies at the given divergence from `z`, and those that the quadratic model takes for it; by direction.
fn balls(z: &[f64; 3]) -> [Vec<Vec<f64>>; 2] {
    let f = information(z);
    let (mut truth, mut model) = (Vec::new(), Vec::new());
    for i in 0..=180 {
        let angle = f64::from(i) * std::f64::consts::TAU / 180.0;
        // Two directions across the constant one, which changes nothing.
        let (u, v) = (angle.cos() / 2f64.sqrt(), angle.sin() / 6f64.sqrt());
        let d = [u + v, v - u, -2.0 * v];
        let (mut low, mut high) = (0.0, 1.0);
        while categorical::kl(z, &moved(z, &d, high)) < RADIUS && high < 1e3 {
            high *= 2.0;
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if categorical::kl(z, &moved(z, &d, middle)) < RADIUS { low = middle } else { high = middle }
        }
        truth.push(probabilities(&moved(z, &d, low)));
        model.push(probabilities(&moved(z, &d, (RADIUS / fisher::quadratic_kl(&f, &d)).sqrt())));
    }
    [truth, model]
}

const REWARD: [f64; 3] = [1.0, 0.6, 0.0];
const STEPS: usize = 14;

/// Policies of steps along the natural gradient, each of the same model divergence, or along the plain one.
fn ascent(start: [f64; 3], natural: bool) -> Vec<Vec<f64>> {
    let mut z = logits(start).to_vec();
    let mut path = vec![probabilities(&z)];
    for _ in 0..STEPS {
        let p = probabilities(&z);
        let mean: f64 = p.iter().zip(REWARD).map(|(p, r)| p * r).sum();
        let gradient: Vec<f64> = p.iter().zip(REWARD).map(|(p, r)| p * (r - mean)).collect();
        let mut step = gradient.clone();
        if natural && steepest_step(&information(&z), &gradient, RADIUS, &mut step).is_err() {
            break;
        }
        z = moved(&z, &step, 1.0);
        path.push(probabilities(&z));
    }
    path
}

const SIDE: f64 = 640.0;

/// Where a policy over three actions lies in a triangle whose lower left corner is at `x`.
fn place(x: f64, p: &[f64]) -> (i32, i32) {
    let (right, up) = (x + SIDE * (p[2] + 0.5 * p[0]), 640.0 - SIDE * 0.75f64.sqrt() * p[0]);
    (right.round() as i32, up.round() as i32)
}

/// The simplex of three actions: balls of the divergence on the left, steps of two gradients on the right.
pub(super) fn simplex() -> Result2<String> {
    let ink = Role::Ink.colour();
    let text =
        |size: u32, h: HPos| ("sans-serif", size).into_font().color(&ink).pos(Pos::new(h, VPos::Center));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (1500, 760)).into_drawing_area();
        let line = |points: Vec<(i32, i32)>, role: Role, width: u32| {
            root.draw(&PathElement::new(points, role.colour().stroke_width(width)))
        };
        let corners = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for (x, names) in
            [(60.0, ["action 1", "action 2", "action 3"]), (800.0, ["pays 1", "pays 0.6", "pays 0"])]
        {
            line([0, 1, 2, 0].map(|i| place(x, &corners[i])).to_vec(), Role::Ink, 2)?;
            for (corner, name) in corners.iter().zip(names) {
                let (left, top) = place(x, corner);
                let below = if corner[0] > 0.0 { -24 } else { 26 };
                root.draw(&Text::new(name, (left, top + below), text(28, HPos::Center)))?;
            }
        }
        let third = 1.0 / 3.0;
        for centre in [
            [third, third, third],
            [0.7, 0.15, 0.15],
            [0.15, 0.7, 0.15],
            [0.15, 0.15, 0.7],
            [0.94, 0.03, 0.03],
            [0.03, 0.94, 0.03],
            [0.03, 0.03, 0.94],
            [0.03, 0.485, 0.485],
            [0.485, 0.03, 0.485],
            [0.485, 0.485, 0.03],
        ] {
            let [truth, model] = balls(&logits(centre));
            line(truth.iter().map(|p| place(60.0, p)).collect(), Role::First, 4)?;
            line(model.iter().map(|p| place(60.0, p)).collect(), Role::Dashed, 3)?;
            root.draw(&Circle::new(place(60.0, &centre), 4, ink.filled()))?;
        }
        for start in [[0.02, 0.08, 0.9], [0.015, 0.895, 0.09], [0.05, 0.45, 0.5]] {
            for (natural, role) in [(false, Role::Second), (true, Role::First)] {
                let path: Vec<_> = ascent(start, natural).iter().map(|p| place(800.0, p)).collect();
                for &at in &path {
                    root.draw(&Circle::new(at, 6, role.colour().filled()))?;
                }
                line(path, role, 3)?;
            }
            root.draw(&Circle::new(place(800.0, &start), 6, ink.filled()))?;
        }
        for (x, role, label) in [
            (70, Role::First, "KL(π ‖ π′) = 0.03"),
            (400, Role::Dashed, "its quadratic model"),
            (850, Role::First, "natural gradient"),
            (1160, Role::Second, "plain gradient"),
        ] {
            line(vec![(x, 722), (x + 44, 722)], role, if role == Role::Dashed { 3 } else { 5 })?;
            root.draw(&Text::new(label, (x + 58, 722), text(28, HPos::Left)))?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// The logits of two actions, and the step that the model allows, towards the first action.
fn coin_step(p: f64, radius: f64) -> ([f64; 2], [f64; 2]) {
    let z = [p.ln(), (1.0 - p).ln()];
    let variance = p * (1.0 - p);
    let mut step = [0.0; 2];
    // The gradient of p itself lies in the range of the Fisher matrix.
    let _ = steepest_step(&information(&z), &[variance, -variance], radius, &mut step);
    (z, step)
}

/// The divergence of a step that the model puts on the boundary, over the model's radius; and along such a step.
pub(super) fn overshoot() -> Vec<Panel> {
    let ratios = [(0.001, Role::First), (0.01, Role::Second), (0.05, Role::Third)].map(|(radius, colour)| {
        let points = grid(-3.0..-0.001, 240).map(|x| {
            let (z, step) = coin_step(10f64.powf(x), radius);
            (x, categorical::kl(&z, &moved(&z, &step, 1.0)) / radius)
        });
        Curve::new(format!("Δ = {radius}"), colour, points.collect())
    });
    let flat = Curve::new("model", Role::Dashed, vec![(-3.0, 1.0), (0.0, 1.0)]);
    let (z, step) = coin_step(0.01, 0.01);
    let f = information(&z);
    let along = |value: &dyn Fn(f64) -> f64| grid(0.0..1.5, 120).map(|t| (t, value(t))).collect::<Vec<_>>();
    let kl = |sign: f64| along(&|t| categorical::kl(&z, &moved(&z, &step, sign * t)));
    let model = along(&|t| fisher::quadratic_kl(&f, &step.map(|d| t * d)));
    let cubic = along(&|t| {
        let (second, third) = fisher::softmax_kl_terms(&probabilities(&z), &step.map(|d| t * d));
        second + third
    });
    vec![
        Panel {
            title: "true KL over Δ",
            x_label: "probability before the step",
            x: -3.0..0.0,
            y: 0.0..3.0,
            log: (true, false),
            legend: SeriesLabelPosition::UpperRight,
            curves: ratios.into_iter().chain([flat]).collect(),
        },
        Panel {
            title: "KL along the step, p = 0.01",
            x_label: "share of the step",
            x: 0.0..1.5,
            y: 0.0..0.04,
            log: (false, false),
            legend: SeriesLabelPosition::UpperLeft,
            curves: vec![
                Curve::new("upwards", Role::First, kl(1.0)),
                Curve::new("downwards", Role::Second, kl(-1.0)),
                Curve::new("cubic term included", Role::Third, cubic),
                Curve::new("model", Role::Dashed, model),
            ],
        },
    ]
}

/// A process as dense arrays, with the policy that a surrogate is built at.
struct Case {
    p: Array3<f64>,
    r: Array3<f64>,
    mu: Vec<f64>,
    gamma: f64,
    occupancy: Vec<f64>,
    advantage: Array2<f64>,
    start: f64,
}

impl Case {
    fn new(p: Array3<f64>, r: Array3<f64>, mu: Vec<f64>, gamma: f64, old: &Array2<f64>) -> Self {
        let (states, actions, _) = p.dim();
        let mut kernel = Array2::zeros((states, states));
        mdp::policy_kernel(&p, old, &mut kernel);
        let (mut occupancy, mut value) = (vec![0.0; states], vec![0.0; states]);
        // The discount is below 1, so there are solutions.
        let _ = mdp::occupancy(&kernel, &mu, gamma, &mut occupancy);
        let _ = bellman::solve_v(&p, &r, old, gamma, &mut value);
        let mut q = Array2::zeros((states, actions));
        bellman::look_ahead(&p, &r, gamma, &value, &mut q);
        let mut advantage = q.clone();
        bellman::advantage(&q, &value, &mut advantage);
        let start = value.iter().zip(&mu).map(|(v, m)| v * m).sum();
        Case { p, r, mu, gamma, occupancy, advantage, start }
    }

    /// `J(policy) - J(old)`.
    fn difference(&self, policy: &Array2<f64>) -> f64 {
        let mut value = vec![0.0; self.mu.len()];
        let _ = bellman::solve_v(&self.p, &self.r, policy, self.gamma, &mut value);
        value.iter().zip(&self.mu).map(|(v, m)| v * m).sum::<f64>() - self.start
    }

    fn surrogate(&self, policy: &Array2<f64>) -> f64 {
        performance::surrogate(&self.occupancy, policy, &self.advantage, self.gamma)
    }
}

/// A random process in which every action leads to one or two states, and the policies `softmax(z + t d)` along a random line.
fn line() -> (Case, Array2<f64>, impl Fn(f64) -> Array2<f64>) {
    const STATES: usize = 6;
    const ACTIONS: usize = 3;
    let mut rng = Stream::new(LINE_SEED, "line", 0);
    let mut p = Array3::zeros((STATES, ACTIONS, STATES));
    for s in 0..STATES {
        for a in 0..ACTIONS {
            for _ in 0..2 {
                p[[s, a, rng.below(STATES as u32) as usize]] += 0.5;
            }
        }
    }
    let r = Array3::from_shape_fn((STATES, ACTIONS, STATES), |_| rng.uniform(-1.0, 1.0));
    let z = Array2::from_shape_fn((STATES, ACTIONS), |_| rng.normal());
    let d = Array2::from_shape_fn((STATES, ACTIONS), |_| rng.normal());
    let at = move |t: f64| {
        let mut policy = &z + &(&d * t);
        for mut row in policy.rows_mut() {
            let softmax = probabilities(&row.to_vec());
            row.iter_mut().zip(softmax).for_each(|(p, s)| *p = s);
        }
        policy
    };
    let old = at(0.0);
    (Case::new(p, r, vec![1.0 / STATES as f64; STATES], 0.8, &old), old, at)
}

/// Of a line along which the surrogate goes on rising where the objective falls.
const LINE_SEED: u64 = 29;

/// Objective and surrogate along a line of policies; and, near the old policy, with the lower bounds.
pub(super) fn surrogate() -> Vec<Panel> {
    let (case, old, at) = line();
    let sample = |x: std::ops::Range<f64>, value: &dyn Fn(&Array2<f64>) -> f64| {
        grid(x, 240).map(|t| (t, value(&at(t)))).collect::<Vec<_>>()
    };
    let eps = trust_region::largest_advantage(&case.advantage);
    let by_kl = |pi: &Array2<f64>| {
        case.surrogate(pi) - trust_region::max_penalty(eps, trust_region::max_kl(&old, pi), case.gamma)
    };
    let by_distance = |pi: &Array2<f64>| {
        let alpha = trust_region::max_total_variation(&old, pi);
        case.surrogate(pi) - trust_region::max_penalty(eps, alpha * alpha, case.gamma)
    };
    let by_mean = |pi: &Array2<f64>| {
        let distance = trust_region::mean_total_variation(&case.occupancy, &old, pi);
        let gain = trust_region::largest_gain(pi, &case.advantage);
        case.surrogate(pi) - trust_region::average_penalty(gain, distance, case.gamma)
    };
    let far = -3.0..3.0;
    let near = -0.015..0.03;
    let wide = vec![
        Curve::new("J(π′) − J(π)", Role::First, sample(far.clone(), &|pi| case.difference(pi))),
        Curve::new("surrogate L", Role::Dashed, sample(far.clone(), &|pi| case.surrogate(pi))),
    ];
    let bounds = vec![
        Curve::new("J(π′) − J(π)", Role::First, sample(near.clone(), &|pi| case.difference(pi))),
        Curve::new("surrogate L", Role::Dashed, sample(near.clone(), &|pi| case.surrogate(pi))),
        Curve::new("mean distance", Role::Third, sample(near.clone(), &by_mean)),
        Curve::new("largest distance", Role::Fourth, sample(near.clone(), &by_distance)),
        Curve::new("largest KL", Role::Second, sample(near.clone(), &by_kl)),
    ];
    vec![
        Panel {
            title: "along a line of policies",
            x_label: "t",
            x: far,
            y: span(&wide),
            log: (false, false),
            legend: SeriesLabelPosition::UpperLeft,
            curves: wide,
        },
        Panel {
            title: "near the old policy",
            x_label: "t",
            x: near,
            y: -0.008..0.01,
            log: (false, false),
            legend: SeriesLabelPosition::UpperLeft,
            curves: bounds,
        },
    ]
}

/// Two states with one parameter, `p`: in the first, action 0 pays 1 and leads to the second, where it costs 5; `J = p - 5 p^2`.
fn shared(p: f64) -> Array2<f64> {
    Array2::from_shape_fn((3, 2), |(_, a)| if a == 0 { p } else { 1.0 - p })
}

const OLD: f64 = 0.09;

fn shared_case() -> Case {
    const GAMMA: f64 = 0.5;
    let (mut p, mut r) = (Array3::zeros((3, 2, 3)), Array3::zeros((3, 2, 3)));
    for (s, a, next) in [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)] {
        p[[s, a, next]] = 1.0;
    }
    r[[0, 0, 1]] = 1.0;
    // As much as 5 without discount.
    r[[1, 0, 2]] = -5.0 / GAMMA;
    Case::new(p, r, vec![1.0, 0.0, 0.0], GAMMA, &shared(OLD))
}

/// The ends of the trust region around [`OLD`].
fn shared_region(radius: f64) -> [f64; 2] {
    [1e-9, 0.5].map(|end| {
        let (mut inside, mut outside) = (OLD, end);
        for _ in 0..60 {
            let middle = 0.5 * (inside + outside);
            let within = trust_region::max_kl(&shared(OLD), &shared(middle)) < radius;
            if within { inside = middle } else { outside = middle }
        }
        inside
    })
}

/// A step that is feasible, promises a gain, and loses: objective and surrogate, and the mean advantages in both states.
pub(super) fn shared_parameter() -> Vec<Panel> {
    let case = shared_case();
    let [low, high] = shared_region(0.01);
    let x = 0.0..0.25;
    let curve = |value: &dyn Fn(&Array2<f64>) -> f64| {
        grid(x.clone(), 200).map(|p| (p, value(&shared(p)))).collect::<Vec<_>>()
    };
    let gain = |state: usize, weight: f64| {
        curve(&move |pi: &Array2<f64>| {
            let mut mean = [0.0; 3];
            performance::mean_advantage(pi, &shared_case().advantage, &mut mean);
            weight * mean[state]
        })
    };
    let edges = |y: [f64; 2]| [low, high].map(|p| Curve::new("", Role::Grid, vec![(p, y[0]), (p, y[1])]));
    let panel = |title, y: std::ops::Range<f64>, legend, curves: Vec<Curve>| Panel {
        title,
        x_label: "p",
        x: x.clone(),
        y: y.clone(),
        log: (false, false),
        legend,
        curves: curves.into_iter().chain(edges([y.start, y.end])).collect(),
    };
    vec![
        panel(
            "objective and surrogate",
            -0.02..0.08,
            SeriesLabelPosition::LowerMiddle,
            vec![
                Curve::new("J(p)", Role::First, curve(&|pi| case.difference(pi) + case.start)),
                Curve::new("J(0.09) + L(p)", Role::Dashed, curve(&|pi| case.surrogate(pi) + case.start)),
            ],
        ),
        panel(
            "mean advantage",
            -0.4..0.4,
            SeriesLabelPosition::LowerLeft,
            vec![
                Curve::new("first state", Role::First, gain(0, 1.0)),
                Curve::new("second state", Role::Second, gain(1, 0.5)),
                Curve::new("over the visits", Role::Dashed, curve(&|pi| case.surrogate(pi))),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_in_the_text_are_those_of_the_figures() {
        let (z, step) = coin_step(0.01, 0.01);
        let there = moved(&z, &step, 1.0);
        assert!((probabilities(&there)[0] - 0.04016).abs() < 1e-5);
        assert!((categorical::kl(&z, &there) - 0.016730).abs() < 1e-6);
        let (case, [_, high]) = (shared_case(), shared_region(0.01));
        assert!((high - 0.135879).abs() < 1e-6 && (case.start - 0.0495).abs() < 1e-12);
        assert!((case.difference(&shared(high)) + case.start - 0.043563).abs() < 1e-6);
        assert!((case.surrogate(&shared(high)) - 0.00459).abs() < 1e-5);
    }

    #[test]
    fn the_bounds_are_below_the_objective() {
        for panel in surrogate() {
            let truth = &panel.curves[0].points;
            for curve in &panel.curves[2..] {
                assert!(curve.points.iter().zip(truth).all(|(b, j)| b.1 <= j.1 + 1e-12), "{}", curve.label);
            }
        }
    }
}
