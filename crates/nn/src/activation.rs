//! Element-wise non-linearities and their derivatives in terms of the output.

use rederive_math::{Real, multiversion};
use serde::{Deserialize, Serialize};
use std::any::TypeId;

/// The non-linearity between layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Hyperbolic tangent.
    #[default]
    Tanh,
    /// `max(0, x)`, with derivative 0 at 0.
    Relu,
    /// `ln(1 + e^x)`: a smooth ReLU, always positive.
    Softplus,
    /// None.
    Identity,
}

impl Activation {
    /// Replaces every `x` by its image.
    pub fn apply<F: Real>(self, x: &mut [F]) {
        match self {
            Activation::Tanh => match as_f32_mut(x) {
                Some(x) => tanh_f32(x),
                None => x.iter_mut().for_each(|x| *x = x.tanh()),
            },
            Activation::Relu => relu(x),
            Activation::Softplus => softplus(x),
            Activation::Identity => {}
        }
    }

    /// Multiplies each `d` by the derivative at the input whose image is `y`: from the gradient of the output to the gradient
    /// of the input, or from the tangent of the input to the tangent of the output.
    ///
    /// # Panics
    /// If the lengths of `y` and `d` differ.
    pub fn chain<F: Real>(self, y: &[F], d: &mut [F]) {
        assert_eq!(y.len(), d.len(), "y against d");
        match self {
            Activation::Tanh => tanh_chain(y, d),
            Activation::Relu => relu_chain(y, d),
            Activation::Softplus => softplus_chain(y, d),
            Activation::Identity => {}
        }
    }
}

/// `x` as a mutable slice of `f32`, if that is what it is.
fn as_f32_mut<F: Real>(x: &mut [F]) -> Option<&mut [f32]> {
    // SAFETY: the types are the same, and the borrow is exclusive.
    (TypeId::of::<F>() == TypeId::of::<f32>())
        .then(|| unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) })
}

/// From here on tanh rounds to 1 in `f32`.
const TANH_SATURATION: f32 = 9.02;

/// Numerator and denominator of tanh(x) / x in powers of x^2 on [0, 9.02^2]: a weighted least-squares fit, reweighted until
/// its relative error was level at 2.1e-8. All coefficients are positive, so nothing cancels.
#[allow(clippy::excessive_precision)] // as the fit printed them
const TANH_P: [f32; 5] =
    [0.999999979333, 0.133799032238, 0.00349424888907, 2.05867745555e-5, 1.33231896382e-8];
#[allow(clippy::excessive_precision)] // as the fit printed them
const TANH_Q: [f32; 5] = [1.0, 0.467132186998, 0.0258719034755, 0.000328343331372, 7.76379930568e-7];

/// The rational approximation of tanh for one number: relative error below 3e-7 (see the test, which visits every
/// exponent), odd, within [-1, 1], NaN for NaN.
#[inline(always)]
fn tanh_rational(x: f32) -> f32 {
    let clamped = clamp(x, TANH_SATURATION);
    let s = clamped * clamped;
    let horner = |c: &[f32; 5]| c[4].mul_add(s, c[3]).mul_add(s, c[2]).mul_add(s, c[1]).mul_add(s, c[0]);
    clamp(clamped * horner(&TANH_P) * reciprocal(horner(&TANH_Q)), 1.0)
}

/// `x` within [-limit, limit], NaN for NaN. Each comparison keeps its second operand unless it holds, which is exactly what
/// one vector minimum or maximum does.
#[inline(always)]
fn clamp(x: f32, limit: f32) -> f32 {
    let x = if limit < x { limit } else { x };
    if -limit > x { -limit } else { x }
}

/// `1 / q` to an ulp or two, for positive normal q whose reciprocal is normal too. A vector division takes 16 cycles here;
/// subtracting the bits from a constant gives the reciprocal within 13 percent, and each of two cubic steps takes the error
/// to its third power, on the multipliers that would idle otherwise.
#[inline(always)]
pub(crate) fn reciprocal(q: f32) -> f32 {
    let mut r = f32::from_bits(0x7ef3_11c7u32.wrapping_sub(q.to_bits()));
    for _ in 0..2 {
        let e = (-q).mul_add(r, 1.0);
        r = e.mul_add(e, e).mul_add(r, r);
    }
    r
}

multiversion! {
    fn tanh_f32(x: &mut [f32]) {
        for x in x {
            *x = tanh_rational(*x);
        }
    }
}

multiversion! {
    fn tanh_chain<F: Real>(y: &[F], d: &mut [F]) {
        for (d, &y) in d.iter_mut().zip(y) {
            *d *= F::one() - y * y;
        }
    }
}

multiversion! {
    fn relu<F: Real>(x: &mut [F]) {
        for x in x {
            *x = if *x > F::zero() { *x } else { F::zero() };
        }
    }
}

multiversion! {
    fn relu_chain<F: Real>(y: &[F], d: &mut [F]) {
        for (d, &y) in d.iter_mut().zip(y) {
            *d = if y > F::zero() { *d } else { F::zero() };
        }
    }
}

/// `max(x, 0) + ln(1 + e^-|x|)`: no power of e overflows, and nothing cancels.
fn softplus<F: Real>(x: &mut [F]) {
    for x in x {
        *x = x.max(F::zero()) + (-x.abs()).exp().ln_1p();
    }
}

/// With `y = ln(1 + e^x)` the derivative `1 / (1 + e^-x)` is `1 - e^-y`.
fn softplus_chain<F: Real>(y: &[F], d: &mut [F]) {
    for (d, &y) in d.iter_mut().zip(y) {
        *d *= -(-y).exp_m1();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_and_its_derivative_from_end_to_end() {
        for x in [-700.0, -40.0, -3.0, -0.1, 0.0, 0.1, 2.0, 40.0, 1e300f64] {
            let mut y = [x];
            Activation::Softplus.apply(&mut y);
            let want = if x > 50.0 { x } else { (x.exp() + 1.0).ln() };
            assert!((y[0] - want).abs() <= 1e-15 + 1e-14 * want, "{x}: {} against {want}", y[0]);
            assert!(y[0] > 0.0 || x < -745.0);
            let mut d = [2.0];
            Activation::Softplus.chain(&y, &mut d);
            let want = 2.0 / (1.0 + (-x).exp());
            assert!((d[0] - want).abs() <= 1e-14 * want, "{x}: {} against {want}", d[0]);
        }
        let mut nan = [f64::NAN];
        Activation::Softplus.apply(&mut nan);
        assert!(nan[0].is_nan());
    }

    #[test]
    fn tanh_is_accurate_odd_and_bounded() {
        let mut worst = 0.0f64;
        for bits in (0..0x7f80_0000u32).step_by(997) {
            let x = f32::from_bits(bits);
            let mut y = [x, -x];
            Activation::Tanh.apply(&mut y);
            assert_eq!(y[0], -y[1], "odd at {x}");
            assert!(y[0] <= 1.0, "bounded at {x}");
            let want = f64::from(x).tanh();
            if want > 1e-37 {
                worst = worst.max((f64::from(y[0]) - want).abs() / want);
            }
        }
        assert!(worst < 3e-7, "relative error {worst}");
        let mut special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        Activation::Tanh.apply(&mut special);
        assert!(special[0].is_nan());
        assert_eq!(special[1..], [1.0, -1.0, 0.0]);
    }
}
