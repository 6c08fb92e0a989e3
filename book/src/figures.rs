//! The book's figures, drawn from the functions of the libraries.

mod function_approximation;
mod search;

use ndarray::{Array2, Array3, s};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rederive_env::grid_world::{GridWorld, NOTES_MAP};
use rederive_env::{FiniteModel, FiniteTable};
use rederive_math::estimators::Estimator;
use rederive_math::{End, Stream, bellman, gae, maxent, mdp, probability, surrogate};
use std::ops::Range;

mod policy_gradient;
mod temporal_difference;
mod trust_region;

/// All figures.
pub const NAMES: &[&str] = &[
    "occupancy",
    "importance-weights",
    "value-propagation",
    "stopping",
    "soft-policies",
    "gae-weights",
    "gae-bias-variance",
    "ppo-clip",
    "ppo-no-constraint",
    "kl-estimators",
    "search-tree",
    "search-consistency",
    "td-bias-variance",
    "max-bias",
    "overestimation",
    "target-networks",
    "offpolicy-divergence",
    "gradient-variance",
    "discount-factor",
    "aliased-corridor",
    "trust-region",
    "kl-overshoot",
    "surrogate",
    "shared-parameter",
];

/// The figure as inline SVG whose colours follow the page's theme (`theme/book.css`).
pub fn draw(name: &str) -> Result<String, String> {
    if name == "value-propagation" {
        let svg = value_propagation().map_err(|e| format!("figure `{name}`: {e}"))?;
        return Ok(themed(&svg));
    }
    let (size, columns, panels) = match name {
        "occupancy" => ((1500, 620), 1, occupancy()),
        "importance-weights" => ((1500, 620), 2, importance_weights()),
        "stopping" => ((1500, 660), 2, stopping()),
        "soft-policies" => ((1500, 620), 2, soft_policies()),
        "gae-weights" => ((1500, 620), 2, gae_weights()),
        "gae-bias-variance" => ((1500, 620), 2, gae_bias_variance()),
        "ppo-clip" => ((1500, 900), 2, ppo_clip()),
        "ppo-no-constraint" => ((1500, 620), 2, ppo_no_constraint()),
        "kl-estimators" => ((1500, 620), 2, kl_estimators()),
        "search-tree" => {
            let svg = search::tree().map_err(|e| format!("figure `{name}`: {e}"))?;
            return Ok(themed(&svg));
        }
        "search-consistency" => ((1500, 620), 2, search::consistency()),
        "td-bias-variance" => ((1500, 620), 2, temporal_difference::bias_variance()),
        "max-bias" => ((1500, 620), 2, temporal_difference::max_bias()),
        "overestimation" => ((1500, 620), 2, function_approximation::overestimation()),
        "target-networks" => ((1500, 620), 2, function_approximation::target_networks()),
        "offpolicy-divergence" => ((1500, 620), 2, function_approximation::offpolicy_divergence()),
        "gradient-variance" => ((1500, 660), 2, policy_gradient::variance()),
        "discount-factor" => ((1500, 620), 2, policy_gradient::discount_factor()),
        "aliased-corridor" => ((1500, 620), 2, policy_gradient::corridor()),
        "trust-region" => {
            let svg = trust_region::simplex().map_err(|e| format!("figure `{name}`: {e}"))?;
            return Ok(themed(&svg));
        }
        "kl-overshoot" => ((1500, 620), 2, trust_region::overshoot()),
        "surrogate" => ((1500, 620), 2, trust_region::surrogate()),
        "shared-parameter" => ((1500, 620), 2, trust_region::shared_parameter()),
        _ => return Err(format!("unknown figure `{name}`; there are {}", NAMES.join(", "))),
    };
    let svg = render(size, columns, &panels).map_err(|e| format!("figure `{name}`: {e}"))?;
    Ok(themed(&svg))
}

/// The figure as a file of its own, in the colours of the light theme.
pub fn standalone(name: &str) -> Result<String, String> {
    let colours = ["#333333", "#dddddd", "#1a5fb4", "#c64600", "#26845a", "#813d9c", "#777777"];
    let mut style = String::from("<style>.dashed { stroke-dasharray: 9 9; }");
    for (i, colour) in colours.iter().enumerate() {
        style.push_str(&format!(" .s{i} {{ stroke: {colour}; }} .f{i} {{ fill: {colour}; }}"));
    }
    let svg = draw(name)?;
    let head = svg.find('>').map_or(0, |i| i + 1);
    Ok(format!("{}{style}</style>{}\n", &svg[..head], &svg[head..]))
}

// ---------------------------------------------------------------------------------------------------------------- data

/// A line of a panel.
struct Curve {
    label: String,
    colour: Role,
    points: Vec<(f64, f64)>,
    dots: bool,
}

impl Curve {
    fn new(label: impl Into<String>, colour: Role, points: Vec<(f64, f64)>) -> Self {
        Curve { label: label.into(), colour, points, dots: false }
    }
}

/// One pair of axes.
struct Panel {
    title: &'static str,
    x_label: &'static str,
    x: Range<f64>,
    y: Range<f64>,
    /// Coordinates are decimal logarithms and are labelled as powers of ten.
    log: (bool, bool),
    legend: SeriesLabelPosition,
    curves: Vec<Curve>,
}

fn occupancy() -> Vec<Panel> {
    const STATES: usize = 31;
    let mut kernel = Array2::zeros((STATES, STATES));
    for s in 0..STATES {
        kernel[[s, (s + 1).min(STATES - 1)]] += 0.6;
        kernel[[s, s.saturating_sub(1)]] += 0.4;
    }
    let mut mu = [0.0; STATES];
    mu[STATES / 2] = 1.0;
    let gammas = [(0.5, Role::First), (0.9, Role::Second), (0.97, Role::Third), (0.999, Role::Fourth)];
    let curves = gammas.into_iter().map(|(gamma, colour)| {
        let mut d = [f64::NAN; STATES];
        // The discount is below 1, so there is a solution.
        let _ = mdp::occupancy(&kernel, &mu, gamma, &mut d);
        let points = (0..).map(f64::from).zip(d).collect();
        Curve { dots: true, ..Curve::new(format!("γ = {gamma}"), colour, points) }
    });
    vec![Panel {
        title: "discounted occupancy",
        x_label: "state",
        x: -1.0..31.0,
        y: 0.0..0.6,
        log: (false, false),
        legend: SeriesLabelPosition::UpperRight,
        curves: curves.collect(),
    }]
}

fn importance_weights() -> Vec<Panel> {
    const SAMPLES: usize = 10_000;
    const HORIZON: usize = 200;
    let (mut sizes, mut means) = (Vec::new(), Vec::new());
    for (p, colour) in [(0.6, Role::First), (0.7, Role::Second), (0.8, Role::Third)] {
        let mut rng = Stream::new(0, "weights", 0);
        let step = [2.0 * p, 2.0 * (1.0 - p)];
        let second = probability::second_moment(&[p, 1.0 - p], &[0.5, 0.5]).unwrap_or(f64::NAN);
        let mut weight = vec![1.0f64; SAMPLES];
        let (mut size, mut theory, mut mean) = (Vec::new(), Vec::new(), Vec::new());
        for t in 0..=HORIZON {
            let x = t as f64;
            size.push((x, probability::effective_sample_size(&weight).log10()));
            theory.push((x, (SAMPLES as f64).log10() - x * second.log10()));
            mean.push((x, probability::mc_mean(&weight).mean));
            for w in &mut weight {
                *w *= step[usize::from(rng.unit() < 0.5)];
            }
        }
        sizes.push(Curve::new(format!("p = {p}"), colour, size));
        sizes.push(Curve::new("", Role::Dashed, theory));
        means.push(Curve::new(format!("p = {p}"), colour, mean));
    }
    let panel = |title, y, log, legend, curves| Panel {
        title,
        x_label: "steps",
        x: 0.0..HORIZON as f64,
        y,
        log,
        legend,
        curves,
    };
    vec![
        panel("effective samples of 10⁴", 0.0..4.1, (false, true), SeriesLabelPosition::UpperRight, sizes),
        panel("mean weight", 0.0..2.5, (false, false), SeriesLabelPosition::UpperRight, means),
    ]
}

/// A table as dense arrays, with one more state in which everything ends.
fn dense(table: &FiniteTable) -> (Array3<f64>, Array3<f64>) {
    let (states, actions) = (table.num_states(), table.num_actions());
    let mut p = Array3::zeros((states + 1, actions, states + 1));
    let mut r = p.clone();
    for i in 0..states {
        for a in 0..actions {
            for outcome in table.row(i, a) {
                let next = if outcome.terminated { states } else { outcome.next as usize };
                p[[i, a, next]] += outcome.prob;
                r[[i, a, next]] += outcome.prob * outcome.reward;
            }
        }
    }
    p.slice_mut(s![states, .., states]).fill(1.0);
    r.zip_mut_with(&p, |r: &mut f64, &p: &f64| *r = if p > 0.0 { *r / p } else { 0.0 });
    (p, r)
}

/// The notes' grid with noise, whose map every reader of introductions has seen.
fn noisy_grid() -> (GridWorld, Array3<f64>, Array3<f64>) {
    let grid = GridWorld::from_map(NOTES_MAP, 0.2, 0.0).expect("the map makes sense");
    let (p, r) = dense(grid.table());
    (grid, p, r)
}

const GRID_GAMMA: f64 = 0.9;

fn value_propagation() -> Result2<String> {
    const SWEEPS: [usize; 8] = [1, 2, 3, 4, 5, 7, 10, 1000];
    let (grid, p, r) = noisy_grid();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (1500, 720)).into_drawing_area();
        for (area, sweeps) in root.split_evenly((2, 4)).iter().zip(SWEEPS) {
            let mut v = vec![0.0; p.dim().0];
            bellman::value_iteration(&p, &r, GRID_GAMMA, sweeps, &mut v);
            let mut before = vec![0.0; v.len()];
            bellman::value_iteration(&p, &r, GRID_GAMMA, sweeps - 1, &mut before);
            let mut greedy = vec![0; v.len()];
            bellman::greedy_v(&p, &r, GRID_GAMMA, &before, &mut greedy);
            let title = if sweeps == 1000 { "the limit".to_owned() } else { format!("after {sweeps}") };
            board(area, &grid, &title, &v, &greedy)?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// One board: a cell is the darker the larger its value, and of another colour if the value is negative.
fn board(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    grid: &GridWorld,
    title: &str,
    v: &[f64],
    greedy: &[usize],
) -> Result2<()> {
    const CELL: i32 = 86;
    const LEFT: i32 = 14;
    const TOP: i32 = 56;
    let ink = Role::Ink.colour();
    let font =
        |size: u32| ("sans-serif", size).into_font().color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(title.to_owned(), (LEFT + 2 * CELL, TOP / 2), font(30)))?;
    for column in 1..=4usize {
        for row in 1..=3usize {
            let state = grid.state(column, row) as usize;
            let (x, y) = (LEFT + (column as i32 - 1) * CELL, TOP + (3 - row as i32) * CELL);
            let cell = [(x, y), (x + CELL, y + CELL)];
            let (centre, wall) = ((x + CELL / 2, y + CELL / 2), (column, row) == (2, 2));
            let exit = column == 4 && row > 1;
            let role = match (wall, v[state] < 0.0) {
                (true, _) => Role::Dashed,
                (_, true) => Role::Second,
                (_, false) => Role::First,
            };
            let shade = if wall { 0.6 } else { 0.65 * v[state].abs().min(1.0) };
            area.draw(&Rectangle::new(cell, role.colour().mix(shade).filled()))?;
            area.draw(&Rectangle::new(cell, Role::Grid.colour().stroke_width(2)))?;
            if wall {
                continue;
            }
            let number = format!("{:.2}", v[state] + 0.0).replace('-', "−");
            let low = (centre.0, if exit { centre.1 } else { centre.1 + 18 });
            area.draw(&Text::new(number, low, font(25)))?;
            if !exit && v[state] != 0.0 {
                let arrow = ["↑", "→", "↓", "←"][greedy[state]];
                area.draw(&Text::new(arrow, (centre.0, centre.1 - 18), font(28)))?;
            }
        }
    }
    Ok(())
}

/// True error of a sweep's values and what three rules say about it, over sweeps; all as logarithms.
fn stopping_curves(p: &Array3<f64>, r: &Array3<f64>, sweeps: usize) -> Vec<Curve> {
    const GAMMA: f64 = 0.99;
    let states = p.dim().0;
    let mut limit = vec![0.0; states];
    bellman::value_iteration(p, r, GAMMA, 4000, &mut limit);
    let mut v = vec![0.0; states];
    let mut points = [const { Vec::new() }; 4];
    for k in 1..=sweeps {
        let before = v.clone();
        bellman::value_iteration(p, r, GAMMA, 1, &mut v);
        let change: Vec<f64> = v.iter().zip(&before).map(|(new, old)| new - old).collect();
        let largest = change.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        let error = v.iter().zip(&limit).fold(0.0, |m: f64, (v, l)| m.max((v - l).abs()));
        let (low, high) = bellman::span_bounds(GAMMA, &change);
        let numbers = [error, largest, bellman::change_bound(GAMMA, largest), 0.5 * (high - low)];
        for (points, number) in points.iter_mut().zip(numbers) {
            // Below this, rounding is all there is.
            if number > 1e-12 {
                points.push((k as f64, number.log10()));
            }
        }
    }
    let [error, change, bound, span] = points;
    vec![
        Curve::new("change", Role::Second, change),
        Curve::new("bound by change", Role::First, bound),
        Curve::new("half the span bound", Role::Third, span),
        Curve::new("true error", Role::Dashed, error),
    ]
}

fn stopping() -> Vec<Panel> {
    const STATES: usize = 200;
    let mut rng = Stream::new(0, "stopping", 0);
    let (mut p, mut r) = (Array3::zeros((STATES, 4, STATES)), Array3::zeros((STATES, 4, STATES)));
    for i in 0..STATES {
        for a in 0..4 {
            let pay = rng.uniform(0.0, 1.0);
            for _ in 0..5 {
                let next = rng.below(STATES as u32) as usize;
                p[[i, a, next]] += 0.2;
                r[[i, a, next]] = pay;
            }
        }
    }
    let lake = rederive_env::finite_table("FrozenLake8x8-v1").expect("a registered environment");
    let (lake_p, lake_r) = dense(&lake);
    let panel = |title, x: f64, curves| Panel {
        title,
        x_label: "sweeps",
        x: 0.0..x,
        y: -9.5..2.5,
        log: (false, true),
        legend: SeriesLabelPosition::MiddleRight,
        curves,
    };
    vec![
        panel("random process", 150.0, stopping_curves(&p, &r, 150)),
        panel("FrozenLake 8×8", 1000.0, stopping_curves(&lake_p, &lake_r, 1000)),
    ]
}

fn soft_policies() -> Vec<Panel> {
    let roles = [Role::First, Role::Second, Role::Third, Role::Fourth];
    let temperatures = || grid(-2.0..2.0, 120);
    let panel = |title, curves| Panel {
        title,
        x_label: "temperature η",
        x: -2.0..2.0,
        y: 0.0..1.02,
        log: (true, false),
        legend: SeriesLabelPosition::UpperRight,
        curves,
    };
    let reward = [1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0];
    let mut one = vec![Vec::new(); 4];
    let mut start = vec![Vec::new(); 4];
    let (world, p, r) = noisy_grid();
    let cell = world.state(1, 1) as usize;
    let states = p.dim().0;
    for x in temperatures() {
        let eta = 10f64.powf(x);
        let mut pi = [0.0; 4];
        maxent::soft_policy(&reward, eta, &mut pi);
        let (mut v, mut new, mut q) = (vec![0.0; states], vec![0.0; states], Array2::zeros((states, 4)));
        for _ in 0..300 {
            maxent::soft_backup(&p, &r, GRID_GAMMA, eta, &v, &mut q, &mut new);
            // What has ended is worth nothing, however many ways there are of doing nothing.
            new[states - 1] = 0.0;
            v.copy_from_slice(&new);
        }
        let mut policy = q.clone();
        maxent::soft_greedy(&q, eta, &mut policy);
        for a in 0..4 {
            one[a].push((x, pi[a]));
            start[a].push((x, policy[[cell, a]]));
        }
    }
    let curves = |points: Vec<Vec<(f64, f64)>>, labels: [&str; 4]| {
        points.into_iter().zip(labels).zip(roles).map(|((p, l), role)| Curve::new(l, role, p)).collect()
    };
    vec![
        panel("one choice", curves(one, ["r = 1", "r = 2/3", "r = 1/3", "r = 0"])),
        panel("start of the grid", curves(start, ["up", "right", "down", "left"])),
    ]
}

const STEPS_LEFT: usize = 20;

fn gae_weights() -> Vec<Panel> {
    let lambdas = [(0.5, Role::First), (0.8, Role::Second), (0.95, Role::Third), (0.99, Role::Fourth)];
    let estimates = lambdas.iter().map(|&(lambda, colour)| {
        let mut weight = [0.0; STEPS_LEFT];
        gae::finite_weights(lambda, &mut weight);
        let points = (1..).map(f64::from).zip(weight).collect();
        Curve { dots: true, ..Curve::new(format!("λ = {lambda}"), colour, points) }
    });
    let errors = lambdas.iter().map(|&(lambda, colour)| {
        // Column l is paid 1 at step l and nothing else: its first advantage is the weight of that TD error.
        let reward = Array2::eye(STEPS_LEFT);
        let zero = Array2::zeros((STEPS_LEFT, STEPS_LEFT));
        let end = Array2::from_elem((STEPS_LEFT, STEPS_LEFT), End::No);
        let (mut advantage, mut return_) = (zero.clone(), zero.clone());
        gae::gae(&reward, &zero, &zero, &end, 0.99, lambda, &mut advantage, &mut return_);
        let points = (0..).map(f64::from).zip(advantage.row(0).iter().copied()).collect();
        Curve { dots: true, ..Curve::new("", colour, points) }
    });
    vec![
        Panel {
            title: "weight of the k-step advantage",
            x_label: "k",
            x: 0.0..21.0,
            y: 0.0..0.9,
            log: (false, false),
            legend: SeriesLabelPosition::UpperMiddle,
            curves: estimates.collect(),
        },
        Panel {
            title: "weight of the l-th TD error",
            x_label: "l",
            x: -1.0..20.0,
            y: 0.0..1.05,
            log: (false, false),
            legend: SeriesLabelPosition::MiddleRight,
            curves: errors.collect(),
        },
    ]
}

/// A ring of states with a drift; the reward of a state is a cosine plus noise.
mod ring {
    use super::{Array2, End, Stream};

    pub const STATES: usize = 12;
    pub const GAMMA: f64 = 0.95;
    const FORWARD: f64 = 0.7;
    const NOISE: f64 = 1.0;
    const STEPS: usize = 120;
    const SEGMENTS: usize = 20_000;

    fn angle(s: usize) -> f64 {
        s as f64 / STATES as f64 * std::f64::consts::TAU
    }

    /// The exact values, by repeated Bellman backups.
    pub fn values() -> Vec<f64> {
        let mut v = vec![0.0; STATES];
        for _ in 0..2_000 {
            let ahead =
                |s: usize| FORWARD * v[(s + 1) % STATES] + (1.0 - FORWARD) * v[(s + STATES - 1) % STATES];
            v = (0..STATES).map(|s| angle(s).cos() + GAMMA * ahead(s)).collect();
        }
        v
    }

    /// A value function that errs by a different amount in each state.
    pub fn wrong(values: &[f64]) -> Vec<f64> {
        values.iter().enumerate().map(|(s, v)| v + 2.0 * (angle(s) + 1.0).sin()).collect()
    }

    /// Rewards and states of many segments that start in state 0: `[T,N]` and `[T+1,N]`.
    pub fn simulate() -> (Array2<f64>, Array2<usize>) {
        let mut rng = Stream::new(0, "book", 0);
        let mut state = Array2::zeros((STEPS + 1, SEGMENTS));
        let mut reward = Array2::zeros((STEPS, SEGMENTS));
        for n in 0..SEGMENTS {
            for t in 0..STEPS {
                let s = state[[t, n]];
                reward[[t, n]] = angle(s).cos() + NOISE * rng.normal();
                let step = if rng.unit() < FORWARD { 1 } else { STATES - 1 };
                state[[t + 1, n]] = (s + step) % STATES;
            }
        }
        (reward, state)
    }

    /// A value function along the segments: `value`, `next_value`, `end`.
    pub fn along(state: &Array2<usize>, v: &[f64]) -> (Array2<f64>, Array2<f64>, Array2<End>) {
        let value = Array2::from_shape_fn((STEPS, SEGMENTS), |(t, n)| v[state[[t, n]]]);
        let next_value = Array2::from_shape_fn((STEPS, SEGMENTS), |(t, n)| v[state[[t + 1, n]]]);
        (value, next_value, Array2::from_elem((STEPS, SEGMENTS), End::No))
    }
}

fn gae_bias_variance() -> Vec<Panel> {
    let exact = ring::values();
    let critics = [
        ("exact critic", exact.clone(), Role::First),
        ("wrong critic", ring::wrong(&exact), Role::Second),
        ("no critic, V = 0", vec![0.0; ring::STATES], Role::Third),
    ];
    let (reward, state) = ring::simulate();
    let (mut bias, mut deviation) = (Vec::new(), Vec::new());
    for (label, v, colour) in critics {
        let (value, next_value, end) = ring::along(&state, &v);
        let mut advantage = Array2::zeros(reward.dim());
        let mut return_ = advantage.clone();
        let (mut biases, mut deviations) = (Vec::new(), Vec::new());
        for i in 0..=20 {
            let lambda = f64::from(i) / 20.0;
            gae::gae(&reward, &value, &next_value, &end, ring::GAMMA, lambda, &mut advantage, &mut return_);
            let target = return_.row(0);
            let mean = target.mean().unwrap_or(f64::NAN);
            biases.push((lambda, mean - exact[0]));
            deviations.push((lambda, target.std(0.0)));
        }
        bias.push(Curve::new(label, colour, biases));
        deviation.push(Curve::new(label, colour, deviations));
    }
    let panel = |title, y, legend, curves| Panel {
        title,
        x_label: "λ",
        x: 0.0..1.0,
        y,
        log: (false, false),
        legend,
        curves,
    };
    vec![
        panel("bias", span(&bias), SeriesLabelPosition::LowerRight, bias),
        panel("standard deviation", span(&deviation), SeriesLabelPosition::UpperLeft, deviation),
    ]
}

/// The range of the ordinates, with some air.
fn span(curves: &[Curve]) -> Range<f64> {
    let ys = || curves.iter().flat_map(|c| &c.points).map(|p| p.1);
    let (low, high) = (ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max));
    let air = 0.08 * (high - low);
    low - air..high + air
}

fn grid(x: Range<f64>, n: usize) -> impl Iterator<Item = f64> {
    (0..=n).map(move |i| x.start + (x.end - x.start) * i as f64 / n as f64)
}

fn ppo_clip() -> Vec<Panel> {
    const EPS: f64 = 0.2;
    let ratios = 0.0..2.0;
    let panel = |title, y, curves| Panel {
        title,
        x_label: "ratio ϱ",
        x: 0.0..2.0,
        y,
        log: (false, false),
        legend: SeriesLabelPosition::UpperLeft,
        curves,
    };
    let curve = |label: &str, colour, f: &dyn Fn(f64) -> f64| {
        Curve::new(label, colour, grid(ratios.clone(), 400).map(|x| (x, f(x))).collect())
    };
    let objective = |a: f64| {
        vec![curve("", Role::Dashed, &|x| x * a), curve("", Role::First, &|x| surrogate::clip(x, a, EPS))]
    };
    let slope = |a: f64| vec![curve("", Role::Second, &|x| surrogate::clip_grad(x, a, EPS))];
    vec![
        panel("objective, A = 1", 0.0..2.0, objective(1.0)),
        panel("objective, A = −1", -2.0..0.0, objective(-1.0)),
        panel("slope, A = 1", -0.2..1.2, slope(1.0)),
        panel("slope, A = −1", -1.2..0.2, slope(-1.0)),
    ]
}

fn ppo_no_constraint() -> Vec<Panel> {
    const EPS: f64 = 0.2;
    const STEP: f64 = 0.02;
    let inputs = [1.0, 0.1];
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let mut theta = 0.0;
    let mut ratios = [Vec::new(), Vec::new()];
    let mut divergence = Vec::new();
    for step in 1..=10_000u32 {
        let mut gradient = 0.0;
        let x = f64::from(step).log10();
        for (input, points) in inputs.iter().zip(&mut ratios) {
            let p = sigmoid(theta * input);
            let ratio = p / 0.5;
            points.push((x, ratio));
            let d_ratio = p * (1.0 - p) * input / 0.5;
            gradient += surrogate::clip_grad(ratio, 1.0, EPS) * d_ratio / inputs.len() as f64;
        }
        let p = sigmoid(theta * inputs[0]);
        divergence.push((x, -0.5 * (4.0 * p * (1.0 - p)).ln()));
        theta += STEP * gradient;
    }
    let [first, second] = ratios;
    let bound = vec![(0.0, 1.0 + EPS), (4.0, 1.0 + EPS)];
    let panel = |title, y, legend, curves| Panel {
        title,
        x_label: "gradient steps",
        x: 0.0..4.0,
        y,
        log: (true, false),
        legend,
        curves,
    };
    vec![
        panel(
            "ratio",
            0.9..2.1,
            SeriesLabelPosition::UpperLeft,
            vec![
                Curve::new("x = 1", Role::First, first),
                Curve::new("x = 0.1", Role::Second, second),
                Curve::new("1 + ε", Role::Dashed, bound),
            ],
        ),
        panel(
            "KL(old ‖ new) at x = 1",
            0.0..1.5,
            SeriesLabelPosition::UpperLeft,
            vec![Curve::new("", Role::Third, divergence)],
        ),
    ]
}

fn kl_estimators() -> Vec<Panel> {
    let all = [
        ("k1", Estimator::K1, Role::First),
        ("k2", Estimator::K2, Role::Second),
        ("k3", Estimator::K3, Role::Third),
    ];
    let pointwise = all.iter().map(|&(label, k, colour)| {
        Curve::new(label, colour, grid(-2.5..2.0, 300).map(|u| (u, k.value(u))).collect())
    });
    let deviation = all.iter().map(|&(label, k, colour)| {
        // pi = (p, 1 - p) moves away from uniform q on a logarithmic scale, up to p = 0.999.
        let points = grid(-2.2..0.84, 200).map(|z| {
            let odds = 10f64.powf(z).exp();
            let prob = [odds / (1.0 + odds), 1.0 / (1.0 + odds)];
            let (kl, _) = Estimator::K1.moments(&prob, &[0.5, 0.5]);
            let (_, variance) = k.moments(&prob, &[0.5, 0.5]);
            (kl.log10(), 0.5 * variance.log10())
        });
        Curve::new(label, colour, points.collect())
    });
    vec![
        Panel {
            title: "one sample",
            x_label: "log r",
            x: -2.5..2.0,
            y: -2.0..4.5,
            log: (false, false),
            legend: SeriesLabelPosition::UpperMiddle,
            curves: pointwise.collect(),
        },
        Panel {
            title: "standard deviation",
            x_label: "KL(π ‖ q)",
            x: -4.0..-0.1,
            y: -6.0..2.0,
            log: (true, true),
            legend: SeriesLabelPosition::UpperLeft,
            curves: deviation.collect(),
        },
    ]
}

// ------------------------------------------------------------------------------------------------------------- drawing

/// What a colour is for. Plotters draws each role in a colour of its own, and [`themed`] turns it into a class.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Ink = 0,
    Grid = 1,
    First = 2,
    Second = 3,
    Third = 4,
    Fourth = 5,
    Dashed = 6,
}

const ROLES: [Role; 7] =
    [Role::Ink, Role::Grid, Role::First, Role::Second, Role::Third, Role::Fourth, Role::Dashed];

impl Role {
    fn colour(self) -> RGBColor {
        RGBColor(1, 2, 200 + self as u8)
    }
}

fn themed(svg: &str) -> String {
    let mut svg = svg.lines().map(str::trim).collect::<Vec<_>>().join("");
    for role in ROLES {
        let RGBColor(r, g, b) = role.colour();
        let hex = format!("#{r:02X}{g:02X}{b:02X}");
        let n = role as u8;
        let dashed = if role == Role::Dashed { " dashed" } else { "" };
        svg = svg.replace(&format!(r#"stroke="{hex}""#), &format!(r#"class="s{n}{dashed}""#));
        svg = svg.replace(&format!(r#"fill="{hex}""#), &format!(r#"class="f{n}""#));
    }
    svg
}

type Result2<T> = Result<T, Box<dyn std::error::Error>>;

fn render(size: (u32, u32), columns: usize, panels: &[Panel]) -> Result2<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        for (area, panel) in root.split_evenly((panels.len().div_ceil(columns), columns)).iter().zip(panels) {
            plot(area, panel)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn plot(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Result2<()> {
    let ink = Role::Ink.colour();
    let font = |size: u32| ("sans-serif", size).into_font().color(&ink);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_right(30)
        .caption(panel.title, font(34))
        .x_label_area_size(76)
        .y_label_area_size(84)
        .build_cartesian_2d(panel.x.clone(), panel.y.clone())?;
    let label = |log: bool| {
        move |x: &f64| match (log, x.round()) {
            (true, n) if (x - n).abs() < 1e-9 => power_of_ten(n),
            (true, _) => String::new(),
            // Adding zero turns -0 into 0.
            (false, _) => format!("{}", (x * 1e6).round() / 1e6 + 0.0).replace('-', "−"),
        }
    };
    let (x_label, y_label) = (label(panel.log.0), label(panel.log.1));
    chart
        .configure_mesh()
        .x_desc(panel.x_label)
        .axis_style(ink)
        .bold_line_style(Role::Grid.colour())
        .light_line_style(TRANSPARENT)
        .label_style(font(28))
        .axis_desc_style(font(31))
        .x_labels(7)
        .y_labels(7)
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .draw()?;
    let mut labelled = false;
    for curve in &panel.curves {
        let style = curve.colour.colour().stroke_width(if curve.colour == Role::Dashed { 3 } else { 5 });
        // Plotters draws beyond the axes: keep what lies between them.
        let inside = |p: &&(f64, f64)| {
            let slack = 1e-9 * (panel.y.end - panel.y.start);
            panel.x.contains(&p.0) | (p.0 == panel.x.end)
                && (panel.y.start - slack..=panel.y.end + slack).contains(&p.1)
        };
        let points: Vec<(f64, f64)> = curve.points.iter().filter(inside).copied().collect();
        if curve.dots {
            let dot = |&p: &(f64, f64)| Circle::new(p, 7, curve.colour.colour().filled());
            chart.draw_series(points.iter().map(dot))?;
        }
        let series = chart.draw_series(LineSeries::new(points, style))?;
        if !curve.label.is_empty() {
            labelled = true;
            series.label(&curve.label).legend(move |(x, y)| PathElement::new([(x, y), (x + 44, y)], style));
        }
    }
    if labelled {
        chart
            .configure_series_labels()
            .position(panel.legend.clone())
            .margin(18)
            .legend_area_size(60)
            .label_font(font(30))
            .draw()?;
    }
    Ok(())
}

fn power_of_ten(n: f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits: String = format!("{}", n.abs())
        .chars()
        .filter_map(|c| c.to_digit(10).and_then(|d| DIGITS.get(d as usize)))
        .collect();
    format!("10{}{digits}", if n < 0.0 { "⁻" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn every_figure_is_drawn_in_the_colours_of_the_theme() {
        for name in NAMES {
            let svg = draw(name).unwrap();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains('\n'), "{name}");
            assert!(["s2", "s3", "f2"].iter().any(|c| svg.contains(&format!("class=\"{c}"))), "{name}");
            assert!(!svg.contains("#0102"), "{name}: a colour without a role");
        }
        assert!(standalone(NAMES[0]).unwrap().contains("<style>"));
        assert!(draw("nonsense").unwrap_err().contains("nonsense"));
    }

    #[test]
    fn the_numerical_example_of_the_chapter_is_what_the_function_computes() {
        let reward = array![[1.0f64], [0.0], [2.0], [1.0], [3.0]];
        let value = array![[2.0], [1.0], [2.0], [1.0], [2.0]];
        let next_value = array![[1.0], [2.0], [4.0], [2.0], [9.0]];
        let end = array![[End::No], [End::No], [End::Truncated], [End::No], [End::Terminated]];
        let (mut advantage, mut return_) = (Array2::zeros((5, 1)), Array2::zeros((5, 1)));
        gae::gae(&reward, &value, &next_value, &end, 0.9, 0.5, &mut advantage, &mut return_);
        let printed = [[0.989, 2.989], [2.42, 3.42], [3.6, 5.6], [2.25, 3.25], [1.0, 3.0]];
        for (t, [a, g]) in printed.into_iter().enumerate() {
            assert!((advantage[[t, 0]] - a).abs() < 1e-12 && (return_[[t, 0]] - g).abs() < 1e-12, "row {t}");
        }
    }
}
