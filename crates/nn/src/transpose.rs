//! Transposing a matrix.

use rederive_math::Real;
#[cfg(target_arch = "x86_64")]
use std::any::TypeId;

/// Rows of the input per strip: so many numbers of `f32` are one cache line of the output, which is written at one go.
const STRIP: usize = 16;

/// `to` `[cols, rows]` from `from` `[rows, cols]`.
///
/// # Panics
/// If a length does not fit.
pub(crate) fn transpose<F: Real>(from: &[F], rows: usize, cols: usize, to: &mut [F]) {
    assert_eq!(
        (from.len(), to.len()),
        (rows * cols, rows * cols),
        "both sides of a transpose against its shape"
    );
    // Whole blocks of 4 x 4 first, then what is left of their rows, then the rows below.
    let (whole_rows, whole_cols) = blocks(from, rows, cols, to);
    for i in 0..rows {
        for j in if i < whole_rows { whole_cols..cols } else { 0..cols } {
            to[j * rows + i] = from[i * cols + j];
        }
    }
}

/// The blocks of 4 x 4 that fit in, each in four registers; returns how many rows and columns they cover.
fn blocks<F: Real>(from: &[F], rows: usize, cols: usize, to: &mut [F]) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<F>() == TypeId::of::<f32>() {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};

        let (whole_rows, whole_cols) = (rows / 4 * 4, cols / 4 * 4);
        let (from, to) = (from.as_ptr().cast::<f32>(), to.as_mut_ptr().cast::<f32>());
        for top in (0..whole_rows).step_by(STRIP) {
            for j in (0..whole_cols).step_by(4) {
                for i in (top..(top + STRIP).min(whole_rows)).step_by(4) {
                    // SAFETY: F is f32; rows i..i + 4 and columns j..j + 4 exist, `to` is borrowed exclusively, the caller
                    // checked both lengths, and every x86-64 CPU has SSE.
                    unsafe {
                        let (from, to) = (from.add(i * cols + j), to.add(j * rows + i));
                        let mut a = _mm_loadu_ps(from);
                        let mut b = _mm_loadu_ps(from.add(cols));
                        let mut c = _mm_loadu_ps(from.add(2 * cols));
                        let mut d = _mm_loadu_ps(from.add(3 * cols));
                        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                        _mm_storeu_ps(to, a);
                        _mm_storeu_ps(to.add(rows), b);
                        _mm_storeu_ps(to.add(2 * rows), c);
                        _mm_storeu_ps(to.add(3 * rows), d);
                    }
                }
            }
        }
        return (whole_rows, whole_cols);
    }
    let _ = (from, rows, cols, to, STRIP);
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_number_moves<F: Real>() {
        for (rows, cols) in [(1, 1), (4, 4), (3, 9), (64, 2), (13, 21), (64, 64), (120, 84), (35, 130)] {
            let x: Vec<F> = (0..rows * cols).map(|i| F::of(i as f64)).collect();
            let mut turned = vec![F::zero(); x.len()];
            transpose(&x, rows, cols, &mut turned);
            for i in 0..rows {
                for j in 0..cols {
                    assert_eq!(turned[j * rows + i], x[i * cols + j], "[{rows}, {cols}] at ({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn a_number_lands_where_row_and_column_are_swapped() {
        every_number_moves::<f32>();
        every_number_moves::<f64>();
    }
}
