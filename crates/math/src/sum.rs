//! Sums in a fixed order that vector registers like.

use crate::Real;

/// Sixteen partial sums: entry `i` goes to lane `i mod 16`, and the lanes are added in halves.
///
/// The order depends on nothing but the length, so a sum has the same bits on every CPU, and its rounding error grows with
/// `n / 16` where that of a running sum grows with `n`.
pub(crate) struct Lanes<F>([F; 16]);

impl<F: Real> Lanes<F> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Lanes([F::zero(); 16])
    }

    /// Adds `term(0), ..., term(n - 1)`.
    #[inline(always)]
    pub(crate) fn add_each(&mut self, n: usize, mut term: impl FnMut(usize) -> F) {
        let whole = n - n % 16;
        let mut at = 0;
        while at < whole {
            for lane in 0..16 {
                self.0[lane] += term(at + lane);
            }
            at += 16;
        }
        for i in whole..n {
            self.0[i - whole] += term(i);
        }
    }

    #[inline(always)]
    pub(crate) fn total(mut self) -> F {
        let mut half = 8;
        while half > 0 {
            for lane in 0..half {
                let upper = self.0[lane + half];
                self.0[lane] += upper;
            }
            half /= 2;
        }
        self.0[0]
    }
}
