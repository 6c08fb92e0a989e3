//! Two tools of calculus: the second-order expansion of a function, and the slope of one that an equation defines.

use crate::Real;
use ndarray::ArrayRef2;

/// The second-order expansion of a function around a point, at `step` from it.
///
/// ID `tools.taylor`: `f(x) + g . h + h^T H h / 2`, off by `O(|h|^3)` for a function with three continuous derivatives.
///
/// Shapes: `gradient` `g` and `step` `h` `[n]`, `hessian` `H` `[n, n]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: B. Taylor (1715), Methodus Incrementorum Directa et Inversa.
// ANCHOR: tools.taylor
pub fn taylor<F: Real>(value: F, gradient: &[F], hessian: &ArrayRef2<F>, step: &[F]) -> F {
    let n = step.len();
    assert!(gradient.len() == n, "step has {n} entries but gradient has {}", gradient.len());
    assert!(hessian.dim() == (n, n), "step has {n} entries but hessian has shape {:?}", hessian.dim());
    let linear = gradient.iter().zip(step).map(|(&g, &h)| g * h).sum::<F>();
    let curved = hessian.indexed_iter().map(|((i, j), &c)| step[i] * c * step[j]).sum::<F>();
    value + linear + F::of(0.5) * curved
}

/// A point where a function of one variable has its mean slope.
///
/// ID `tools.taylor`: some `c` in `(a, b)` has `f'(c) (b - a) = f(b) - f(a)`. Found by bisection, so for a monotone
/// derivative it is *the* point; `None` if `f'` less the mean slope has the same sign at both ends, which tells
/// nothing, or if a value is NaN.
///
/// # Panics
/// If `a` is not less than `b`.
///
/// Source: A. L. Cauchy (1823), Resume des lecons donnees a l'Ecole royale polytechnique sur le calcul infinitesimal.
pub fn mean_value_point<F: Real>(f: impl Fn(F) -> F, derivative: impl Fn(F) -> F, a: F, b: F) -> Option<F> {
    assert!(a < b, "the interval from {a} to {b} is empty");
    let slope = (f(b) - f(a)) / (b - a);
    let excess = |c: F| derivative(c) - slope;
    let (mut low, mut high) = (a, b);
    let rising = excess(b) > F::zero();
    let opposite =
        if rising { excess(a) < F::zero() } else { excess(a) > F::zero() && excess(b) < F::zero() };
    if !opposite {
        // A derivative that is constant has its mean slope everywhere.
        let middle = a + F::of(0.5) * (b - a);
        let everywhere = [a, middle, b].iter().all(|&c| excess(c) == F::zero());
        return everywhere.then_some(middle);
    }
    loop {
        let middle = low + F::of(0.5) * (high - low);
        if middle <= low || middle >= high {
            return Some(middle);
        }
        if (excess(middle) > F::zero()) == rising {
            high = middle;
        } else {
            low = middle;
        }
    }
}
// ANCHOR_END: tools.taylor

/// The slope of the function `y(x)` that `F(x, y) = 0` defines near a solution.
///
/// ID `tools.implicit-diff`: `y' = -F_x / F_y`. `None` where `F_y` is 0 (no such function need exist there), or a slope
/// is not finite.
///
/// Source: U. Dini (1878), Fondamenti per la teorica delle funzioni di variabili reali.
// ANCHOR: tools.implicit-diff
pub fn implicit_derivative<F: Real>(f_x: F, f_y: F) -> Option<F> {
    if f_y == F::zero() || !f_x.is_finite() || !f_y.is_finite() {
        return None;
    }
    Some(-f_x / f_y)
}
// ANCHOR_END: tools.implicit-diff

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_quadratic_is_its_own_expansion() {
        let f = |x: f64, y: f64| 3.0 * x * x + x * y - y * y + 2.0 * x;
        let (x, y, h) = (0.5, -1.0, [0.25, 2.0]);
        let got = taylor(f(x, y), &[6.0 * x + y + 2.0, x - 2.0 * y], &array![[6.0, 1.0], [1.0, -2.0]], &h);
        assert!((got - f(x + h[0], y + h[1])).abs() < 1e-14);
    }

    #[test]
    fn a_cube_has_its_mean_slope_at_one_point() {
        let c = mean_value_point(|x: f64| x * x * x, |x| 3.0 * x * x, 0.0, 2.0).unwrap();
        assert!((c - (4.0f64 / 3.0).sqrt()).abs() < 1e-15);
        let c = mean_value_point(|x: f64| -x * x, |x| -2.0 * x, 1.0, 3.0).unwrap();
        assert!((c - 2.0).abs() < 1e-15);
        assert_eq!(mean_value_point(|x: f64| 2.0 * x, |_| 2.0, 0.0, 1.0), Some(0.5));
        assert_eq!(mean_value_point(|x: f64| x, |_| f64::NAN, 0.0, 1.0), None);
    }

    #[test]
    fn a_vertical_tangent_is_refused() {
        // x^2 + x y + y^3 = 7
        let (x, y) = (0.7f64, 1.741_3);
        let slope = implicit_derivative(2.0 * x + y, x + 3.0 * y * y).unwrap();
        assert!((slope + (2.0 * x + y) / (x + 3.0 * y * y)).abs() < 1e-15 && slope < 0.0);
        assert_eq!(implicit_derivative(1.0, 0.0f64), None);
        assert_eq!(implicit_derivative(f64::NAN, 1.0), None);
    }
}
