//! Action values that are linear in features: their updates, their gradients, and where TD(0) takes them.

use crate::Real;
use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2};
use std::error::Error;
use std::fmt;

#[track_caller]
fn check_len<A, B>(reference: &str, a: &[A], other: &str, b: &[B]) {
    assert!(a.len() == b.len(), "{reference} has {} entries but {other} has {}", a.len(), b.len());
}

/// Partial sums of [`value`], so that it vectorises.
const LANES: usize = 8;

/// A linear action value.
///
/// ID `fa.linear-q`: `Q_w(s, a) = phi(s, a) . w`. With a one-hot `phi` it is an entry of a table.
///
/// Shapes: `features` and `weights` `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 9.4.
// ANCHOR: fa.linear-q
#[inline]
pub fn value<F: Real>(features: &[F], weights: &[F]) -> F {
    check_len("features", features, "weights", weights);
    let mut partial = [F::zero(); LANES];
    let (blocks, rest) = features.as_chunks::<LANES>();
    let (weight_blocks, weight_rest) = weights.as_chunks::<LANES>();
    for (x, w) in blocks.iter().zip(weight_blocks) {
        for i in 0..LANES {
            partial[i] += x[i] * w[i];
        }
    }
    for (i, (&x, &w)) in rest.iter().zip(weight_rest).enumerate() {
        partial[i] += x * w;
    }
    partial.into_iter().sum()
}

/// One step of a linear learner: `w += alpha delta phi(s, a)`, where `delta` is the target less `Q_w(s, a)`.
///
/// ID `fa.linear-q`: the gradient of `Q_w(s, a)` in `w` is `phi(s, a)`. With a one-hot `phi` the step is bit for bit that of a table.
///
/// Shapes: `weights` and `features` `[D]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 9.4.
#[inline]
pub fn step<F: Real>(weights: &mut [F], features: &[F], delta: F, alpha: F) {
    check_len("features", features, "weights", weights);
    let size = alpha * delta;
    for (w, &x) in weights.iter_mut().zip(features) {
        *w += size * x;
    }
}
// ANCHOR_END: fa.linear-q

/// The values of all actions in features that are 0 or 1: `Q_w(s, a) = sum of w_ia over the active i`.
///
/// ID `fa.linear-q` for binary features, of which only the active ones are looked at.
///
/// Shapes: `active` the numbers of the features that are 1; `weights` `[D, A]` row by row; `out` `[A]`.
///
/// # Panics
/// If a feature has no weights.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 9.5.
#[inline]
pub fn binary_values<F: Real>(active: &[u32], weights: &[F], out: &mut [F]) {
    let actions = out.len();
    out.fill(F::zero());
    for &feature in active {
        for (out, &w) in out.iter_mut().zip(&weights[feature as usize * actions..][..actions]) {
            *out += w;
        }
    }
}

/// One step of such a learner: `w_ia += alpha delta` for the active `i` and the action `a` that was taken.
///
/// ID `fa.linear-q` for binary features. The value of the action moves by `alpha delta` times the number of active features.
///
/// Shapes: as in [`binary_values`].
///
/// # Panics
/// If a feature or the action has no weight.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 9.5.
#[inline]
pub fn binary_step<F: Real>(
    weights: &mut [F],
    active: &[u32],
    action: usize,
    actions: usize,
    delta: F,
    alpha: F,
) {
    assert!(action < actions, "action {action} of {actions}");
    let size = alpha * delta;
    for &feature in active {
        weights[feature as usize * actions + action] += size;
    }
}

/// An action value that is linear in the products of two sets of features: of a user and of a film, say.
///
/// ID `fa.feature-product`: `Q_W(u, m) = u . W m`.
///
/// Shapes: `user` `[U]`, `weights` `[U, M]`, `film` `[M]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Rendle (2010), Factorization Machines (pairwise interactions of features).
// ANCHOR: fa.feature-product
#[inline]
pub fn product_value<F: Real>(user: &[F], weights: &ArrayRef2<F>, film: &[F]) -> F {
    check_product(user, weights.dim(), film);
    let mut sum = F::zero();
    for (row, &u) in weights.rows().into_iter().zip(user) {
        if u != F::zero() {
            sum += u * row.iter().zip(film).map(|(&w, &m)| w * m).sum::<F>();
        }
    }
    sum
}

/// One step of such a learner: `W_ij += alpha delta u_i m_j` with `delta` the rating less `Q_W(u, m)`.
///
/// ID `fa.feature-product`: the gradient of `Q_W` in `W` is the outer product of the features, so one rating moves every pair of
/// features that are both present. With one-hot features and `alpha = 1 / n` counted per pair, each entry is the mean rating of its group.
///
/// Shapes: `weights` `[U, M]`, `user` `[U]`, `film` `[M]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Rendle (2010), Factorization Machines (pairwise interactions of features).
#[inline]
pub fn product_step<F: Real>(weights: &mut ArrayRef2<F>, user: &[F], film: &[F], delta: F, alpha: F) {
    check_product(user, weights.dim(), film);
    for (mut row, &u) in weights.rows_mut().into_iter().zip(user) {
        if u != F::zero() {
            let size = alpha * delta * u;
            for (w, &m) in row.iter_mut().zip(film) {
                *w += size * m;
            }
        }
    }
}
// ANCHOR_END: fa.feature-product

#[track_caller]
fn check_product<F>(user: &[F], weights: (usize, usize), film: &[F]) {
    assert!(
        weights == (user.len(), film.len()),
        "weights has shape {weights:?} but user has {} entries and film {}",
        user.len(),
        film.len()
    );
}

/// The error of Q-learning with linear values, and the action that its target chose (none after termination).
///
/// ID `fa.semi-gradient`: `delta = r + gamma max_a' Q_w(s', a') - Q_w(s, a)`.
///
/// Shapes: `weights` and `features` `[D]`; `next_features` `[A, D]`, or none where the transition terminated.
///
/// # Panics
/// If the shapes do not belong together or there is no next action.
///
/// Source: L. Baird (1995), Residual Algorithms: Reinforcement Learning with Function Approximation.
// ANCHOR: fa.semi-gradient
pub fn q_error<F: Real>(
    weights: &[F],
    features: &[F],
    reward: F,
    next_features: Option<&ArrayRef2<F>>,
    gamma: F,
) -> (F, Option<usize>) {
    let current = value(features, weights);
    let Some(next) = next_features else {
        return (reward - current, None);
    };
    assert!(
        next.ncols() == weights.len(),
        "next_features has shape {:?} but weights has {} entries",
        next.dim(),
        weights.len()
    );
    let q = |a: usize| next.row(a).iter().zip(weights).map(|(&x, &w)| x * w).sum::<F>();
    assert!(next.nrows() > 0, "there is no action to choose");
    let (mut best, mut largest) = (0, q(0));
    for a in 1..next.nrows() {
        let other = q(a);
        if other > largest {
            (best, largest) = (a, other);
        }
    }
    (reward + gamma * largest - current, Some(best))
}

/// The gradient of `delta^2 / 2` in `w` with the target held fixed.
///
/// ID `fa.semi-gradient`: `-delta phi(s, a)`. The loss `delta^2` without the half doubles it.
///
/// Shapes: `features` and `out` `[D]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: L. Baird (1995), Residual Algorithms: Reinforcement Learning with Function Approximation.
pub fn semi_gradient<F: Real>(delta: F, features: &[F], out: &mut [F]) {
    check_len("features", features, "out", out);
    for (out, &x) in out.iter_mut().zip(features) {
        *out = -delta * x;
    }
}

/// The gradient of `delta^2 / 2` in `w` through the target as well.
///
/// ID `fa.semi-gradient`: `delta (gamma phi(s', a*) - phi(s, a))`, where the maximum has one place. It may point the other way.
///
/// Shapes: `features`, `out` and, unless the transition terminated, `next_features` (of the action that the target chose) `[D]`;
/// `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: L. Baird (1995), Residual Algorithms: Reinforcement Learning with Function Approximation.
pub fn full_gradient<F: Real>(
    delta: F,
    features: &[F],
    next_features: Option<&[F]>,
    gamma: F,
    out: &mut [F],
) {
    semi_gradient(delta, features, out);
    if let Some(next) = next_features {
        check_len("next_features", next, "out", out);
        for (out, &x) in out.iter_mut().zip(next) {
            *out += delta * gamma * x;
        }
    }
}
// ANCHOR_END: fa.semi-gradient

/// Why linear TD(0) has no unique fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFixedPoint {
    /// A feature is a combination of others.
    Dependent,
    /// The chain has no unique stationary law, or one that leaves a state out.
    NotErgodic,
    /// The discount is outside of `[0, 1)`.
    Discount,
}

impl fmt::Display for NoFixedPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoFixedPoint::Dependent => "a feature is a linear combination of others",
            NoFixedPoint::NotErgodic => "the chain does not come back to every state from every other",
            NoFixedPoint::Discount => "the discount must be at least 0 and below 1",
        })
    }
}

impl Error for NoFixedPoint {}

/// Where linear TD(0) settles.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedPoint<F> {
    /// The weights `[D]`.
    pub weights: Array1<F>,
    /// The stationary law of the chain `[S]`.
    pub law: Array1<F>,
    /// `M = Phi^T D (I - gamma P) Phi` `[D, D]`, positive definite.
    pub matrix: Array2<F>,
}

/// The stationary law `d = d P` of a chain.
///
/// ID `fa.td-fixed-point`.
///
/// Shape: `kernel` `[S, S]`.
///
/// # Errors
/// [`NoFixedPoint::NotErgodic`] if there are several, or one that leaves a state out.
///
/// # Panics
/// If `kernel` is not square.
///
/// Source: J. N. Tsitsiklis, B. Van Roy (1997), An Analysis of Temporal-Difference Learning with Function Approximation.
// ANCHOR: fa.td-fixed-point
pub fn stationary<F: Real>(kernel: &ArrayRef2<F>) -> Result<Array1<F>, NoFixedPoint> {
    let states = square("kernel", kernel);
    // d (I - P) = 0 has one equation too many; sum d = 1 takes the place of the last.
    let system = Array2::from_shape_fn((states, states), |(row, s)| {
        let identity = if row == s { F::one() } else { F::zero() };
        if row + 1 == states { F::one() } else { identity - kernel[[s, row]] }
    });
    let mut law = Array1::zeros(states);
    law[states - 1] = F::one();
    let law = solve(system, law).ok_or(NoFixedPoint::NotErgodic)?;
    let positive = law.iter().all(|&d| d > F::epsilon());
    if positive { Ok(law) } else { Err(NoFixedPoint::NotErgodic) }
}

/// The mean step of linear TD(0) when states come by the law `d`.
///
/// ID `fa.td-fixed-point`: `Phi^T D (r + gamma P Phi w - Phi w)`.
///
/// Shapes: `kernel` `[S, S]`, `reward` (mean, per state) and `law` `[S]`, `features` `[S, D]`, `weights` `[D]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. N. Tsitsiklis, B. Van Roy (1997), An Analysis of Temporal-Difference Learning with Function Approximation.
pub fn expected_step<F: Real>(
    kernel: &ArrayRef2<F>,
    reward: &ArrayRef1<F>,
    law: &ArrayRef1<F>,
    features: &ArrayRef2<F>,
    weights: &ArrayRef1<F>,
    gamma: F,
) -> Array1<F> {
    check_chain(kernel, reward, features);
    assert!(law.len() == reward.len(), "law has {} entries but reward has {}", law.len(), reward.len());
    assert!(
        weights.len() == features.ncols(),
        "weights has {} entries but features has shape {:?}",
        weights.len(),
        features.dim()
    );
    let value = features.dot(weights);
    let delta = kernel.dot(&value) * gamma + reward - &value;
    features.t().dot(&(delta * law))
}

/// The fixed point of linear TD(0) on its own chain.
///
/// ID `fa.td-fixed-point`: `M w = Phi^T D r` with `M = Phi^T D (I - gamma P) Phi`. Then `Phi w` is the projection of its own
/// backup, and its distance from the value of the chain is at most [`distance_factor`] times that of the best values that the
/// features allow, both weighted by `d`.
///
/// Shapes: `kernel` `[S, S]`, `reward` (mean, per state) `[S]`, `features` `[S, D]`.
///
/// # Errors
/// [`NoFixedPoint`] for dependent features, a chain without a positive stationary law, and a discount outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. N. Tsitsiklis, B. Van Roy (1997), An Analysis of Temporal-Difference Learning with Function Approximation.
pub fn td_fixed_point<F: Real>(
    kernel: &ArrayRef2<F>,
    reward: &ArrayRef1<F>,
    features: &ArrayRef2<F>,
    gamma: F,
) -> Result<FixedPoint<F>, NoFixedPoint> {
    check_chain(kernel, reward, features);
    // Written so that NaN is refused.
    if !(gamma >= F::zero() && gamma < F::one()) {
        return Err(NoFixedPoint::Discount);
    }
    let law = stationary(kernel)?;
    let mut weighted = features.to_owned();
    for (mut row, &d) in weighted.rows_mut().into_iter().zip(&law) {
        row *= d;
    }
    let ahead = &features.view() - &(kernel.dot(features) * gamma);
    let matrix = weighted.t().dot(&ahead);
    let weights = solve(matrix.clone(), weighted.t().dot(reward)).ok_or(NoFixedPoint::Dependent)?;
    Ok(FixedPoint { weights, law, matrix })
}

/// How much farther from the truth the fixed point of TD(0) can be than the nearest values: `(1 - gamma^2)^(-1/2)`.
///
/// ID `fa.td-fixed-point`, in the norm weighted by the stationary law.
///
/// Source: J. N. Tsitsiklis, B. Van Roy (1997), An Analysis of Temporal-Difference Learning with Function Approximation.
pub fn distance_factor<F: Real>(gamma: F) -> F {
    F::one() / (F::one() - gamma * gamma).sqrt()
}
// ANCHOR_END: fa.td-fixed-point

/// The factor by which one update moves the weight of two states with features 1 and 2, where the first leads to the second
/// without reward and only the first is updated.
///
/// ID `fa.offpolicy-divergence`: `1 + alpha (2 gamma - 1)`: above 1 for every step size as soon as `gamma > 1/2`. The gradient of
/// the squared error through the target as well gives [`full_gradient_factor`] instead.
///
/// Source: J. N. Tsitsiklis, B. Van Roy (1997), An Analysis of Temporal-Difference Learning with Function Approximation.
// ANCHOR: fa.offpolicy-divergence
pub fn divergence_factor<F: Real>(alpha: F, gamma: F) -> F {
    F::one() + alpha * (gamma + gamma - F::one())
}

/// The factor of the same update along the full gradient.
///
/// ID `fa.offpolicy-divergence`: `1 - alpha (2 gamma - 1)^2`, at most 1.
///
/// Source: L. Baird (1995), Residual Algorithms: Reinforcement Learning with Function Approximation.
pub fn full_gradient_factor<F: Real>(alpha: F, gamma: F) -> F {
    let slope = gamma + gamma - F::one();
    F::one() - alpha * slope * slope
}
// ANCHOR_END: fa.offpolicy-divergence

#[track_caller]
fn square<F>(name: &str, matrix: &ArrayRef2<F>) -> usize {
    assert!(
        matrix.nrows() == matrix.ncols() && matrix.nrows() > 0,
        "{name} has shape {:?} but must be square",
        matrix.dim()
    );
    matrix.nrows()
}

#[track_caller]
fn check_chain<F>(kernel: &ArrayRef2<F>, reward: &ArrayRef1<F>, features: &ArrayRef2<F>) {
    let states = square("kernel", kernel);
    assert!(
        reward.len() == states,
        "reward has {} entries but kernel has shape {:?}",
        reward.len(),
        kernel.dim()
    );
    assert!(
        features.nrows() == states,
        "features has shape {:?} but kernel has shape {:?}",
        features.dim(),
        kernel.dim()
    );
}

/// Elimination with row pivots; none for a matrix without full rank.
fn solve<F: Real>(mut a: Array2<F>, mut b: Array1<F>) -> Option<Array1<F>> {
    let n = b.len();
    let scale = a.iter().fold(F::zero(), |m, x| m.max(x.abs()));
    let smallest = scale * F::epsilon() * F::of(64.0 * n as f64);
    for pivot in 0..n {
        let row = (pivot..n)
            .fold(pivot, |best, i| if a[[i, pivot]].abs() > a[[best, pivot]].abs() { i } else { best });
        let largest = a[[row, pivot]].abs();
        if largest <= smallest || largest.is_nan() {
            return None;
        }
        for k in 0..n {
            a.swap([pivot, k], [row, k]);
        }
        b.swap(pivot, row);
        for below in pivot + 1..n {
            let factor = a[[below, pivot]] / a[[pivot, pivot]];
            for k in pivot..n {
                let above = a[[pivot, k]];
                a[[below, k]] -= factor * above;
            }
            let above = b[pivot];
            b[below] -= factor * above;
        }
    }
    for row in (0..n).rev() {
        let known = (row + 1..n).map(|k| a[[row, k]] * b[k]).sum::<F>();
        b[row] = (b[row] - known) / a[[row, row]];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_value_is_a_sum_over_all_features() {
        let x: Vec<f64> = (0..19).map(f64::from).collect();
        assert_eq!(value(&x, &[2.0; 19]), 342.0);
        assert_eq!(value::<f64>(&[], &[]), 0.0);
        let mut w = [1.0, 1.0];
        step(&mut w, &[0.0, 3.0], 2.0, 0.5);
        assert_eq!(w, [1.0, 4.0]);
    }

    #[test]
    fn active_features_are_those_of_a_dense_vector() {
        let mut weights: Vec<f64> = (0..10).map(f64::from).collect();
        let mut values = [f64::NAN; 2];
        binary_values(&[1, 4], &weights, &mut values);
        let dense = [0.0, 1.0, 0.0, 0.0, 1.0];
        for (a, got) in values.into_iter().enumerate() {
            let column: Vec<f64> = weights.iter().skip(a).step_by(2).copied().collect();
            assert_eq!(got, value(&dense, &column));
        }
        binary_step(&mut weights, &[1, 4], 1, 2, 3.0, 0.5);
        assert_eq!(weights, [0.0, 1.0, 2.0, 4.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.5]);
    }

    #[test]
    fn a_rating_moves_every_active_pair() {
        let mut w = Array2::zeros((2, 2));
        product_step(&mut w, &[1.0, 0.0], &[1.0, 1.0], 4.0, 0.25);
        assert_eq!(w, array![[1.0, 1.0], [0.0, 0.0]]);
        assert_eq!(product_value(&[1.0, 1.0], &w, &[0.0, 1.0]), 1.0);
    }

    #[test]
    fn the_two_gradients_can_point_apart() {
        let (delta, best) = q_error(&[1.0], &[1.0], 1.0, Some(&array![[2.0], [1.0]]), 0.9);
        assert!((delta - 1.8f64).abs() < 1e-15 && best == Some(0));
        let (mut semi, mut full) = ([0.0], [0.0]);
        semi_gradient(delta, &[1.0], &mut semi);
        full_gradient(delta, &[1.0], Some(&[2.0]), 0.9, &mut full);
        assert!((semi[0] + 1.8).abs() < 1e-15 && (full[0] - 1.44).abs() < 1e-15);
        assert_eq!(q_error(&[1.0], &[1.0], 3.0, None, 0.9), (2.0, None));
    }

    #[test]
    fn the_fixed_point_needs_its_own_chain() {
        let kernel = array![[0.0, 1.0], [0.01, 0.99]];
        let found = td_fixed_point(&kernel, &array![1.0, 1.0], &array![[1.0], [2.0]], 0.9).unwrap();
        assert!((found.matrix[[0, 0]] - 0.405_941f64).abs() < 1e-6);
        let table = td_fixed_point(&kernel, &array![1.0, 1.0], &Array2::eye(2), 0.9).unwrap();
        assert!(table.weights.iter().all(|w| (w - 10.0f64).abs() < 1e-12));
        let twice = td_fixed_point(&kernel, &array![1.0, 1.0], &array![[1.0, 2.0], [2.0, 4.0]], 0.9);
        assert_eq!(twice, Err(NoFixedPoint::Dependent));
        assert_eq!(stationary(&Array2::<f64>::eye(2)), Err(NoFixedPoint::NotErgodic));
        assert_eq!(stationary(&array![[1.0, 0.0], [0.5, 0.5]]), Err(NoFixedPoint::NotErgodic));
        let late = td_fixed_point(&kernel, &array![1.0, 1.0], &Array2::eye(2), 1.0);
        assert_eq!(late, Err(NoFixedPoint::Discount));
    }
}
