use crate::fast;
use ndarray::NdFloat;
use num_traits::FloatConst;
use std::iter::Sum;

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The scalar of all numeric code: `f32` or `f64`, and nothing else.
///
/// The checks run the formulas in `f64`; agents train with the same functions in `f32`.
pub trait Real: private::Sealed + NdFloat + FloatConst + Sum + Default {
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Rounds a configuration value to this type.
    fn of(x: f64) -> Self;

    /// Widens to `f64`, exactly.
    fn to_f64(self) -> f64;

    /// e^x. For `f32` plain arithmetic with a relative error below 1.5e-7, so that a loop over it vectorises; for `f64` the
    /// standard library's.
    fn vexp(self) -> Self;

    /// ln x. For `f32` plain arithmetic with a relative error below 2e-7 (-infinity for subnormal numbers), so that a loop over it
    /// vectorises; for `f64` the standard library's.
    fn vln(self) -> Self;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn vexp(self) -> Self {
        fast::exp(self)
    }

    #[inline(always)]
    fn vln(self) -> Self {
        fast::ln(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn vexp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn vln(self) -> Self {
        self.ln()
    }
}
