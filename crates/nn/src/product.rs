//! Small matrix products, where most of the time of learning goes.
//!
//! `f32` runs on register-tiled kernels (6 x 64 values in AVX-512 registers, 6 x 16 in AVX2 ones) that read both matrices
//! where they lie: nothing is packed, which is what makes shapes such as 4 x 64 x 64 fast. A result of at most 8 columns (an
//! output layer) would leave most lanes empty; there the lanes run over `k`, and the module `tail` takes four columns that are
//! left over. Either way the order of a sum does not depend
//! on the number of rows. `f64`, and CPUs without AVX2, use ndarray's product. What ReLU does to the result, forward or
//! backward, is done in the registers before they are stored.

#[cfg(target_arch = "x86_64")]
mod tail;

use crate::Activation;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, linalg::general_mat_mul};
use rederive_math::Real;
#[cfg(target_arch = "x86_64")]
use rederive_math::dispatch::{Level, level};
use std::any::TypeId;

/// A read-only matrix inside a slice: element (i, j) is at `i * row + j * col`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, F> {
    /// The slice.
    pub data: &'a [F],
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub col: usize,
}

impl<'a, F> Matrix<'a, F> {
    /// A contiguous row-major matrix of `cols` columns.
    pub fn rows(data: &'a [F], cols: usize) -> Self {
        Matrix { data, row: cols, col: 1 }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Matrix { data: self.data, row: self.col, col: self.row }
    }

    /// One past the largest index used by an `m` x `n` matrix.
    fn extent(&self, m: usize, n: usize) -> usize {
        if m == 0 || n == 0 { 0 } else { (m - 1) * self.row + (n - 1) * self.col + 1 }
    }
}

/// What the product starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, F> {
    /// `C = A B`.
    Zero,
    /// `C = A B + 1 bias^T`: the same row is added to every row.
    Bias(&'a [F]),
    /// `C = C + A B`.
    Accumulate,
}

/// What happens to the result before it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Finish<'a, F> {
    /// Nothing.
    Keep,
    /// `max(0, C)`, 0 for NaN: the ReLU of a forward pass.
    Relu,
    /// C where the same element of a matrix of C's shape is positive, else 0: the ReLU of a backward pass.
    WherePositive(&'a [F]),
}

/// `C (+)= A B` with A `[m, k]` of any strides, B `[k, n]` row-major, C `[m, n]` row-major and contiguous.
///
/// # Panics
/// If a slice is too short for its shape.
#[allow(clippy::too_many_arguments)] // a product has three matrices, three sizes and a start
pub fn product<F: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<'_, F>,
    b: &[F],
    start: Start<'_, F>,
    c: &mut [F],
) {
    product_then(m, k, n, a, b, start, Finish::Keep, c);
}

/// The same, and `finish` done to all of C.
///
/// # Panics
/// If a slice is too short for its shape.
#[allow(clippy::too_many_arguments)] // as above
pub fn product_then<F: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<'_, F>,
    b: &[F],
    start: Start<'_, F>,
    finish: Finish<'_, F>,
    c: &mut [F],
) {
    assert!(
        a.data.len() >= a.extent(m, k),
        "A has {} values, [{m}, {k}] needs {}",
        a.data.len(),
        a.extent(m, k)
    );
    assert!(b.len() >= k * n, "B has {} values, [{k}, {n}] needs {}", b.len(), k * n);
    assert_eq!(c.len(), m * n, "C against [{m}, {n}]");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "bias against the {n} columns of C");
    }
    if let Finish::WherePositive(gate) = finish {
        assert_eq!(gate.len(), m * n, "gate against C");
    }
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<F>() == TypeId::of::<f32>() {
        let level = level();
        if level != Level::Baseline {
            let start = match start {
                Start::Zero => tiles::From::Zero,
                Start::Bias(bias) => tiles::From::Bias(bias.as_ptr().cast()),
                Start::Accumulate => tiles::From::Accumulate,
            };
            let finish = match finish {
                Finish::Keep => tiles::Finish::Keep,
                Finish::Relu => tiles::Finish::Relu,
                Finish::WherePositive(gate) => tiles::Finish::WherePositive(gate.as_ptr().cast()),
            };
            let job = tiles::Job {
                m,
                k,
                n,
                a: a.data.as_ptr().cast(),
                a_row: a.row,
                a_col: a.col,
                b: b.as_ptr().cast(),
                c: c.as_mut_ptr().cast(),
                start,
                finish,
            };
            // SAFETY: F is f32, the lengths were checked above, C is borrowed exclusively, and the CPU has the level.
            unsafe {
                match level {
                    Level::Avx512 => tiles::avx512(&job),
                    _ => tiles::avx2(&job),
                }
            }
            return;
        }
    }
    generic(m, k, n, a, b, start, c);
    match finish {
        Finish::Keep => {}
        Finish::Relu => Activation::Relu.apply(c),
        Finish::WherePositive(gate) => Activation::Relu.chain(gate, c),
    }
}

/// The same on ndarray's product.
fn generic<F: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<'_, F>,
    b: &[F],
    start: Start<'_, F>,
    c: &mut [F],
) {
    let a = ArrayView2::from_shape((m, k).strides((a.row, a.col)), a.data).expect("A fits its slice");
    let b = ArrayView2::from_shape((k, n), &b[..k * n]).expect("B fits its slice");
    match start {
        Start::Zero => c.fill(F::zero()),
        Start::Bias(bias) => c.chunks_exact_mut(n.max(1)).for_each(|row| row.copy_from_slice(bias)),
        Start::Accumulate => {}
    }
    let mut c = ArrayViewMut2::from_shape((m, n), c).expect("C fits its slice");
    general_mat_mul(F::one(), &a, &b, F::one(), &mut c);
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    use super::tail;
    use rederive_math::simd::{Avx2, Avx512, Simd};
    use std::mem::MaybeUninit;

    /// What the sums start from.
    #[derive(Clone, Copy)]
    pub(super) enum From {
        Zero,
        Bias(*const f32),
        Accumulate,
    }

    /// What happens to them before they are stored.
    #[derive(Clone, Copy)]
    pub(super) enum Finish {
        Keep,
        Relu,
        WherePositive(*const f32),
    }

    /// One product; see [`super::product_then`].
    #[derive(Clone, Copy)]
    pub(super) struct Job {
        pub m: usize,
        pub k: usize,
        pub n: usize,
        pub a: *const f32,
        pub a_row: usize,
        pub a_col: usize,
        pub b: *const f32,
        pub c: *mut f32,
        pub start: From,
        pub finish: Finish,
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512(job: &Job) {
        // SAFETY: the caller vouches for the job; this function has the features that Avx512 needs, and the level those of the
        // tail.
        unsafe {
            let mut cols = job.n;
            if tail::applies(job) {
                tail::columns(job);
                cols -= tail::TAIL;
            }
            run::<Avx512, 4>(job, cols);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(job: &Job) {
        // SAFETY: the caller vouches for the job; this function has the features that Avx2 needs.
        unsafe { run::<Avx2, 2>(job, job.n) }
    }

    /// A result with at most this many columns is summed along `k` ...
    const NARROW: usize = 8;
    /// ... if `k` lies in this range: long enough to fill lanes, short enough for a transposed B on the stack.
    const DEPTH: std::ops::RangeInclusive<usize> = 16..=256;

    /// From this depth on many rows take the sums in pieces ...
    pub(super) const DEEP: usize = 256;
    /// ... of so many terms, so that the rows of B they need stay in the L1 cache until the last row of A has seen them.
    const PIECE: usize = 64;

    /// Some terms of the sums of the first `cols` columns.
    struct Piece {
        cols: usize,
        /// The first term, and how many there are.
        from: usize,
        k: usize,
        start: From,
        finish: Finish,
    }

    #[inline(always)]
    unsafe fn run<S: Simd, const WIDE: usize>(job: &Job, cols: usize) {
        // SAFETY: passed on; the pieces are columns of A and rows of B that exist.
        unsafe {
            if job.n <= NARROW && DEPTH.contains(&job.k) && job.a_col == 1 {
                narrow::<S>(job);
                return;
            }
            let most = if job.k >= DEEP && job.m > 12 { PIECE } else { job.k };
            let mut from = 0;
            loop {
                let k = most.min(job.k - from);
                let start = if from == 0 { job.start } else { From::Accumulate };
                let finish = if from + k == job.k { job.finish } else { Finish::Keep };
                blocks::<S, WIDE>(job, &Piece { cols, from, k, start, finish });
                from += k;
                if from == job.k {
                    break;
                }
            }
        }
    }

    /// Each element as a dot product along `k`, with B transposed on the stack.
    #[inline(always)]
    unsafe fn narrow<S: Simd>(job: &Job) {
        // Not zeroed: for four rows that would take longer than the product.
        let mut transposed = [MaybeUninit::<f32>::uninit(); NARROW * *DEPTH.end()];
        // SAFETY: the rows of A and C and the whole of B exist; lanes past k are masked; the first n * k entries of
        // `transposed` are written before they are read.
        unsafe {
            for l in 0..job.k {
                for j in 0..job.n {
                    transposed[j * job.k + l].write(*job.b.add(l * job.n + j));
                }
            }
            let b = transposed.as_ptr().cast();
            let mut i = 0;
            while job.m - i >= 4 {
                (0..job.n).for_each(|j| dots::<S, 4>(job, b, i, j));
                i += 4;
            }
            while i < job.m {
                (0..job.n).for_each(|j| dots::<S, 1>(job, b, i, j));
                i += 1;
            }
        }
    }

    /// ROWS elements of column `j`.
    #[inline(always)]
    unsafe fn dots<S: Simd, const ROWS: usize>(job: &Job, transposed: *const f32, i: usize, j: usize) {
        // SAFETY: rows i..i + ROWS of A and C and row j of the transposed B exist; lanes past k are masked.
        unsafe {
            let (a, b) = (job.a.add(i * job.a_row), transposed.add(j * job.k));
            let (whole, part) = (job.k / S::LANES * S::LANES, job.k % S::LANES);
            let mut sum = [S::splat(0.0); ROWS];
            for l in (0..whole).step_by(S::LANES) {
                let y = S::load(b.add(l));
                for (r, sum) in sum.iter_mut().enumerate() {
                    *sum = S::fma(S::load(a.add(r * job.a_row + l)), y, *sum);
                }
            }
            if part > 0 {
                let y = S::load_part(b.add(whole), part);
                for (r, sum) in sum.iter_mut().enumerate() {
                    *sum = S::fma(S::load_part(a.add(r * job.a_row + whole), part), y, *sum);
                }
            }
            for (r, sum) in sum.into_iter().enumerate() {
                let at = (i + r) * job.n + j;
                let c = job.c.add(at);
                let total = S::sum(sum)
                    + match job.start {
                        From::Zero => 0.0,
                        From::Bias(bias) => *bias.add(j),
                        From::Accumulate => *c,
                    };
                let keep = match job.finish {
                    Finish::Keep => true,
                    Finish::Relu => total > 0.0,
                    Finish::WherePositive(gate) => *gate.add(at) > 0.0,
                };
                *c = if keep { total } else { 0.0 };
            }
        }
    }

    /// Walks over C in blocks of `WIDE` registers of columns; the last block is as narrow as it needs to be.
    #[inline(always)]
    unsafe fn blocks<S: Simd, const WIDE: usize>(job: &Job, piece: &Piece) {
        let mut j = 0;
        if job.m == 1 {
            // One row has registers to spare, and the more sums run side by side the less each waits for itself.
            while piece.cols - j > WIDE * S::LANES {
                let (left, part) = (piece.cols - j, (piece.cols - j) % S::LANES);
                // SAFETY: as below.
                unsafe {
                    match left.div_ceil(S::LANES) {
                        3 if part == 0 => tile::<S, 1, 3, false>(job, piece, 0, j, 0),
                        3 => tile::<S, 1, 3, true>(job, piece, 0, j, part),
                        4 if part == 0 => tile::<S, 1, 4, false>(job, piece, 0, j, 0),
                        4 => tile::<S, 1, 4, true>(job, piece, 0, j, part),
                        5 if part == 0 => tile::<S, 1, 5, false>(job, piece, 0, j, 0),
                        5 => tile::<S, 1, 5, true>(job, piece, 0, j, part),
                        6 if part == 0 => tile::<S, 1, 6, false>(job, piece, 0, j, 0),
                        6 => tile::<S, 1, 6, true>(job, piece, 0, j, part),
                        7 if part == 0 => tile::<S, 1, 7, false>(job, piece, 0, j, 0),
                        7 => tile::<S, 1, 7, true>(job, piece, 0, j, part),
                        8 if part > 0 => tile::<S, 1, 8, true>(job, piece, 0, j, part),
                        _ => tile::<S, 1, 8, false>(job, piece, 0, j, 0),
                    }
                }
                j = (j + 8 * S::LANES).min(piece.cols);
            }
        }
        while j < piece.cols {
            let left = piece.cols - j;
            // Five registers are three and two: one alone would wait for its own sums.
            let wide = if left.div_ceil(S::LANES) == WIDE + 1 { (WIDE - 1).max(2) } else { WIDE };
            // SAFETY: columns j.. of C and B exist, and the number of registers times LANES covers what is left at most,
            // with the last register masked unless it is full.
            unsafe {
                let part = left % S::LANES;
                match left.div_ceil(S::LANES).min(wide) {
                    4 if left >= 4 * S::LANES => column::<S, 4, false>(job, piece, j, 0),
                    4 => column::<S, 4, true>(job, piece, j, part),
                    3 if left >= 3 * S::LANES => column::<S, 3, false>(job, piece, j, 0),
                    3 => column::<S, 3, true>(job, piece, j, part),
                    2 if left >= 2 * S::LANES => column::<S, 2, false>(job, piece, j, 0),
                    2 => column::<S, 2, true>(job, piece, j, part),
                    _ if left >= S::LANES => column::<S, 1, false>(job, piece, j, 0),
                    _ => column::<S, 1, true>(job, piece, j, part),
                }
            }
            j += wide * S::LANES;
        }
    }

    /// One block of columns, six rows at a time.
    #[inline(always)]
    unsafe fn column<S: Simd, const NR: usize, const PART: bool>(
        job: &Job,
        piece: &Piece,
        j: usize,
        part: usize,
    ) {
        let mut i = 0;
        // SAFETY: rows i..i + MR exist in every call.
        unsafe {
            while job.m - i >= 6 {
                tile::<S, 6, NR, PART>(job, piece, i, j, part);
                i += 6;
            }
            match job.m - i {
                1 => tile::<S, 1, NR, PART>(job, piece, i, j, part),
                2 => tile::<S, 2, NR, PART>(job, piece, i, j, part),
                3 => tile::<S, 3, NR, PART>(job, piece, i, j, part),
                4 => tile::<S, 4, NR, PART>(job, piece, i, j, part),
                5 => tile::<S, 5, NR, PART>(job, piece, i, j, part),
                _ => {}
            }
        }
    }

    /// MR rows by NR registers of C, held in registers over the whole of k.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NR: usize, const PART: bool>(
        job: &Job,
        piece: &Piece,
        i: usize,
        j: usize,
        part: usize,
    ) {
        // SAFETY: the caller guarantees that rows i..i + MR and columns j.. (the last register masked to `part` lanes if
        // PART) exist in C, and the matching ones in A and B.
        unsafe {
            let read = |p: *const f32, v: usize| {
                if PART && v == NR - 1 {
                    S::load_part(p.add(v * S::LANES), part)
                } else {
                    S::load(p.add(v * S::LANES))
                }
            };
            let c = job.c.add(i * job.n + j);
            let mut sum = [[S::splat(0.0); NR]; MR];
            match piece.start {
                From::Zero => {}
                From::Bias(bias) => {
                    for v in 0..NR {
                        let value = read(bias.add(j), v);
                        for row in &mut sum {
                            row[v] = value;
                        }
                    }
                }
                From::Accumulate => {
                    for (r, row) in sum.iter_mut().enumerate() {
                        for (v, s) in row.iter_mut().enumerate() {
                            *s = read(c.add(r * job.n), v);
                        }
                    }
                }
            }
            let mut a = job.a.add(i * job.a_row + piece.from * job.a_col);
            let mut b = job.b.add(piece.from * job.n + j);
            for _ in 0..piece.k {
                let mut column = [S::splat(0.0); NR];
                for (v, x) in column.iter_mut().enumerate() {
                    *x = read(b, v);
                }
                for (r, row) in sum.iter_mut().enumerate() {
                    let x = S::splat(*a.add(r * job.a_row));
                    for (s, &y) in row.iter_mut().zip(&column) {
                        *s = S::fma(x, y, *s);
                    }
                }
                a = a.add(job.a_col);
                b = b.add(job.n);
            }
            match piece.finish {
                Finish::Keep => {}
                Finish::Relu => {
                    for s in sum.as_flattened_mut() {
                        *s = S::max(*s, S::splat(0.0));
                    }
                }
                Finish::WherePositive(gate) => {
                    let gate = gate.add(i * job.n + j);
                    for (r, row) in sum.iter_mut().enumerate() {
                        for (v, s) in row.iter_mut().enumerate() {
                            *s = S::where_positive(read(gate.add(r * job.n), v), *s);
                        }
                    }
                }
            }
            for (r, row) in sum.iter().enumerate() {
                for (v, &s) in row.iter().enumerate() {
                    let p = c.add(r * job.n + v * S::LANES);
                    if PART && v == NR - 1 { S::store_part(p, part, s) } else { S::store(p, s) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rederive_math::Stream;

    /// Every tile shape, both orientations of A and every start, against a plain triple loop in f64.
    #[test]
    fn product_equals_the_triple_loop() {
        let mut rng = Stream::new(1, "product", 0);
        for m in [1, 2, 3, 4, 5, 6, 7, 13, 36, 64] {
            for n in [1, 2, 7, 8, 9, 15, 16, 17, 20, 31, 33, 48, 63, 64, 65, 84, 130] {
                for k in [1, 2, 5, 18, 64, 300] {
                    let mut draw = |len: usize| (0..len).map(|_| rng.normal() as f32).collect::<Vec<f32>>();
                    let (a, b, bias, before) = (draw(m * k), draw(k * n), draw(n), draw(m * n));
                    for transposed in [false, true] {
                        let view = if transposed { Matrix::rows(&a, m).t() } else { Matrix::rows(&a, k) };
                        for start in [Start::Zero, Start::Bias(&bias), Start::Accumulate] {
                            let mut c = before.clone();
                            product(m, k, n, view, &b, start, &mut c);
                            for finish in [Finish::Relu, Finish::WherePositive(&before)] {
                                let mut finished = before.clone();
                                product_then(m, k, n, view, &b, start, finish, &mut finished);
                                let mut want = c.clone();
                                match finish {
                                    Finish::Relu => Activation::Relu.apply(&mut want),
                                    _ => Activation::Relu.chain(&before, &mut want),
                                }
                                assert_eq!(finished, want, "[{m},{k},{n}] {finish:?}");
                            }
                            let mut by_ndarray = before.clone();
                            generic(m, k, n, view, &b, start, &mut by_ndarray);
                            for i in 0..m {
                                for j in 0..n {
                                    let mut want = match start {
                                        Start::Zero => 0.0,
                                        Start::Bias(_) => f64::from(bias[j]),
                                        Start::Accumulate => f64::from(before[i * n + j]),
                                    };
                                    let mut scale = want.abs();
                                    for l in 0..k {
                                        let x = f64::from(a[i * view.row + l * view.col])
                                            * f64::from(b[l * n + j]);
                                        want += x;
                                        scale += x.abs();
                                    }
                                    for got in [c[i * n + j], by_ndarray[i * n + j]] {
                                        let error = (f64::from(got) - want).abs();
                                        assert!(
                                            error <= 1e-6 * scale,
                                            "[{m},{k},{n}] at ({i},{j}): {got} {want}"
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
