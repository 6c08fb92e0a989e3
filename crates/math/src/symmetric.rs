//! Eigenvalues of small symmetric matrices.

use crate::Real;
use ndarray::{Array1, Array2, ArrayRef2};

/// `matrix = vectors diag(values) vectors^T`, in no particular order; column `k` of `vectors` belongs to `values[k]`.
pub(crate) struct Eigen<F> {
    pub values: Array1<F>,
    pub vectors: Array2<F>,
}

/// Rotates pairs of coordinates until nothing is left beside the diagonal (C. G. J. Jacobi, 1846). Reads the upper half. Of a matrix
/// with a NaN all eigenvalues are NaN.
pub(crate) fn eigen<F: Real>(matrix: &ArrayRef2<F>) -> Eigen<F> {
    let (n, columns) = matrix.dim();
    assert!(n == columns, "a matrix of {n} rows and {columns} columns is not symmetric");
    let mut a = Array2::from_shape_fn((n, n), |(i, k)| matrix[[i.min(k), i.max(k)]]);
    let mut vectors = Array2::eye(n);
    if a.iter().any(|x| x.is_nan()) {
        return Eigen { values: Array1::from_elem(n, F::nan()), vectors };
    }
    // Off-diagonal entries shrink quadratically in the end: about ten sweeps for any size in use.
    for _ in 0..60 {
        let size: F = a.iter().map(|&x| x * x).sum();
        let beside: F = a.indexed_iter().filter(|((i, k), _)| i < k).map(|(_, &x)| x * x).sum();
        if beside <= F::epsilon() * F::epsilon() * F::of(0.01) * size {
            break;
        }
        for i in 0..n {
            for k in i + 1..n {
                rotate(&mut a, &mut vectors, i, k);
            }
        }
    }
    Eigen { values: a.diag().to_owned(), vectors }
}

/// Makes `a[i, k]` zero.
fn rotate<F: Real>(a: &mut Array2<F>, vectors: &mut Array2<F>, i: usize, k: usize) {
    if a[[i, k]] == F::zero() {
        return;
    }
    let two = F::of(2.0);
    let theta = (a[[k, k]] - a[[i, i]]) / (two * a[[i, k]]);
    let sign = if theta < F::zero() { -F::one() } else { F::one() };
    let tangent = sign / (theta.abs() + (theta * theta + F::one()).sqrt());
    let cosine = (tangent * tangent + F::one()).sqrt().recip();
    let sine = tangent * cosine;
    let n = a.nrows();
    for row in 0..n {
        let (x, y) = (a[[row, i]], a[[row, k]]);
        (a[[row, i]], a[[row, k]]) = (cosine * x - sine * y, sine * x + cosine * y);
        let (x, y) = (vectors[[row, i]], vectors[[row, k]]);
        (vectors[[row, i]], vectors[[row, k]]) = (cosine * x - sine * y, sine * x + cosine * y);
    }
    for column in 0..n {
        let (x, y) = (a[[i, column]], a[[k, column]]);
        (a[[i, column]], a[[k, column]]) = (cosine * x - sine * y, sine * x + cosine * y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use ndarray::array;

    #[test]
    fn a_symmetric_matrix_is_put_together_again() {
        let mut rng = Stream::new(3, "symmetric", 0);
        for n in 0..9 {
            let mut a = Array2::<f64>::zeros((n, n));
            for i in 0..n {
                for k in i..n {
                    a[[i, k]] = rng.normal();
                    a[[k, i]] = a[[i, k]];
                }
            }
            let Eigen { values, vectors } = eigen(&a);
            let product = (&vectors * &values).dot(&vectors.t());
            assert!(product.iter().zip(&a).all(|(x, y)| (x - y).abs() < 1e-13), "{product} {a}");
            let identity = vectors.t().dot(&vectors);
            assert!(identity.iter().zip(&Array2::<f64>::eye(n)).all(|(x, y)| (x - y).abs() < 1e-13));
        }
    }

    #[test]
    fn known_eigenvalues_and_no_endless_loop() {
        let mut values = eigen(&array![[2.0f64, 1.0], [1.0, 2.0]]).values.to_vec();
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15);
        assert!(eigen(&array![[0.0, f64::NAN], [1.0, 2.0]]).values.iter().all(|x| x.is_nan()));
        assert_eq!(eigen(&Array2::<f32>::zeros((3, 3))).values.to_vec(), [0.0; 3]);
    }
}
