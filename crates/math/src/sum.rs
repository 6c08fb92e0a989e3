//! Sums in a fixed order that vector registers like.

use crate::Real;

/// A loop over a batch goes block by block of this many entries.
pub(crate) const BLOCK: usize = 64;

/// `K` running sums over a batch, each in [`BLOCK`] partial sums: entry `i` goes to partial sum `i mod BLOCK`.
///
/// The loops that add to them have no dependence between entries, so the compiler vectorises them. The order of summation
/// depends on nothing but the length: a sum has the same bits on every CPU, and its rounding error grows with `n / BLOCK` where
/// that of a single running sum grows with `n`.
pub(crate) struct Sums<F, const K: usize>(pub(crate) [[F; BLOCK]; K]);

impl<F: Real, const K: usize> Sums<F, K> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Sums([[F::zero(); BLOCK]; K])
    }

    /// The `K` sums: halves are added to halves.
    #[inline(always)]
    pub(crate) fn totals(self) -> [F; K] {
        self.0.map(|mut partial| {
            let mut half = BLOCK / 2;
            while half > 0 {
                let (low, high) = partial.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(&*high) {
                    *low += *high;
                }
                half /= 2;
            }
            partial[0]
        })
    }
}
