//! Starting values of weights.

use ndarray::Array2;
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use rederive_math::Stream;

/// A random matrix `[rows, cols]` with orthonormal rows or columns (whichever there are fewer of), times `gain`: every
/// such matrix is equally likely. The source is Saxe, McClelland and Ganguli (2014), *Exact solutions to the nonlinear
/// dynamics of learning in deep linear neural networks*.
pub fn orthogonal(rng: &mut Stream, rows: usize, cols: usize, gain: f64) -> Array2<f64> {
    let (many, few) = (rows.max(cols), rows.min(cols));
    let mut vectors = Array2::<f64>::random_using((few, many), StandardNormal, rng);
    for i in 0..few {
        // Gram-Schmidt, twice: one pass leaves an error that grows with the number of vectors, two do not.
        for _ in 0..2 {
            for j in 0..i {
                let (done, mut rest) = vectors.view_mut().split_at(ndarray::Axis(0), i);
                let mut v = rest.row_mut(0);
                let along = done.row(j).dot(&v);
                v.scaled_add(-along, &done.row(j));
            }
        }
        let norm = vectors.row(i).dot(&vectors.row(i)).sqrt();
        vectors.row_mut(i).mapv_inplace(|x| x / norm);
    }
    vectors *= gain;
    if rows <= cols { vectors } else { vectors.reversed_axes().as_standard_layout().into_owned() }
}

/// A matrix `[rows, cols]` of independent uniform numbers in `[-bound, bound)`.
pub fn uniform(rng: &mut Stream, rows: usize, cols: usize, bound: f64) -> Array2<f64> {
    Array2::from_shape_fn((rows, cols), |_| rng.uniform(-bound, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal_times_gain() {
        let mut rng = Stream::new(3, "init", 0);
        for (rows, cols, gain) in [(4, 64, 1.4), (64, 64, 1.0), (64, 2, 0.01), (1, 1, 2.0)] {
            let w = orthogonal(&mut rng, rows, cols, gain);
            assert_eq!(w.dim(), (rows, cols));
            let gram = if rows <= cols { w.dot(&w.t()) } else { w.t().dot(&w) };
            for ((i, j), g) in gram.indexed_iter() {
                let want = if i == j { gain * gain } else { 0.0 };
                assert!((g - want).abs() < 1e-12, "({i}, {j}): {g}");
            }
        }
    }

    #[test]
    fn uniform_stays_within_its_bound_and_has_its_variance() {
        let w = uniform(&mut Stream::new(3, "init", 1), 200, 50, 0.5);
        assert!(w.iter().all(|x| x.abs() <= 0.5));
        let variance = w.iter().map(|x| x * x).sum::<f64>() / 10_000.0;
        // Variance of x^2 for U(-b, b) is 4 b^4 / 45; five standard errors of the mean of 10,000.
        assert!((variance - 0.25 / 3.0).abs() < 5.0 * (4.0 * 0.0625 / 45.0f64).sqrt() / 100.0);
    }
}
