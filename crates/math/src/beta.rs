//! The Beta distribution on intervals, over `D` independent dimensions: `u ~ Beta(a, b)` and
//! `x = low + (high - low) u`, with
//! `log pi(x) = sum_d (a - 1) log u + (b - 1) log(1 - u) - log B(a, b) - log(high - low)`.
//!
//! Row functions take the shapes `a` and `b`, the intervals and the action of one row, all `[D]`; [`evaluate`] and
//! [`backward`] are their batched forms for learning loops, with nothing allocated and, in `f32`, vectorised over the
//! batch. Shapes come from [`shape`]; where a formula needs no more they may be any positive numbers, and a shape that
//! is not positive gives NaN. In `f32` the error of a log-density grows with the shapes, to about 1e-7 `(a + b)`.
//!
//! Source: P.-W. Chou, D. Maturana, S. Scherer (2017), Improving Stochastic Policy Gradients in Continuous Control with
//! Deep Reinforcement Learning using the Beta Distribution.

use crate::special::{digamma, ln_beta, sigmoid, softplus, trigamma};
use crate::{Real, Stream, multiversion};
use rand_distr::{Beta, Distribution};

/// The interval of the actions of one dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval<F> {
    low: F,
    high: F,
}

impl<F: Real> Interval<F> {
    /// The interval from `low` to `high`.
    ///
    /// # Panics
    /// If `low` is not less than `high`, or one is not finite.
    pub fn new(low: F, high: F) -> Self {
        assert!(low < high && low.is_finite() && high.is_finite(), "no interval from {low} to {high}");
        Interval { low, high }
    }

    /// The lower end.
    pub fn low(self) -> F {
        self.low
    }

    /// The upper end.
    pub fn high(self) -> F {
        self.high
    }

    /// `high - low`.
    #[inline(always)]
    pub fn width(self) -> F {
        self.high - self.low
    }

    /// `u` and `1 - u` of an action, each with its own digits near its zero.
    #[inline(always)]
    pub fn unit(self, action: F) -> (F, F) {
        let scale = self.width().recip();
        ((action - self.low) * scale, (self.high - action) * scale)
    }

    /// The action of `u`.
    #[inline(always)]
    pub fn action(self, u: F) -> F {
        self.low + self.width() * u
    }

    /// The nearest action strictly inside: rounding must not put an action where the density is 0.
    #[inline]
    fn inside(self, action: F) -> F {
        let margin = F::epsilon() * self.width().max(self.low.abs()).max(self.high.abs());
        let (least, most) = (self.low + margin, self.high - margin);
        // NaN stays.
        if action < least {
            least
        } else if action > most {
            most
        } else {
            action
        }
    }
}

/// Asserts that the parts of a row have the same length.
#[track_caller]
fn check<A, B, C>(a: &[A], b: &[B], other: &[C], name: &str) {
    assert!(a.len() == b.len(), "a has {} entries but b has {}", a.len(), b.len());
    assert!(a.len() == other.len(), "a has {} entries but {name} has {}", a.len(), other.len());
}

/// `k log`, and 0 for `k = 0` whatever the logarithm: the density of shape 1 is finite at the end.
#[inline(always)]
fn times_log<F: Real>(k: F, log: F) -> F {
    if k == F::zero() { F::zero() } else { k * log }
}

// ANCHOR: policy.beta-density
/// The log-density of `u` under `Beta(a, b)`, from the logarithms of `u`, `1 - u` and `B(a, b)`.
#[inline(always)]
fn unit_log_density<F: Real>(a: F, b: F, log_u: F, log_v: F, log_beta: F) -> F {
    times_log(a - F::one(), log_u) + times_log(b - F::one(), log_v) - log_beta
}

/// The log-density of `action` on its interval, summed over dimensions; `-inf` outside, and at an end whose shape
/// exceeds 1.
///
/// ID `policy.beta-density`: `log pi(x) = (a - 1) log u + (b - 1) log(1 - u) - log B(a, b) - log(high - low)` with
/// `u = (x - low) / (high - low)`. Without the last term the density would integrate to the width; it is constant, so
/// scores, ratios and divergences do not see it.
///
/// Shapes: all `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: P.-W. Chou, D. Maturana, S. Scherer (2017), Improving Stochastic Policy Gradients in Continuous Control with
/// Deep Reinforcement Learning using the Beta Distribution.
#[inline]
pub fn log_prob<F: Real>(a: &[F], b: &[F], interval: &[Interval<F>], action: &[F]) -> F {
    check(a, b, interval, "interval");
    check(a, b, action, "action");
    let mut sum = F::zero();
    for d in 0..a.len() {
        let (u, v) = interval[d].unit(action[d]);
        sum += if u < F::zero() || v < F::zero() {
            F::neg_infinity()
        } else {
            unit_log_density(a[d], b[d], u.ln(), v.ln(), ln_beta(a[d], b[d])) - interval[d].width().ln()
        };
    }
    sum
}

/// `KL(1 || 2)` in nats, summed over dimensions. The intervals do not matter as long as both laws have the same.
///
/// ID `policy.beta-density`: `log(B(a2, b2) / B(a1, b1)) + (a1 - a2) psi(a1) + (b1 - b2) psi(b1) +
/// (a2 - a1 + b2 - b1) psi(a1 + b1)`.
///
/// Shapes: all `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: P.-W. Chou, D. Maturana, S. Scherer (2017), Improving Stochastic Policy Gradients in Continuous Control with
/// Deep Reinforcement Learning using the Beta Distribution.
pub fn kl<F: Real>(a_1: &[F], b_1: &[F], a_2: &[F], b_2: &[F]) -> F {
    check(a_1, b_1, a_2, "a_2");
    check(a_1, b_1, b_2, "b_2");
    (0..a_1.len())
        .map(|d| {
            let (a, b, sum) = (a_1[d] - a_2[d], b_1[d] - b_2[d], a_1[d] + b_1[d]);
            // Differences of digammas first: they stay small where the shapes are large.
            let (psi_a, psi_b) = (digamma(a_1[d]) - digamma(sum), digamma(b_1[d]) - digamma(sum));
            ln_beta(a_2[d], b_2[d]) - ln_beta(a_1[d], b_1[d]) + a * psi_a + b * psi_b
        })
        .sum()
}
// ANCHOR_END: policy.beta-density

/// Adds `scale * d KL(1 || 2) / d (a2, b2)` to `d_a` and `d_b` `[D]`.
///
/// # Panics
/// If the lengths differ.
pub fn add_d_kl_second<F: Real>(
    a_1: &[F],
    b_1: &[F],
    a_2: &[F],
    b_2: &[F],
    scale: F,
    d_a: &mut [F],
    d_b: &mut [F],
) {
    check(a_1, b_1, a_2, "a_2");
    check(a_1, b_1, b_2, "b_2");
    check(a_1, b_1, d_a, "d_a");
    check(a_1, b_1, d_b, "d_b");
    for d in 0..a_1.len() {
        let (psi_1, psi_2) = (digamma(a_1[d] + b_1[d]), digamma(a_2[d] + b_2[d]));
        d_a[d] += scale * ((digamma(a_2[d]) - psi_2) - (digamma(a_1[d]) - psi_1));
        d_b[d] += scale * ((digamma(b_2[d]) - psi_2) - (digamma(b_1[d]) - psi_1));
    }
}

/// Adds `scale * d KL(1 || 2) / d (a1, b1)` to `d_a` and `d_b` `[D]`.
///
/// # Panics
/// If the lengths differ.
pub fn add_d_kl_first<F: Real>(
    a_1: &[F],
    b_1: &[F],
    a_2: &[F],
    b_2: &[F],
    scale: F,
    d_a: &mut [F],
    d_b: &mut [F],
) {
    check(a_1, b_1, a_2, "a_2");
    check(a_1, b_1, b_2, "b_2");
    check(a_1, b_1, d_a, "d_a");
    check(a_1, b_1, d_b, "d_b");
    for d in 0..a_1.len() {
        let (a, b) = (a_1[d] - a_2[d], b_1[d] - b_2[d]);
        let shared = (a + b) * trigamma(a_1[d] + b_1[d]);
        d_a[d] += scale * (a * trigamma(a_1[d]) - shared);
        d_b[d] += scale * (b * trigamma(b_1[d]) - shared);
    }
}

// ANCHOR: policy.beta-moments
/// A shape from a network's output: `1 + softplus(z)`, at least 1, so that the density has one peak and vanishes at the
/// ends.
///
/// ID `policy.beta-moments`. Far below 0 it rounds to 1 itself.
///
/// Source: P.-W. Chou, D. Maturana, S. Scherer (2017), Improving Stochastic Policy Gradients in Continuous Control with
/// Deep Reinforcement Learning using the Beta Distribution.
#[inline(always)]
pub fn shape<F: Real>(z: F) -> F {
    F::one() + softplus(z)
}

/// The slope of [`shape`]: `sigma(z)`.
///
/// ID `policy.beta-moments`.
#[inline(always)]
pub fn d_shape<F: Real>(z: F) -> F {
    sigmoid(z)
}

/// The mean action of one dimension.
///
/// ID `policy.beta-moments`: `E x = low + (high - low) a / (a + b)`.
#[inline]
pub fn mean<F: Real>(a: F, b: F, interval: Interval<F>) -> F {
    interval.action(a / (a + b))
}

/// The variance of the action of one dimension.
///
/// ID `policy.beta-moments`: `Var x = (high - low)^2 a b / ((a + b)^2 (a + b + 1))`.
#[inline]
pub fn variance<F: Real>(a: F, b: F, interval: Interval<F>) -> F {
    let (sum, width) = (a + b, interval.width());
    width * width * (a / sum) * (b / sum) / (sum + F::one())
}

/// The action of largest density of one dimension.
///
/// ID `policy.beta-moments`: `low + (high - low) (a - 1) / (a + b - 2)` where both shapes are at least 1. For
/// `a = b = 1` the density is flat and the middle is taken. With a shape below 1 the density is unbounded at an end,
/// and the end of the smaller shape is taken (the middle for equal ones).
#[inline]
pub fn mode<F: Real>(a: F, b: F, interval: Interval<F>) -> F {
    let (one, half) = (F::one(), F::of(0.5));
    let u = if a == b {
        half
    } else if a < one || b < one {
        if a < b { F::zero() } else { one }
    } else {
        // Not both are 1, and NaN stays.
        (a - one) / ((a - one) + (b - one))
    };
    interval.action(u)
}
// ANCHOR_END: policy.beta-moments

// ANCHOR: policy.mean-action
/// The mean action, for acting without noise, written to `out`.
///
/// ID `policy.mean-action`: its reward `R(E x)` is not the mean reward `E R(x)` that training optimises: at least as
/// large for concave `R`, at most as large for convex `R`. It is neither the mode nor a maximiser of `R`. See
/// [`quadratic_gap`].
///
/// Shapes: all `[D]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: J. L. W. V. Jensen (1906), Sur les fonctions convexes et les inegalites entre les valeurs moyennes.
pub fn mean_action<F: Real>(a: &[F], b: &[F], interval: &[Interval<F>], out: &mut [F]) {
    check(a, b, interval, "interval");
    check(a, b, out, "out");
    for (d, out) in out.iter_mut().enumerate() {
        *out = mean(a[d], b[d], interval[d]);
    }
}

/// `E R(x) - R(E x)` for a quadratic reward of one dimension whose second derivative is `curvature`.
///
/// ID `policy.mean-action`: exactly `R'' Var(x) / 2`.
///
/// Source: J. L. W. V. Jensen (1906), Sur les fonctions convexes et les inegalites entre les valeurs moyennes.
pub fn quadratic_gap<F: Real>(curvature: F, a: F, b: F, interval: Interval<F>) -> F {
    F::of(0.5) * curvature * variance(a, b, interval)
}
// ANCHOR_END: policy.mean-action

// ANCHOR: policy.beta-score
/// Slopes in `a` and `b` of `-log B(a, b)`: `psi(a + b) - psi(a)` and `psi(a + b) - psi(b)`.
#[inline(always)]
fn psi_differences<F: Real>(a: F, b: F) -> (F, F) {
    let psi = digamma(a + b);
    (psi - digamma(a), psi - digamma(b))
}

/// Adds `scale` times the score to `d_a` and `d_b`. Outside of its interval an action has no score: NaN.
///
/// ID `policy.beta-score`: `psi(a + b) - psi(a) + log u` and `psi(a + b) - psi(b) + log(1 - u)`, with mean 0.
///
/// Shapes: all `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: P.-W. Chou, D. Maturana, S. Scherer (2017), Improving Stochastic Policy Gradients in Continuous Control with
/// Deep Reinforcement Learning using the Beta Distribution.
pub fn add_d_log_prob<F: Real>(
    a: &[F],
    b: &[F],
    interval: &[Interval<F>],
    action: &[F],
    scale: F,
    d_a: &mut [F],
    d_b: &mut [F],
) {
    check(a, b, interval, "interval");
    check(a, b, action, "action");
    check(a, b, d_a, "d_a");
    check(a, b, d_b, "d_b");
    for d in 0..a.len() {
        let (u, v) = interval[d].unit(action[d]);
        let (psi_a, psi_b) = psi_differences(a[d], b[d]);
        d_a[d] += scale * (psi_a + u.ln());
        d_b[d] += scale * (psi_b + v.ln());
    }
}

/// The Fisher information of one dimension in `(a, b)`.
///
/// ID `policy.beta-score`: `diag(psi'(a), psi'(b)) - psi'(a + b) 1 1^T`; the interval does not matter.
///
/// Source: R. J. Beckman, G. L. Tietjen (1978), Maximum Likelihood Estimation for the Beta Distribution.
pub fn fisher<F: Real>(a: F, b: F) -> [[F; 2]; 2] {
    let shared = trigamma(a + b);
    [[trigamma(a) - shared, -shared], [-shared, trigamma(b) - shared]]
}

/// Entropy of `u` in nats. The term `(a + b - 2) psi(a + b)` is split, since differences of digammas stay small where
/// the shapes are large.
#[inline(always)]
fn unit_entropy<F: Real>(a: F, b: F, log_beta: F, (psi_a, psi_b): (F, F)) -> F {
    log_beta + (a - F::one()) * psi_a + (b - F::one()) * psi_b
}

/// Entropy in nats, summed over dimensions.
///
/// ID `policy.beta-score`: `log B(a, b) - (a - 1) psi(a) - (b - 1) psi(b) + (a + b - 2) psi(a + b) + log(high - low)`.
///
/// Shapes: all `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: A. V. Lazo, P. Rathie (1978), On the Entropy of Continuous Probability Distributions.
pub fn entropy<F: Real>(a: &[F], b: &[F], interval: &[Interval<F>]) -> F {
    check(a, b, interval, "interval");
    let unit = |a, b| unit_entropy(a, b, ln_beta(a, b), psi_differences(a, b));
    (0..a.len()).map(|d| unit(a[d], b[d]) + interval[d].width().ln()).sum()
}

/// Slopes of the entropy in `a` and `b`: `-(a - 1) psi'(a) + (a + b - 2) psi'(a + b)`, and the same in `b`.
#[inline(always)]
fn entropy_slope<F: Real>(a: F, b: F) -> (F, F) {
    let (a_1, b_1) = (a - F::one(), b - F::one());
    let shared = (a_1 + b_1) * trigamma(a + b);
    (shared - a_1 * trigamma(a), shared - b_1 * trigamma(b))
}
// ANCHOR_END: policy.beta-score

/// Adds `scale * dH / d (a, b)` to `d_a` and `d_b` `[D]`.
///
/// # Panics
/// If the lengths differ.
pub fn add_d_entropy<F: Real>(a: &[F], b: &[F], scale: F, d_a: &mut [F], d_b: &mut [F]) {
    check(a, b, d_a, "d_a");
    check(a, b, d_b, "d_b");
    for d in 0..a.len() {
        let (in_a, in_b) = entropy_slope(a[d], b[d]);
        d_a[d] += scale * in_a;
        d_b[d] += scale * in_b;
    }
}

/// Draws an action, strictly inside of its intervals, and returns its log-density. A shape that is not positive gives
/// NaN.
///
/// Shapes: all `[D]`; `action` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. C. H. Cheng (1978), Generating Beta Variates with Nonintegral Shape Parameters.
pub fn sample<F: Real>(
    a: &[F],
    b: &[F],
    interval: &[Interval<F>],
    stream: &mut Stream,
    action: &mut [F],
) -> F {
    check(a, b, interval, "interval");
    check(a, b, action, "action");
    for (d, action) in action.iter_mut().enumerate() {
        let u = match Beta::new(Real::to_f64(a[d]), Real::to_f64(b[d])) {
            Ok(law) => law.sample(stream),
            Err(_) => f64::NAN,
        };
        *action = interval[d].inside(interval[d].action(F::of(u)));
    }
    log_prob(a, b, interval, action)
}

/// Samples one action per row of the shapes `[N, D]`, each from its own stream, with one set of intervals `[D]` for
/// all; writes the actions `[N, D]` and their log-densities `[N]`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn sample_rows<F: Real>(
    a: &[F],
    b: &[F],
    interval: &[Interval<F>],
    streams: &mut [Stream],
    action: &mut [F],
    log_prob: &mut [F],
) {
    check(a, b, action, "action");
    check(streams, log_prob, streams, "streams");
    let dims = interval.len();
    assert!(
        a.len() == streams.len() * dims,
        "a has {} entries but there are {} streams of {dims} dimensions",
        a.len(),
        streams.len()
    );
    for (n, stream) in streams.iter_mut().enumerate() {
        let row = n * dims..(n + 1) * dims;
        log_prob[n] = sample(&a[row.clone()], &b[row.clone()], interval, stream, &mut action[row]);
    }
}

/// What [`evaluate`] leaves for [`backward`], and its results.
#[derive(Clone, Debug, Default)]
pub struct Evaluation<F> {
    score_a: Vec<F>,
    score_b: Vec<F>,
    density: Vec<F>,
    part: Vec<F>,
    /// `log pi(action)` per row `[B]`.
    pub log_prob: Vec<F>,
    /// Entropy per row `[B]`, nats.
    pub entropy: Vec<F>,
}

impl<F: Real> Evaluation<F> {
    /// Room for up to `batch` rows of `dims` dimensions.
    pub fn new(batch: usize, dims: usize) -> Self {
        let mut room = Evaluation::default();
        room.resize(batch, dims);
        room
    }

    /// Makes room for exactly `batch` rows; allocates only if there never was as much.
    fn resize(&mut self, batch: usize, dims: usize) {
        for v in [&mut self.score_a, &mut self.score_b, &mut self.density, &mut self.part] {
            v.resize(batch * dims, F::zero());
        }
        for v in [&mut self.log_prob, &mut self.entropy] {
            v.resize(batch, F::zero());
        }
    }
}

multiversion! {
    /// Scores (in place of `u` and `1 - u`), log-densities and entropies of all dimensions of all rows.
    fn unit_values<F: Real>(
        a: &[F],
        b: &[F],
        u_score_a: &mut [F],
        v_score_b: &mut [F],
        density: &mut [F],
        entropy: &mut [F],
    ) {
        let n = a.len();
        let (b, u_score_a, v_score_b) = (&b[..n], &mut u_score_a[..n], &mut v_score_b[..n]);
        let (density, entropy) = (&mut density[..n], &mut entropy[..n]);
        // Several short loops: one long one would run out of registers.
        for i in 0..n {
            let (u, v) = (u_score_a[i], v_score_b[i]);
            let outside = u < F::zero() || v < F::zero();
            let (log_u, log_v) = (u.vln(), v.vln());
            let log_beta = ln_beta(a[i], b[i]);
            let inside = unit_log_density(a[i], b[i], log_u, log_v, log_beta);
            density[i] = if outside { F::neg_infinity() } else { inside };
            entropy[i] = log_beta;
            u_score_a[i] = log_u;
            v_score_b[i] = log_v;
        }
        for i in 0..n {
            let (psi_a, psi_b) = psi_differences(a[i], b[i]);
            entropy[i] = unit_entropy(a[i], b[i], entropy[i], (psi_a, psi_b));
            u_score_a[i] += psi_a;
            v_score_b[i] += psi_b;
        }
    }
}

multiversion! {
    fn entropy_slopes<F: Real>(a: &[F], b: &[F], d_a: &mut [F], d_b: &mut [F]) {
        let n = a.len();
        let (b, d_a, d_b) = (&b[..n], &mut d_a[..n], &mut d_b[..n]);
        for i in 0..n {
            (d_a[i], d_b[i]) = entropy_slope(a[i], b[i]);
        }
    }
}

multiversion! {
    /// [`shape`] of every entry of `z`, written to `out`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn shapes<F: Real>(z: &[F], out: &mut [F]) {
        assert!(z.len() == out.len(), "z has {} entries but out has {}", z.len(), out.len());
        for (out, &z) in out.iter_mut().zip(z) {
            *out = shape(z);
        }
    }
}

multiversion! {
    /// Turns gradients at shapes into gradients at `z`, in place: multiplies by [`d_shape`].
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward_shapes<F: Real>(z: &[F], grad: &mut [F]) {
        assert!(z.len() == grad.len(), "z has {} entries but grad has {}", z.len(), grad.len());
        for (grad, &z) in grad.iter_mut().zip(z) {
            *grad *= d_shape(z);
        }
    }
}

/// Log-density of the action taken and entropy for every row of the shapes `[B, D]`, in passes over the whole batch.
///
/// Shapes: `a`, `b` and `action` `[B, D]`, `interval` `[D]`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn evaluate<F: Real>(a: &[F], b: &[F], interval: &[Interval<F>], action: &[F], out: &mut Evaluation<F>) {
    check(a, b, action, "action");
    let dims = interval.len();
    assert!(dims > 0, "an action needs at least one dimension");
    assert!(a.len().is_multiple_of(dims), "a has {} entries, no multiple of {dims} dimensions", a.len());
    out.resize(a.len() / dims, dims);
    let row = action.chunks_exact(dims);
    for ((x, u), v) in row.zip(out.score_a.chunks_exact_mut(dims)).zip(out.score_b.chunks_exact_mut(dims)) {
        for d in 0..dims {
            (u[d], v[d]) = interval[d].unit(x[d]);
        }
    }
    unit_values(a, b, &mut out.score_a, &mut out.score_b, &mut out.density, &mut out.part);
    let log_width = interval.iter().map(|i| i.width().ln()).sum::<F>();
    for (total, x) in out.log_prob.iter_mut().zip(out.density.chunks_exact(dims)) {
        *total = x.iter().copied().sum::<F>() - log_width;
    }
    for (total, x) in out.entropy.iter_mut().zip(out.part.chunks_exact(dims)) {
        *total = x.iter().copied().sum::<F>() + log_width;
    }
}

/// The gradient at the shapes `[B, D]` of a loss whose gradients at `log_prob` and `entropy` are given per row `[B]`,
/// after [`evaluate`] on the same shapes and actions. Overwrites `d_a` and `d_b`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn backward<F: Real>(
    evaluation: &Evaluation<F>,
    a: &[F],
    b: &[F],
    d_log_prob: &[F],
    d_entropy: &[F],
    d_a: &mut [F],
    d_b: &mut [F],
) {
    check(a, b, &evaluation.score_a, "the evaluation");
    check(a, b, d_a, "d_a");
    check(a, b, d_b, "d_b");
    check(d_log_prob, d_entropy, &evaluation.log_prob, "the evaluation");
    if d_log_prob.is_empty() {
        return;
    }
    let dims = a.len() / d_log_prob.len();
    // NaN is not zero, and must arrive.
    let with_entropy = d_entropy.iter().any(|&d| d != F::zero());
    if with_entropy {
        entropy_slopes(a, b, d_a, d_b);
    }
    for (d, score) in [(d_a, &evaluation.score_a), (d_b, &evaluation.score_b)] {
        for (i, (d, score)) in d.chunks_exact_mut(dims).zip(score.chunks_exact(dims)).enumerate() {
            for (d, &score) in d.iter_mut().zip(score) {
                let slope = if with_entropy { d_entropy[i] * *d } else { F::zero() };
                *d = d_log_prob[i] * score + slope;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Interval<f64> = Interval { low: 0.0, high: 2.0 };

    #[test]
    fn a_density_of_degree_two() {
        // Beta(2, 2) on [0, 2]: 3/4 x (2 - x).
        let log_density = |x: f64| log_prob(&[2.0], &[2.0], &[TWO], &[x]);
        assert!((log_density(0.5) - (0.75f64 * 0.5 * 1.5).ln()).abs() < 1e-14);
        for refused in [0.0, 2.0, -0.1, 2.5] {
            assert_eq!(log_density(refused), f64::NEG_INFINITY);
        }
        assert!(log_density(f64::NAN).is_nan() && log_prob(&[-1.0], &[2.0], &[TWO], &[1.0]).is_nan());
        // The flat density is finite at the ends as well.
        assert!((log_prob(&[1.0], &[1.0], &[TWO], &[0.0]) + 2.0f64.ln()).abs() < 1e-14);
        assert!((entropy(&[1.0], &[1.0], &[TWO]) - 2.0f64.ln()).abs() < 1e-14);
        assert_eq!(kl(&[3.0, 2.0], &[1.5, 4.0], &[3.0, 2.0], &[1.5, 4.0]), 0.0);
    }

    #[test]
    fn moments_on_the_interval() {
        assert!((mean(50.0, 1.01, TWO) - 1.9604).abs() < 1e-4);
        assert_eq!((mean(3.0, 3.0, TWO), mode(3.0, 3.0, TWO)), (1.0, 1.0));
        assert!(
            (variance(2.0, 2.0, TWO) - 0.2).abs() < 1e-15
                && (quadratic_gap(2.0, 2.0, 2.0, TWO) - 0.2).abs() < 1e-15
        );
        assert!((mode(2.0, 4.0, TWO) - 0.5).abs() < 1e-15);
        assert_eq!((mode(shape(-50.0), shape(-50.0), TWO), shape(-50.0), shape(50.0)), (1.0, 1.0, 51.0));
        assert_eq!((mode(1.0, 3.0, TWO), mode(3.0, 1.0, TWO), mode(0.5, 3.0, TWO)), (0.0, 2.0, 0.0));
        assert!(mode(f64::NAN, 3.0, TWO).is_nan());
        let mut out = [f64::NAN; 2];
        mean_action(&[1.0, 3.0], &[1.0, 1.0], &[TWO, Interval::new(-1.0, 1.0)], &mut out);
        assert_eq!(out, [1.0, 0.5]);
    }

    #[test]
    fn gradients_are_slopes() {
        let (a, b, x) = ([1.7, 5.0], [3.2, 1.2], [0.4, -0.8]);
        let interval = [TWO, Interval::new(-1.0, 3.0)];
        let (a_2, b_2) = ([2.5, 1.5], [1.1, 9.0]);
        let h = 1e-6;
        // Each function of the shapes, with its gradient.
        type Row<'a> = &'a dyn Fn(&[f64], &[f64]) -> f64;
        type Grad<'a> = &'a dyn Fn(&mut [f64], &mut [f64]);
        let cases: [(Row<'_>, Grad<'_>); 4] = [
            (&|a, b| log_prob(a, b, &interval, &x), &|d_a, d_b| {
                add_d_log_prob(&a, &b, &interval, &x, 2.0, d_a, d_b)
            }),
            (&|a, b| entropy(a, b, &interval), &|d_a, d_b| add_d_entropy(&a, &b, 2.0, d_a, d_b)),
            (&|a, b| kl(a, b, &a_2, &b_2), &|d_a, d_b| add_d_kl_first(&a, &b, &a_2, &b_2, 2.0, d_a, d_b)),
            (&|a, b| kl(&a_2, &b_2, a, b), &|d_a, d_b| add_d_kl_second(&a_2, &b_2, &a, &b, 2.0, d_a, d_b)),
        ];
        for (number, (f, grad)) in cases.iter().enumerate() {
            let (mut d_a, mut d_b) = ([1.0; 2], [1.0; 2]);
            grad(&mut d_a, &mut d_b);
            for d in 0..2 {
                let slope = |at: &[f64; 2], f: &dyn Fn(&[f64]) -> f64| {
                    let (mut above, mut below) = (*at, *at);
                    above[d] += h;
                    below[d] -= h;
                    (f(&above) - f(&below)) / (2.0 * h)
                };
                assert!(
                    (d_a[d] - 1.0 - 2.0 * slope(&a, &|a| f(a, &b))).abs() < 1e-7,
                    "case {number}, a[{d}]"
                );
                assert!(
                    (d_b[d] - 1.0 - 2.0 * slope(&b, &|b| f(&a, b))).abs() < 1e-7,
                    "case {number}, b[{d}]"
                );
            }
        }
        let (information, h) = (fisher(1.7f64, 3.2), 1e-3);
        let mut around = 0.0;
        for (da, db) in [(h, -2.0 * h), (-h, 2.0 * h)] {
            around += kl(&[1.7], &[3.2], &[1.7 + da], &[3.2 + db]) / (h * h);
        }
        let want = information[0][0] - 4.0 * information[0][1] + 4.0 * information[1][1];
        assert!((around - want).abs() < 1e-4, "{around} {want}");
    }

    #[test]
    fn samples_lie_inside_and_have_the_moments() {
        let mut stream = Stream::new(3, "beta", 0);
        let narrow = [Interval::new(100.0f32, 101.0)];
        let mut x = [f32::NAN];
        for _ in 0..2000 {
            let log = sample(&[1.0], &[60.0], &narrow, &mut stream, &mut x);
            assert!(x[0] > 100.0 && x[0] < 101.0 && log.is_finite());
        }
        let (a, b, n) = (2.0, 5.0, 40_000);
        let (mut sum, mut square, mut x) = (0.0, 0.0, [f64::NAN]);
        for _ in 0..n {
            sample(&[a], &[b], &[TWO], &mut stream, &mut x);
            sum += x[0];
            square += (x[0] - mean(a, b, TWO)).powi(2);
        }
        let (n, spread) = (f64::from(n), variance(a, b, TWO));
        assert!((sum / n - mean(a, b, TWO)).abs() < 5.0 * (spread / n).sqrt());
        assert!((square / n / spread - 1.0).abs() < 0.05);
        assert!(sample(&[f64::NAN], &[b], &[TWO], &mut stream, &mut x).is_nan() && x[0].is_nan());
    }

    #[test]
    fn the_batched_forms_equal_the_row_functions() {
        let mut rng = Stream::new(5, "beta", 0);
        for dims in [1, 2, 3] {
            let batch = 37;
            let n = batch * dims;
            let interval: Vec<Interval<f32>> =
                (0..dims).map(|d| Interval::new(-1.0, d as f32 + 0.5)).collect();
            let wide: Vec<Interval<f64>> =
                interval.iter().map(|i| Interval::new(i.low().into(), i.high().into())).collect();
            let z: Vec<f32> = (0..2 * n).map(|_| 3.0 * rng.normal() as f32).collect();
            let mut shapes_of_z = vec![f32::NAN; 2 * n];
            shapes(&z, &mut shapes_of_z);
            let (a, b) = shapes_of_z.split_at(n);
            let mut streams: Vec<Stream> = (0..batch as u64).map(|n| Stream::new(1, "rows", n)).collect();
            let (mut action, mut log) = (vec![f32::NAN; n], vec![f32::NAN; batch]);
            sample_rows(a, b, &interval, &mut streams, &mut action, &mut log);
            let mut evaluation = Evaluation::new(batch, dims);
            evaluate(a, b, &interval, &action, &mut evaluation);
            let d_log_prob: Vec<f32> = (0..batch).map(|_| rng.normal() as f32).collect();
            for with_entropy in [0.0, 1.0] {
                let d_entropy: Vec<f32> = (0..batch).map(|_| with_entropy * rng.normal() as f32).collect();
                let (mut d_a, mut d_b) = (vec![f32::NAN; n], vec![f32::NAN; n]);
                backward(&evaluation, a, b, &d_log_prob, &d_entropy, &mut d_a, &mut d_b);
                for i in 0..batch {
                    let row = i * dims..(i + 1) * dims;
                    let [a, b, x] = [a, b, &action]
                        .map(|v| v[row.clone()].iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
                    let want = log_prob(&a, &b, &wide, &x);
                    let scale = want.abs().max(1.0);
                    assert!((f64::from(evaluation.log_prob[i]) - want).abs() < 5e-6 * scale);
                    assert!((f64::from(log[i]) - want).abs() < 5e-6 * scale);
                    let want = entropy(&a, &b, &wide);
                    assert!(
                        (f64::from(evaluation.entropy[i]) - want).abs() < 1e-5,
                        "{} {want}",
                        evaluation.entropy[i]
                    );
                    let (mut want_a, mut want_b) = (vec![0.0; dims], vec![0.0; dims]);
                    add_d_log_prob(&a, &b, &wide, &x, d_log_prob[i].into(), &mut want_a, &mut want_b);
                    add_d_entropy(&a, &b, d_entropy[i].into(), &mut want_a, &mut want_b);
                    for d in 0..dims {
                        assert!(
                            (f64::from(d_a[i * dims + d]) - want_a[d]).abs()
                                < 1e-5 * want_a[d].abs().max(1.0)
                        );
                        assert!(
                            (f64::from(d_b[i * dims + d]) - want_b[d]).abs()
                                < 1e-5 * want_b[d].abs().max(1.0)
                        );
                    }
                }
            }
            let mut grad = vec![1.0f32; 2 * n];
            backward_shapes(&z, &mut grad);
            assert!(grad.iter().zip(&z).all(|(g, &z)| (g - d_shape(z)).abs() < 1e-6));
        }
    }
}
