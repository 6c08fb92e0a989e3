//! The Beta policy: `policy.beta-*` and `policy.mean-action`.
//!
//! The other side has no gamma function: densities are normalised by quadrature, moments, entropies and divergences are
//! quadratures of their definitions, and gradients are central differences of those.

use crate::generators::{normal, normals};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_QUAD, TOL_STAT, Worst, require};
use crate::oracles::{derivative, gradient, unit_integral};
use crate::{Check, fixed, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::beta::{self, Interval};
use rederive_math::special::{digamma, ln_beta, ln_gamma, sigmoid, softplus, trigamma};
use rederive_math::{Real, Stream};
use std::f64::consts::{LN_2, PI};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("policy.beta-density", "definition", TOL_QUAD, row(), density_definition),
        random("policy.beta-density", "mass", TOL_QUAD, (law(), interval()), density_mass),
        random("policy.beta-density", "kl", TOL_QUAD, (row(), row()), density_kl),
        random(
            "policy.beta-density",
            "kl-gradient",
            TOL_FD,
            ((law(), law()), -2.0..=2.0f64),
            density_kl_gradient,
        )
        .at_most(96),
        fixed("policy.beta-density", "edges", EXACT, density_edges),
        random("policy.beta-density", "batch", TOL_QUAD, rows(), density_batch).at_most(128),
        random("policy.beta-density", "single-precision", 5e-5, rows(), density_single_precision),
        fixed("policy.beta-density", "sampler", TOL_STAT, density_sampler),
        random("policy.beta-moments", "definition", TOL_QUAD, (law(), interval()), moments_definition),
        random("policy.beta-moments", "mode", 1.0, (law(), interval()), moments_mode),
        random("policy.beta-moments", "shape", TOL_FD, -40.0..=40.0f64, moments_shape),
        fixed("policy.beta-moments", "edges", EXACT, moments_edges),
        fixed("policy.beta-moments", "closed", TOL_STAT, moments_closed),
        random("policy.beta-score", "gradient", TOL_FD, (row(), -2.0..=2.0f64), score_gradient).at_most(128),
        random("policy.beta-score", "integrals", TOL_QUAD, law(), score_integrals),
        random("policy.beta-score", "entropy-gradient", TOL_FD, (law(), -2.0..=2.0f64), entropy_gradient)
            .at_most(128),
        random(
            "policy.beta-score",
            "large-shapes",
            TOL_QUAD,
            (100.0..=1000.0f64, 100.0..=1000.0f64),
            score_large,
        ),
        random("policy.beta-score", "batch-gradient", TOL_FD, rows(), score_batch_gradient).at_most(64),
        random("policy.beta-score", "special-functions", TOL_ID, 0.01..=2000.0f64, special_functions),
        fixed("policy.beta-score", "special-values", TOL_ID, special_values),
        random(
            "policy.mean-action",
            "definition",
            TOL_QUAD,
            (law(), interval(), normals(3)),
            mean_action_definition,
        ),
        random(
            "policy.mean-action",
            "jensen",
            TOL_ID,
            (law(), interval(), 0.05..=3.0f64),
            mean_action_jensen,
        ),
        fixed("policy.mean-action", "closed", TOL_STAT, mean_action_closed),
    ]
}

// The other side

/// `ln B(a, b)` by quadrature, with the integrand's peak taken out first.
fn ln_b(a: f64, b: f64) -> f64 {
    let peak_at = if a + b > 2.0 { (a - 1.0) / (a + b - 2.0) } else { 0.5 };
    let power = |k: f64, log: f64| if k == 0.0 { 0.0 } else { k * log };
    let log = |u: f64, v: f64| power(a - 1.0, u.ln()) + power(b - 1.0, v.ln());
    let peak = log(peak_at, 1.0 - peak_at);
    peak + unit_integral(|u, v| (log(u, v) - peak).exp()).ln()
}

/// A Beta law with its normaliser by quadrature.
#[derive(Clone, Copy, Debug)]
struct Law {
    a: f64,
    b: f64,
    ln_b: f64,
}

impl Law {
    fn new(a: f64, b: f64) -> Self {
        Law { a, b, ln_b: ln_b(a, b) }
    }

    /// The log-density of `u`, given with `v = 1 - u`.
    fn log(&self, u: f64, v: f64) -> f64 {
        (self.a - 1.0) * u.ln() + (self.b - 1.0) * v.ln() - self.ln_b
    }

    /// `E f(u, 1 - u)`.
    fn mean(&self, f: impl Fn(f64, f64) -> f64) -> f64 {
        unit_integral(|u, v| {
            let density = self.log(u, v).exp();
            // 0 times an infinite logarithm at an end that rounding reaches.
            if density == 0.0 { 0.0 } else { density * f(u, v) }
        })
    }

    fn entropy(&self) -> f64 {
        -self.mean(|u, v| self.log(u, v))
    }

    fn kl(&self, other: &Law) -> f64 {
        self.mean(|u, v| self.log(u, v) - other.log(u, v))
    }
}

/// The two shapes of one dimension.
type Shapes = (f64, f64);

/// Two shapes between 1 and 20, often close to 1.
fn law() -> impl Strategy<Value = Shapes> + Clone + Send + Sync {
    let shape = || prop_oneof![3 => 1.001..=20.0f64, 1 => 1.001..=1.5f64];
    (shape(), shape())
}

fn interval() -> impl Strategy<Value = Interval<f64>> + Clone + Send + Sync {
    let any = (-3.0..=1.0f64, 0.1..=5.0f64).prop_map(|(low, width)| Interval::new(low, low + width));
    prop_oneof![1 => Just(Interval::new(0.0, 2.0)), 3 => any]
}

/// One dimension: shapes, interval, and where in it the action lies.
type Dimension = ((f64, f64), Interval<f64>, f64);

/// One row of up to three dimensions.
fn row() -> impl Strategy<Value = Vec<Dimension>> + Clone + Send + Sync {
    vec((law(), interval(), 0.01..=0.99f64), 1..=3)
}

fn shapes(row: &[Dimension]) -> (Vec<f64>, Vec<f64>) {
    row.iter().map(|d| d.0).unzip()
}

fn intervals(row: &[Dimension]) -> Vec<Interval<f64>> {
    row.iter().map(|d| d.1).collect()
}

fn actions(row: &[Dimension]) -> Vec<f64> {
    row.iter().map(|d| d.1.low() + (d.1.high() - d.1.low()) * d.2).collect()
}

/// A batch of rows `[B, D]` on one set of intervals, with gradients at log-density and entropy per row.
#[derive(Clone, Debug)]
struct Rows {
    interval: Vec<Interval<f64>>,
    a: Vec<f64>,
    b: Vec<f64>,
    action: Vec<f64>,
    d_log_prob: Vec<f64>,
    d_entropy: Vec<f64>,
}

fn rows() -> impl Strategy<Value = Rows> + Clone + Send + Sync {
    let entry = (law(), 0.01..=0.99f64);
    let row = (vec(entry, 3), normal(), prop_oneof![normal(), Just(0.0)]);
    (1..=3usize, vec(interval(), 3), vec(row, 1..=12), any::<bool>()).prop_map(
        |(dims, interval, rows, bonus)| {
            let entries = || rows.iter().flat_map(|row| row.0[..dims].iter().enumerate());
            let place = |(d, e): (usize, &((f64, f64), f64))| interval[d].low() + interval[d].width() * e.1;
            Rows {
                a: entries().map(|(_, e)| e.0.0).collect(),
                b: entries().map(|(_, e)| e.0.1).collect(),
                action: entries().map(place).collect(),
                d_log_prob: rows.iter().map(|row| row.1).collect(),
                d_entropy: rows.iter().map(|row| if bonus { row.2 } else { 0.0 }).collect(),
                interval: interval[..dims].to_vec(),
            }
        },
    )
}

impl Rows {
    /// Log-densities and entropies per row, and the gradients at the shapes, in the precision asked for.
    fn run<F: Real>(&self) -> [Vec<f64>; 4] {
        let cast = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
        let wide = |x: &[F]| x.iter().map(|&x| Real::to_f64(x)).collect::<Vec<f64>>();
        let interval: Vec<Interval<F>> =
            self.interval.iter().map(|i| Interval::new(F::of(i.low()), F::of(i.high()))).collect();
        let (a, b, action) = (cast(&self.a), cast(&self.b), cast(&self.action));
        let mut evaluation = beta::Evaluation::new(0, interval.len());
        beta::evaluate(&a, &b, &interval, &action, &mut evaluation);
        let (mut d_a, mut d_b) = (vec![F::nan(); a.len()], vec![F::nan(); a.len()]);
        let (d_log_prob, d_entropy) = (cast(&self.d_log_prob), cast(&self.d_entropy));
        beta::backward(&evaluation, &a, &b, &d_log_prob, &d_entropy, &mut d_a, &mut d_b);
        [wide(&evaluation.log_prob), wide(&evaluation.entropy), wide(&d_a), wide(&d_b)]
    }

    /// Log-density and entropy of row `i` for other shapes, by quadrature.
    fn plain(&self, i: usize, a: &[f64], b: &[f64]) -> (f64, f64) {
        let dims = self.interval.len();
        let (mut log_prob, mut entropy) = (0.0, 0.0);
        for d in 0..dims {
            let (law, interval, x) = (Law::new(a[d], b[d]), self.interval[d], self.action[i * dims + d]);
            let width = interval.high() - interval.low();
            log_prob += law.log((x - interval.low()) / width, (interval.high() - x) / width) - width.ln();
            entropy += law.entropy() + width.ln();
        }
        (log_prob, entropy)
    }
}

// policy.beta-density

fn density_definition(row: Vec<Dimension>) -> Result<f64, String> {
    let ((a, b), interval, action) = (shapes(&row), intervals(&row), actions(&row));
    let want: f64 = (0..row.len())
        .map(|d| {
            let width = interval[d].high() - interval[d].low();
            let (u, v) = ((action[d] - interval[d].low()) / width, (interval[d].high() - action[d]) / width);
            Law::new(a[d], b[d]).log(u, v) - width.ln()
        })
        .sum();
    let mut worst = Worst::new();
    worst.same(beta::log_prob(&a, &b, &interval, &action), want);
    worst.done()
}

/// The density integrates to 1 over the interval.
fn density_mass(((a, b), interval): ((f64, f64), Interval<f64>)) -> Result<f64, String> {
    let width = interval.high() - interval.low();
    let mass = unit_integral(|u, _| {
        let x = interval.low() + width * u;
        width * beta::log_prob(&[a], &[b], &[interval], &[x]).exp()
    });
    let mut worst = Worst::new();
    worst.same(mass, 1.0);
    worst.done()
}

fn density_kl((one, two): (Vec<Dimension>, Vec<Dimension>)) -> Result<f64, String> {
    let n = one.len().min(two.len());
    let ((a, b), (c, d)) = (shapes(&one[..n]), shapes(&two[..n]));
    let want: f64 = (0..n).map(|i| Law::new(a[i], b[i]).kl(&Law::new(c[i], d[i]))).sum();
    let mut worst = Worst::new();
    worst.same(beta::kl(&a, &b, &c, &d), want).same(beta::kl(&a, &b, &a, &b), 0.0);
    worst.at_most(0.0, beta::kl(&a, &b, &c, &d));
    worst.done()
}

fn density_kl_gradient(((first, second), scale): ((Shapes, Shapes), f64)) -> Result<f64, String> {
    let ((a, b), (c, d)) = (first, second);
    let (one, two) = (Law::new(a, b), Law::new(c, d));
    let mut worst = Worst::new();
    let (mut in_a, mut in_b) = ([1.0], [1.0]);
    beta::add_d_kl_first(&[a], &[b], &[c], &[d], scale, &mut in_a, &mut in_b);
    let truth = gradient(|p| scale * Law::new(p[0], p[1]).kl(&two), &[a, b]);
    worst.gradient(&[in_a[0] - 1.0, in_b[0] - 1.0], &truth);
    let (mut in_c, mut in_d) = ([1.0], [1.0]);
    beta::add_d_kl_second(&[a], &[b], &[c], &[d], scale, &mut in_c, &mut in_d);
    let truth = gradient(|p| scale * one.kl(&Law::new(p[0], p[1])), &[c, d]);
    worst.gradient(&[in_c[0] - 1.0, in_d[0] - 1.0], &truth);
    worst.done()
}

/// The ends, what lies beyond them, and the width's logarithm.
fn density_edges(_: u64) -> Result<f64, String> {
    let (unit, double) = (Interval::new(0.0, 1.0), Interval::new(0.0, 2.0));
    let log_prob = |a: f64, b: f64, interval, x: f64| beta::log_prob(&[a], &[b], &[interval], &[x]);
    for x in [0.0, 2.0] {
        let got = log_prob(1.5, 3.0, double, x);
        require(got == f64::NEG_INFINITY, || format!("{got} at the end {x}"))?;
        // A shape of 1 has a finite density there.
        let got = log_prob(1.0, 1.0, double, x);
        require((got + LN_2).abs() < 1e-12, || format!("{got} at the end {x} of the uniform law"))?;
    }
    // An action of the doubled interval is not one of the unit interval: refused, not evaluated at a wrong place.
    for x in [1.5, -0.1, 2.5] {
        let got = log_prob(2.0, 2.0, unit, x);
        require(got == f64::NEG_INFINITY || got.is_nan(), || format!("{got} outside, at {x}"))?;
        let mut evaluation = beta::Evaluation::new(1, 1);
        beta::evaluate(&[2.0], &[2.0], &[unit], &[x], &mut evaluation);
        let got = evaluation.log_prob[0];
        require(got == f64::NEG_INFINITY || got.is_nan(), || format!("{got} in a batch outside, at {x}"))?;
    }
    // The width is a constant of the log-density, so that scores, ratios and divergences do not see it; entropy does.
    let (wide, narrow) = (log_prob(3.0, 2.0, double, 0.8), log_prob(3.0, 2.0, unit, 0.4));
    require((narrow - wide - LN_2).abs() < 1e-12, || format!("{narrow} and {wide}"))?;
    let shift = beta::entropy(&[3.0], &[2.0], &[double]) - beta::entropy(&[3.0], &[2.0], &[unit]);
    require((shift - LN_2).abs() < 1e-12, || format!("the entropy shifts by {shift}"))?;
    // Without the width's logarithm the density would integrate to 2.
    let mass = unit_integral(|u, _| 2.0 * (log_prob(3.0, 2.0, double, 2.0 * u) + LN_2).exp());
    require((mass - 2.0).abs() < 1e-7, || format!("the unscaled mass is {mass}"))?;
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0)] {
        require(crate::check::panics(|| Interval::new(low, high)), || {
            format!("an interval {low} to {high}")
        })?;
    }
    let hidden =
        log_prob(f64::NAN, 2.0, unit, 0.5).is_finite() || log_prob(2.0, 2.0, unit, f64::NAN).is_finite();
    require(!hidden, || "NaN is hidden".to_owned())?;
    Ok(0.0)
}

fn density_batch(rows: Rows) -> Result<f64, String> {
    let [log_prob, entropy, ..] = rows.run::<f64>();
    let dims = rows.interval.len();
    let mut worst = Worst::new();
    for i in 0..log_prob.len() {
        let row = i * dims..(i + 1) * dims;
        let (want_log_prob, want_entropy) = rows.plain(i, &rows.a[row.clone()], &rows.b[row.clone()]);
        worst.same(log_prob[i], want_log_prob).same(entropy[i], want_entropy);
        let (a, b, x) = (&rows.a[row.clone()], &rows.b[row.clone()], &rows.action[row]);
        worst.same(beta::log_prob(a, b, &rows.interval, x), want_log_prob);
        worst.same(beta::entropy(a, b, &rows.interval), want_entropy);
    }
    worst.done()
}

fn density_single_precision(rows: Rows) -> Result<f64, String> {
    let round = |x: &mut f64| *x = f64::from(*x as f32);
    let mut rows = rows;
    rows.interval = rows
        .interval
        .iter()
        .map(|i| Interval::new(f64::from(i.low() as f32), f64::from(i.high() as f32)))
        .collect();
    for x in [&mut rows.a, &mut rows.b, &mut rows.action, &mut rows.d_log_prob, &mut rows.d_entropy] {
        x.iter_mut().for_each(round);
    }
    let mut worst = Worst::new();
    for (single, double) in rows.run::<f32>().iter().zip(&rows.run::<f64>()) {
        worst.all(single, double);
    }
    worst.done()
}

/// Draws stay inside, come with their log-densities, and have the law's first two moments.
fn density_sampler(seed: u64) -> Result<f64, String> {
    let (rows, a, b) = (8192, [2.5, 1.1], [4.0, 1.3]);
    let interval = [Interval::new(0.0f64, 2.0), Interval::new(-1.0, 0.5)];
    let repeat = |x: [f64; 2]| x.into_iter().cycle().take(2 * rows).collect::<Vec<f64>>();
    let mut streams: Vec<Stream> = (0..rows as u64).map(|n| Stream::new(seed, "beta-check", n)).collect();
    let (mut action, mut log_prob) = (vec![f64::NAN; 2 * rows], vec![f64::NAN; rows]);
    beta::sample_rows(&repeat(a), &repeat(b), &interval, &mut streams, &mut action, &mut log_prob);
    let mut worst = Worst::new();
    let count = rows as f64;
    for d in 0..2 {
        let law = Law::new(a[d], b[d]);
        let u: Vec<f64> = action
            .chunks_exact(2)
            .map(|x| (x[d] - interval[d].low()) / (interval[d].high() - interval[d].low()))
            .collect();
        worst.holds(u.iter().all(|&u| u > 0.0 && u < 1.0));
        let mean = law.mean(|u, _| u);
        let moment = |k: i32| law.mean(|u, _| (u - mean).powi(k));
        worst.within_five_se(u.iter().sum::<f64>() / count, mean, (moment(2) / count).sqrt());
        let square = u.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / count;
        worst.within_five_se(square, moment(2), ((moment(4) - moment(2).powi(2)) / count).sqrt());
    }
    for (x, l) in action.chunks_exact(2).zip(&log_prob) {
        worst.same(*l, beta::log_prob(&a, &b, &interval, x));
    }
    worst.done()
}

// policy.beta-moments

fn moments_definition(((a, b), interval): ((f64, f64), Interval<f64>)) -> Result<f64, String> {
    let law = Law::new(a, b);
    let width = interval.high() - interval.low();
    let mean = law.mean(|u, _| interval.low() + width * u);
    let variance = law.mean(|u, _| (interval.low() + width * u - mean).powi(2));
    let mut worst = Worst::new();
    worst.same(beta::mean(a, b, interval), mean).same(beta::variance(a, b, interval), variance);
    // Turned around, the law is that of the other end.
    let mirrored = Interval::new(-interval.high(), -interval.low());
    worst.same(beta::mean(b, a, mirrored), -mean).same(beta::variance(b, a, mirrored), variance);
    worst.done()
}

/// The highest point of a grid, to one grid step; the ends have none of the density.
fn moments_mode(((a, b), interval): ((f64, f64), Interval<f64>)) -> Result<f64, String> {
    let law = Law::new(a, b);
    let points = 4000;
    let step = 1.0 / f64::from(points);
    let log = |i: u32| law.log(f64::from(i) * step, f64::from(points - i) * step);
    let best = (0..=points).max_by(|&i, &j| log(i).total_cmp(&log(j))).unwrap_or(0);
    let got = beta::mode(a, b, interval);
    let width = interval.high() - interval.low();
    let error = (got - (interval.low() + width * f64::from(best) * step)).abs() / (width * step);
    require(log(0) == f64::NEG_INFINITY && log(points) == f64::NEG_INFINITY, || "mass at an end".to_owned())?;
    require(got > interval.low() && got < interval.high(), || format!("the mode {got} is an end"))?;
    Ok(error * (1.0 - 1e-9))
}

/// `1 + softplus(z)` is at least 1 and has the logistic function as its slope.
fn moments_shape(z: f64) -> Result<f64, String> {
    let plain = |z: f64| if z > 0.0 { z + (-z).exp().ln_1p() } else { z.exp().ln_1p() };
    let mut worst = Worst::new();
    worst.same(beta::shape(z), 1.0 + plain(z)).holds(beta::shape(z) >= 1.0);
    worst.gradient(&[beta::d_shape(z)], &[derivative(plain, z)]);
    // Small values keep their digits.
    worst.add((softplus(z) / plain(z) - 1.0).abs()).add((sigmoid(z) + sigmoid(-z) - 1.0).abs());
    let (mut out, mut grad) = ([f64::NAN; 2], [2.0, -1.0]);
    beta::shapes(&[z, -z], &mut out);
    beta::backward_shapes(&[z, -z], &mut grad);
    worst.same(out[0], 1.0 + plain(z)).same(out[1], 1.0 + plain(-z));
    worst.gradient(&grad, &[2.0 * derivative(plain, z), -derivative(plain, -z)]);
    let single = f64::from(softplus(z as f32));
    worst.add((single - plain(f64::from(z as f32))).abs() / (1.0 + single));
    worst.done()
}

fn moments_edges(_: u64) -> Result<f64, String> {
    let two = Interval::new(0.0, 2.0);
    // So far below 0 a shape rounds to 1 itself; the flat law has a guarded mode.
    let one = beta::shape(-50.0f64);
    require(one == 1.0 && beta::shape(50.0) == 51.0, || format!("shapes {one} and {}", beta::shape(50.0)))?;
    require(beta::mode(one, one, two) == 1.0, || format!("mode {}", beta::mode(one, one, two)))?;
    require(beta::mode(1.0, 3.0, two) == 0.0 && beta::mode(3.0, 1.0, two) == 2.0, || {
        "modes at an end".to_owned()
    })?;
    for z in [-1e4, -50.0, 0.0, 50.0, 1e4f64] {
        let (shape, slope) = (beta::shape(z), beta::d_shape(z));
        require(shape.is_finite() && shape >= 1.0 && (0.0..=1.0).contains(&slope), || {
            format!("at {z}: {shape}")
        })?;
        let (shape, slope) = (beta::shape(z as f32), beta::d_shape(z as f32));
        require(shape.is_finite() && shape >= 1.0 && (0.0..=1.0).contains(&slope), || {
            format!("f32 at {z}: {shape}")
        })?;
    }
    // Equal shapes are symmetric.
    for shape in [1.0, 1.7, 60.0] {
        let (mean, mode) = (beta::mean(shape, shape, two), beta::mode(shape, shape, two));
        require(mean == 1.0 && mode == 1.0, || format!("mean {mean}, mode {mode} for equal shapes {shape}"))?;
    }
    Ok(0.0)
}

/// Full position is never reached: shapes (50, 1.01) have mean 1.9604 where 2 is the supremum.
fn moments_closed(_: u64) -> Result<f64, String> {
    let two = Interval::new(0.0, 2.0);
    let mut worst = Worst::new();
    worst.printed(beta::mean(50.0, 1.01, two), 1.9604, 4).holds(beta::mean(1e6, 1.01, two) < 2.0);
    worst.printed(beta::variance(2.0, 2.0, two), 0.2, 12).printed(beta::mean(2.0, 6.0, two), 0.5, 12);
    worst.done()
}

// policy.beta-score

fn score_gradient((row, scale): (Vec<Dimension>, f64)) -> Result<f64, String> {
    let ((a, b), interval, action) = (shapes(&row), intervals(&row), actions(&row));
    let n = row.len();
    let log_density = |p: &[f64]| -> f64 {
        (0..n)
            .map(|d| {
                let (u, v) = (row[d].2, 1.0 - row[d].2);
                Law::new(p[d], p[n + d]).log(u, v)
            })
            .sum()
    };
    let (mut d_a, mut d_b) = (vec![1.0; n], vec![1.0; n]);
    beta::add_d_log_prob(&a, &b, &interval, &action, scale, &mut d_a, &mut d_b);
    let got: Vec<f64> = d_a.iter().chain(&d_b).map(|g| g - 1.0).collect();
    let mut worst = Worst::new();
    worst.gradient(&got, &gradient(|p| scale * log_density(p), &[a, b].concat()));
    worst.done()
}

/// The score of `u` by the function under test.
fn score(a: f64, b: f64, u: f64) -> [f64; 2] {
    let (mut d_a, mut d_b) = ([0.0], [0.0]);
    beta::add_d_log_prob(&[a], &[b], &[Interval::new(0.0, 1.0)], &[u], 1.0, &mut d_a, &mut d_b);
    [d_a[0], d_b[0]]
}

/// Mean 0, Fisher matrix and entropy, each by quadrature.
fn score_integrals((a, b): (f64, f64)) -> Result<f64, String> {
    let law = Law::new(a, b);
    // Near 1 the node `u` itself has lost the digits of `1 - u`; the score is taken from whichever end is nearer.
    let score = |u: f64, v: f64| {
        if u < 0.5 {
            score(a, b, u)
        } else {
            let [in_b, in_a] = score(b, a, v);
            [in_a, in_b]
        }
    };
    let mut worst = Worst::new();
    worst.same(law.mean(|u, v| score(u, v)[0]), 0.0).same(law.mean(|u, v| score(u, v)[1]), 0.0);
    let fisher = beta::fisher(a, b);
    for (i, row) in fisher.iter().enumerate() {
        for (j, entry) in row.iter().enumerate() {
            worst.same(*entry, law.mean(|u, v| score(u, v)[i] * score(u, v)[j]));
        }
    }
    let two = Interval::new(0.0, 2.0);
    worst.same(beta::entropy(&[a], &[b], &[two]), law.entropy() + LN_2);
    worst.same(
        beta::entropy(&[a, 3.0], &[b, 1.5], &[two, two]),
        law.entropy() + Law::new(3.0, 1.5).entropy() + 2.0 * LN_2,
    );
    worst.done()
}

fn entropy_gradient(((a, b), scale): ((f64, f64), f64)) -> Result<f64, String> {
    let (mut d_a, mut d_b) = ([1.0], [1.0]);
    beta::add_d_entropy(&[a], &[b], scale, &mut d_a, &mut d_b);
    let mut worst = Worst::new();
    let truth = gradient(|p| scale * Law::new(p[0], p[1]).entropy(), &[a, b]);
    worst.gradient(&[d_a[0] - 1.0, d_b[0] - 1.0], &truth);
    worst.done()
}

/// Where the digammas are large and nearly equal: normaliser, mean score and entropy.
fn score_large((a, b): (f64, f64)) -> Result<f64, String> {
    let law = Law::new(a, b);
    let mut worst = Worst::new();
    worst.same(ln_beta(a, b), law.ln_b);
    worst.same(law.mean(|u, _| score(a, b, u)[0]), 0.0).same(law.mean(|u, _| score(a, b, u)[1]), 0.0);
    worst.same(beta::entropy(&[a], &[b], &[Interval::new(0.0, 1.0)]), law.entropy());
    worst.same(beta::kl(&[a], &[b], &[b], &[a]), law.kl(&Law::new(b, a)));
    worst.done()
}

fn score_batch_gradient(rows: Rows) -> Result<f64, String> {
    let [_, _, d_a, d_b] = rows.run::<f64>();
    let dims = rows.interval.len();
    let mut worst = Worst::new();
    for i in 0..rows.d_log_prob.len().min(4) {
        let row = i * dims..(i + 1) * dims;
        let loss = |p: &[f64]| {
            let (log_prob, entropy) = rows.plain(i, &p[..dims], &p[dims..]);
            rows.d_log_prob[i] * log_prob + rows.d_entropy[i] * entropy
        };
        let at = [&rows.a[row.clone()], &rows.b[row.clone()]].concat();
        worst.gradient(&[&d_a[row.clone()], &d_b[row]].concat(), &gradient(loss, &at));
    }
    worst.done()
}

/// The functions behind the formulas, by their recurrences and by each other's differences.
fn special_functions(x: f64) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.same(ln_gamma(x + 1.0), ln_gamma(x) + x.ln());
    worst.same(digamma(x + 1.0), digamma(x) + 1.0 / x);
    worst.same(trigamma(x + 1.0), trigamma(x) - 1.0 / (x * x));
    worst.same(ln_beta(x, 2.5), ln_gamma(x) + ln_gamma(2.5) - ln_gamma(x + 2.5));
    worst.same(ln_beta(2.5, x), ln_beta(x, 2.5));
    // Legendre's duplication.
    let half = 0.5 * (x - 1.0);
    if half > 0.0 {
        let log = ln_gamma(half) + ln_gamma(half + 0.5);
        worst.same(log, (1.0 - 2.0 * half) * LN_2 + 0.5 * PI.ln() + ln_gamma(2.0 * half));
        worst.same(digamma(2.0 * half), 0.5 * (digamma(half) + digamma(half + 0.5)) + LN_2);
        worst.same(4.0 * trigamma(2.0 * half), trigamma(half) + trigamma(half + 0.5));
    }
    // Differences, to their own precision.
    let loose = TOL_ID / TOL_FD;
    if x > 0.1 {
        worst.add(loose * (derivative(ln_gamma::<f64>, x) - digamma(x)).abs() / (1.0 + digamma(x).abs()));
        worst.add(loose * (derivative(digamma::<f64>, x) - trigamma(x)).abs() / (1.0 + trigamma(x)));
    }
    // Single precision, to 1e-5.
    let single = x as f32;
    let wide = f64::from(single);
    for (narrow, exact) in [
        (ln_gamma(single), ln_gamma(wide)),
        (digamma(single), digamma(wide)),
        (trigamma(single), trigamma(wide)),
    ] {
        worst.add(1e-5 * (f64::from(narrow) - exact).abs() / exact.abs().max(1.0));
    }
    worst.done()
}

/// Values with names.
fn special_values(_: u64) -> Result<f64, String> {
    // Euler and Mascheroni's constant from the harmonic series, with its first corrections.
    let n = 1e4f64;
    let harmonic: f64 = (1..=10_000).rev().map(|k| 1.0 / f64::from(k)).sum();
    let euler = harmonic - n.ln() - 0.5 / n + 1.0 / (12.0 * n * n);
    let mut worst = Worst::new();
    worst.same(digamma(1.0), -euler).same(digamma(0.5), -euler - 2.0 * LN_2);
    worst.same(trigamma(1.0), PI * PI / 6.0).same(trigamma(0.5), PI * PI / 2.0);
    worst.same(ln_gamma(0.5), 0.5 * PI.ln()).same(ln_beta(0.5, 0.5), PI.ln());
    let mut factorial: f64 = 0.0;
    for n in 1..=20 {
        worst.same(ln_gamma(f64::from(n)), factorial);
        factorial += f64::from(n).ln();
    }
    worst.holds(ln_gamma(0.0) == f64::INFINITY && ln_gamma(-1.5f64).is_nan() && digamma(f64::NAN).is_nan());
    worst.done()
}

// policy.mean-action

/// For a quadratic reward the mean reward exceeds the mean action's by half the curvature times the variance.
fn mean_action_definition(
    ((a, b), interval, c): ((f64, f64), Interval<f64>, Vec<f64>),
) -> Result<f64, String> {
    let reward = |x: f64| c[0] + c[1] * x + 0.5 * c[2] * x * x;
    let width = interval.high() - interval.low();
    let trained = Law::new(a, b).mean(|u, _| reward(interval.low() + width * u));
    let mut action = [f64::NAN];
    beta::mean_action(&[a], &[b], &[interval], &mut action);
    let gap = beta::quadratic_gap(c[2], a, b, interval);
    let mut worst = Worst::new();
    worst.same(trained - reward(action[0]), gap);
    worst
        .same(beta::quadratic_gap(0.0, a, b, interval), 0.0)
        .holds(c[2] == 0.0 || (gap > 0.0) == (c[2] > 0.0));
    worst.done()
}

/// At least as good for a concave reward, at most as good for a convex one.
fn mean_action_jensen(((a, b), interval, rate): ((f64, f64), Interval<f64>, f64)) -> Result<f64, String> {
    let law = Law::new(a, b);
    let width = interval.high() - interval.low();
    let mut action = [f64::NAN];
    beta::mean_action(&[a], &[b], &[interval], &mut action);
    let mean = |f: &dyn Fn(f64) -> f64| law.mean(|u, _| f(interval.low() + width * u));
    let convex = |x: f64| (rate * x).exp();
    let concave = |x: f64| -(x - 0.3).abs();
    let mut worst = Worst::new();
    worst.at_most(convex(action[0]), mean(&convex) + 1e-9 * convex(interval.high()));
    // The quadrature crosses a kink, which costs it digits.
    worst.at_most(mean(&concave), concave(action[0]) + 1e-4 * width);
    worst.done()
}

/// `R = (x - 1)^2` under Beta(2, 2) on [0, 2]: training sees 0.2, the mean action earns nothing. Nor is the mean the mode.
fn mean_action_closed(_: u64) -> Result<f64, String> {
    let two = Interval::new(0.0, 2.0);
    let mut action = [f64::NAN];
    beta::mean_action(&[2.0], &[2.0], &[two], &mut action);
    let mut worst = Worst::new();
    let trained = Law::new(2.0, 2.0).mean(|u, _| (2.0 * u - 1.0).powi(2));
    worst.printed((action[0] - 1.0).powi(2), 0.0, 12).printed(trained, 0.2, 7);
    worst.printed(beta::quadratic_gap(2.0, 2.0, 2.0, two), 0.2, 12);
    worst.holds((beta::mean(2.0, 5.0, two) - beta::mode(2.0, 5.0, two)).abs() > 0.1);
    worst.done()
}
