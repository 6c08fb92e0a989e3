//! Sums in a fixed order that vector registers like.

use crate::Real;

/// The sums of `K` terms over `i = 0, ..., n - 1`, each in sixteen partial sums: term `i` goes to lane `i mod 16`, and the
/// lanes are added in halves.
///
/// The order depends on nothing but `n`, so a sum has the same bits on every CPU, and its rounding error grows with `n / 16`
/// where that of a running sum grows with `n`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // the lane is an index into n too
pub(crate) fn sums<F: Real, const K: usize>(n: usize, mut term: impl FnMut(usize) -> [F; K]) -> [F; K] {
    let mut lanes = [[F::zero(); 16]; K];
    let whole = n - n % 16;
    let mut at = 0;
    while at < whole {
        for lane in 0..16 {
            let terms = term(at + lane);
            for k in 0..K {
                lanes[k][lane] += terms[k];
            }
        }
        at += 16;
    }
    for i in whole..n {
        let terms = term(i);
        for k in 0..K {
            lanes[k][i - whole] += terms[k];
        }
    }
    lanes.map(|mut lanes| {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                let upper = lanes[lane + half];
                lanes[lane] += upper;
            }
        }
        lanes[0]
    })
}
