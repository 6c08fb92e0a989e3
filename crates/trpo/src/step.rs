//! The largest step along a direction that the quadratic model of the divergence allows (`trpo.step`).

use rederive_math::Real;

// ANCHOR: trpo.step
/// The factor that puts `x` on the boundary of the trust region: `sqrt(2 Delta / x^T F x)`.
///
/// ID `trpo.step`: `max g^T d` subject to `d^T F d / 2 <= Delta` is solved by `x = F^-1 g` and `d = sqrt(2 Delta / x^T F x) x`, so that
/// the quadratic model of the divergence is `Delta` exactly. The divergence itself is `Delta + O(Delta^(3/2))` and may
/// exceed `Delta`: hence the line search. With damping, `curvature` is that of the damped matrix, and the model of the
/// divergence stays below `Delta`.
///
/// `None` where no step is safe: a curvature that is not positive (an unfinished or broken-down solve), or not finite.
///
/// Source: J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, appendix C.
pub fn scale(curvature: f64, target_kl: f64) -> Option<f64> {
    let factor = (2.0 * target_kl / curvature).sqrt();
    (curvature > 0.0 && factor > 0.0 && factor.is_finite()).then_some(factor)
}

/// The quadratic model of the divergence of the step `factor x`: `factor^2 x^T F x / 2`, nats.
pub fn model_kl(curvature: f64, factor: f64) -> f64 {
    0.5 * factor * factor * curvature
}

/// Replaces the solution `x` of `F x = g` by the step `d` of model divergence `target_kl`, given its `curvature`
/// `x^T F x`; returns the factor, or `None`, with `x` as it was, where no step is safe.
pub fn trust_region<F: Real>(x: &mut [F], curvature: f64, target_kl: f64) -> Option<f64> {
    let factor = scale(curvature, target_kl)?;
    x.iter_mut().for_each(|x| *x *= F::of(factor));
    Some(factor)
}
// ANCHOR_END: trpo.step

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_without_positive_curvature() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE * f64::EPSILON] {
            let mut x = [1.0, 2.0];
            assert_eq!((trust_region(&mut x, bad, 1e300), x), (None, [1.0, 2.0]), "{bad}");
        }
        let mut x = [3.0f64, 4.0];
        assert_eq!(trust_region(&mut x, 25.0, 12.5), Some(1.0));
    }
}
