//! Dense linear systems.

use crate::Real;
use ndarray::Array2;

/// Solves `matrix x = rhs` by elimination with partial pivots and leaves `x` in `rhs`; `matrix` is destroyed. Returns
/// whether every pivot was a number other than zero.
pub(crate) fn solve<F: Real>(matrix: &mut Array2<F>, rhs: &mut [F]) -> bool {
    let n = rhs.len();
    assert!(matrix.dim() == (n, n), "matrix has shape {:?} but rhs has {n} entries", matrix.dim());
    for pivot in 0..n {
        let mut best = pivot;
        for row in pivot + 1..n {
            if matrix[[row, pivot]].abs() > matrix[[best, pivot]].abs() {
                best = row;
            }
        }
        if best != pivot {
            for column in pivot..n {
                matrix.swap([best, column], [pivot, column]);
            }
            rhs.swap(best, pivot);
        }
        if matrix[[pivot, pivot]].is_nan() || matrix[[pivot, pivot]] == F::zero() {
            return false;
        }
        for row in pivot + 1..n {
            let factor = matrix[[row, pivot]] / matrix[[pivot, pivot]];
            if factor == F::zero() {
                continue;
            }
            for column in pivot..n {
                let above = matrix[[pivot, column]];
                matrix[[row, column]] -= factor * above;
            }
            let above = rhs[pivot];
            rhs[row] -= factor * above;
        }
    }
    for row in (0..n).rev() {
        let known: F = (row + 1..n).map(|column| matrix[[row, column]] * rhs[column]).sum();
        rhs[row] = (rhs[row] - known) / matrix[[row, row]];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_system_that_needs_a_pivot() {
        let mut x = [2.0, 9.0, -1.0];
        assert!(solve(&mut array![[0.0, 2.0, 0.0], [4.0, 1.0, 0.0], [0.0, 0.0, -2.0]], &mut x));
        assert_eq!(x, [2.0, 1.0, 0.5]);
    }

    #[test]
    fn singular_systems_are_reported() {
        assert!(!solve(&mut array![[1.0, 2.0], [2.0, 4.0]], &mut [1.0, 1.0]));
        assert!(!solve(&mut array![[f64::NAN, 0.0], [0.0, 1.0]], &mut [1.0, 1.0]));
        assert!(solve(&mut Array2::<f32>::zeros((0, 0)), &mut []));
    }
}
