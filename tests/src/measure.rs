//! Errors on the scale that the tolerances refer to.

/// Identities between two sums of a few hundred terms: relative to the largest value compared, at least 1.
pub const TOL_ID: f64 = 1e-10;
/// Comparisons with a linear solve; the error is to be multiplied by `1 - gamma` first ([`Worst::solved`]).
pub const TOL_SOLVE: f64 = 1e-9;
/// Central differences: relative to one plus the gradient's norm ([`Worst::gradient`]).
pub const TOL_FD: f64 = 1e-6;
/// Quadrature, absolute.
pub const TOL_QUAD: f64 = 1e-7;
/// Slack of inequalities: relative to the larger side, at least 1 ([`Worst::at_most`]).
pub const TOL_INEQ: f64 = 1e-10;
/// Statistics: the error is already in units of five standard errors ([`Worst::within_five_se`]).
pub const TOL_STAT: f64 = 1.0;
/// Results that must agree bit for bit or as a verdict.
pub const EXACT: f64 = 0.0;

/// Collects the largest scaled error of one case. Once it has seen NaN it stays NaN.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst(f64);

impl Worst {
    /// Nothing compared yet.
    pub fn new() -> Self {
        Worst(0.0)
    }

    /// Adds an error that is already scaled.
    pub fn add(&mut self, error: f64) -> &mut Self {
        if error.is_nan() || error > self.0 {
            self.0 = error;
        }
        self
    }

    /// Both sides agree, relative to the larger of them and 1. Equal infinities agree.
    pub fn same(&mut self, left: f64, right: f64) -> &mut Self {
        self.scaled(left, right, 0.0)
    }

    /// Both sides agree, relative to `scale`, to the larger side and to 1, whichever is largest.
    pub fn scaled(&mut self, left: f64, right: f64, scale: f64) -> &mut Self {
        self.add(relative(left, right, scale))
    }

    /// All pairs agree, relative to the largest value on either side and to 1.
    ///
    /// # Panics
    /// If the numbers of values differ.
    pub fn all<'a>(
        &mut self,
        left: impl IntoIterator<Item = &'a f64>,
        right: impl IntoIterator<Item = &'a f64>,
    ) -> &mut Self {
        let left: Vec<f64> = left.into_iter().copied().collect();
        let right: Vec<f64> = right.into_iter().copied().collect();
        assert_eq!(left.len(), right.len(), "as many values on the left as on the right");
        let scale = left.iter().chain(&right).filter(|x| x.is_finite()).fold(1.0, |m: f64, x| m.max(x.abs()));
        for (&l, &r) in left.iter().zip(&right) {
            self.scaled(l, r, scale);
        }
        self
    }

    /// Both sides agree up to what a linear solve with discount `gamma` can lose.
    pub fn solved(&mut self, left: f64, right: f64, gamma: f64) -> &mut Self {
        self.add(relative(left, right, 0.0) * (1.0 - gamma))
    }

    /// A gradient and its central difference agree, relative to one plus the norm of the gradient.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn gradient(&mut self, formula: &[f64], difference: &[f64]) -> &mut Self {
        assert_eq!(formula.len(), difference.len(), "a gradient has one entry per parameter");
        let norm = formula.iter().map(|g| g * g).sum::<f64>().sqrt();
        for (f, d) in formula.iter().zip(difference) {
            self.add((f - d).abs() / (1.0 + norm));
        }
        self
    }

    /// `left <= right` up to rounding.
    pub fn at_most(&mut self, left: f64, right: f64) -> &mut Self {
        if left <= right { self } else { self.same(left, right) }
    }

    /// An estimate lies within five standard errors (plus rounding) of the true value; compare with [`TOL_STAT`].
    pub fn within_five_se(&mut self, estimate: f64, truth: f64, standard_error: f64) -> &mut Self {
        let scale = estimate.abs().max(truth.abs()).max(1.0);
        self.add((estimate - truth).abs() / (5.0 * standard_error + TOL_ID * scale))
    }

    /// A printed number: the value agrees to one unit of the last digit, `10^-digits`; compare with [`TOL_STAT`].
    pub fn printed(&mut self, value: f64, printed: f64, digits: i32) -> &mut Self {
        self.add((value - printed).abs() / 10f64.powi(-digits))
    }

    /// A verdict: `ok` must hold.
    pub fn holds(&mut self, ok: bool) -> &mut Self {
        self.add(if ok { 0.0 } else { f64::INFINITY })
    }

    /// The largest error so far.
    pub fn error(&self) -> f64 {
        self.0
    }

    /// The case's measurement.
    pub fn done(&self) -> crate::Measured {
        Ok(self.0)
    }
}

/// The distance of two numbers, relative to `scale`, to the larger of them and to 1; 0 for equal infinities.
pub fn relative(left: f64, right: f64, scale: f64) -> f64 {
    if left == right {
        return 0.0;
    }
    let difference = (left - right).abs();
    if difference.is_infinite() {
        return difference;
    }
    difference / left.abs().max(right.abs()).max(scale).max(1.0)
}

/// An error text unless `ok`: `require(x > 0.0, || format!("x = {x}"))?`.
pub fn require(ok: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if ok { Ok(()) } else { Err(reason()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_never_forgotten() {
        let mut worst = Worst::new();
        worst.same(f64::NAN, 1.0).same(1.0, 1.0).add(3.0);
        assert!(worst.error().is_nan());
        assert!(Worst::new().at_most(f64::NAN, f64::INFINITY).error().is_nan());
        assert!(Worst::new().at_most(1.0, f64::NAN).error().is_nan());
    }

    #[test]
    fn infinities_agree_only_with_themselves() {
        let inf = f64::INFINITY;
        assert_eq!(Worst::new().same(inf, inf).error(), 0.0);
        assert_eq!(Worst::new().same(inf, -inf).error(), inf);
        assert_eq!(Worst::new().same(inf, 1e300).error(), inf);
        assert_eq!(Worst::new().at_most(inf, inf).error(), 0.0);
        assert_eq!(Worst::new().at_most(inf, 1.0).error(), inf);
    }

    #[test]
    fn errors_are_relative_to_the_largest_value_and_one() {
        assert_eq!(Worst::new().same(0.5, 0.75).error(), 0.25);
        assert_eq!(Worst::new().same(8.0, 10.0).error(), 0.2);
        assert_eq!(Worst::new().all(&[1.0, 10.0], &[3.0, 10.0]).error(), 0.2);
        assert_eq!(Worst::new().at_most(2.0, 3.0).error(), 0.0);
        assert_eq!(Worst::new().at_most(4.0, 2.0).error(), 0.5);
    }
}
