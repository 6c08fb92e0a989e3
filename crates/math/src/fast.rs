//! exp and ln for `f32` as plain arithmetic, so that a loop over them vectorises.

// The fitted coefficients are given to more digits than an `f32` holds, as the fit printed them.
#![allow(clippy::excessive_precision)]

/// ln 2 in two parts, the first with few enough bits that `n * LN2_HIGH` is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `(e^r - 1 - r) / r^2` on |r| <= ln(2) / 2, fitted to a level relative error of e^r of 3.1e-9.
const EXP: [f32; 5] = [0.499999934466, 0.166665206186, 0.0416683882854, 0.00836871810234, 0.00138145874522];

/// `(ln(1 + f) - f + f^2 / 2) / f^3` on 1 + f in [sqrt(1/2), sqrt(2)], fitted to a level relative error of ln of 5.9e-9.
const LN: [f32; 8] = [
    0.333333317948,
    -0.25000821956,
    0.200012177175,
    -0.166233206824,
    0.142019543159,
    -0.13160726044,
    0.127604015686,
    -0.076315996831,
];

#[inline(always)]
fn horner<const N: usize>(c: &[f32; N], x: f32) -> f32 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, c[i]);
    }
    y
}

/// e^x with a relative error below 1.5e-7; 0 below -87.3, infinity above 88.7, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a branch.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.7);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, clamped));
    let p = (r * r).mul_add(horner(&EXP, r), r) + 1.0;
    // 2^n in two factors, since n = 128 has no f32 of its own.
    let bits = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = bits >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) << 23) as u32);
    let y = p * power(half) * power(bits - half);
    if x < -87.3 {
        0.0
    } else if x > 88.7 {
        f32::INFINITY
    } else {
        y
    }
}

/// ln x with a relative error below 2e-7 for normal x > 0 (absolute below 1e-7 near 1); -infinity at 0 and below the normal
/// numbers, NaN below 0 and for NaN.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    // Take the exponent so that the mantissa lies in [sqrt(1/2), sqrt(2)).
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3) as i32;
    let e = (bits >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) as u32 + 0x3f35_04f3);
    let f = m - 1.0;
    let tail = (f * f).mul_add(horner(&LN, f) * f, -0.5 * f * f);
    let y = e.mul_add(LN2_HIGH, e.mul_add(LN2_LOW, tail) + f);
    if x >= f32::MIN_POSITIVE {
        if x == f32::INFINITY { f32::INFINITY } else { y }
    } else if x >= 0.0 {
        f32::NEG_INFINITY
    } else {
        f32::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        let mut worst = 0.0f64;
        for i in -872_900..887_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want);
        }
        assert!(worst < 1.5e-7, "{worst}");
        assert_eq!((exp(f32::NEG_INFINITY), exp(f32::INFINITY), exp(0.0)), (0.0, f32::INFINITY, 1.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_accurate_over_every_exponent() {
        let (mut relative, mut absolute) = (0.0f64, 0.0f64);
        for bits in (0x0080_0000..0x7f80_0000u32).step_by(509) {
            let x = f32::from_bits(bits);
            let want = f64::from(x).ln();
            let error = (f64::from(ln(x)) - want).abs();
            if want.abs() > 0.5 {
                relative = relative.max(error / want.abs());
            } else {
                absolute = absolute.max(error);
            }
        }
        assert!(relative < 2e-7 && absolute < 1e-7, "{relative} {absolute}");
        assert_eq!((ln(1.0), ln(0.0), ln(f32::INFINITY)), (0.0, f32::NEG_INFINITY, f32::INFINITY));
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
    }
}
