//! The last four columns of a product whose rows are whole AVX-512 registers and a quarter: 84 columns, for one.
//!
//! In a tile they would take as many multiplications as 16 columns. Here one register holds all four, four times: either for
//! four terms of the sum, which are added up at the end, or, where A is transposed, for four rows of C. Which of them
//! it is depends on the strides of A, and whether it is done at all on `k`, `n` and those strides: never on how many rows a
//! batch has, so that the order of a sum does not either.

use super::tiles::{DEEP, Finish, From, Job};
use rederive_math::simd::{Avx128, Avx512, Simd};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// How many columns there are.
pub(super) const TAIL: usize = 4;

/// Whether [`columns`] is to compute them. A shorter sum is not worth it, and a longer one is taken in pieces.
pub(super) fn applies(job: &Job) -> bool {
    let shape = job.n > Avx512::LANES && job.n % Avx512::LANES == TAIL && (16..DEEP).contains(&job.k);
    shape && (job.a_col == 1 || (job.a_row == 1 && job.m.is_multiple_of(TAIL)))
}

/// Computes the last four columns.
///
/// # Safety
/// As for a whole product, and [`applies`].
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn columns(job: &Job) {
    let j = job.n - TAIL;
    // SAFETY: the caller vouches for the job; the groups of rows cover m and no more, and so do the four columns from j on with n.
    unsafe {
        if job.a_col == 1 {
            let mut packed = [MaybeUninit::<f32>::uninit(); TAIL * DEEP];
            let packed = packed.as_mut_ptr().cast::<f32>();
            if job.m < TAIL {
                // Packing would take longer than the product.
                (0..job.m).for_each(|i| four_terms::<1>(job, i, j, None));
                return;
            }
            for l in 0..job.k {
                Avx128::store(packed.add(TAIL * l), Avx128::load(job.b.add(l * job.n + j)));
            }
            let mut i = 0;
            while job.m - i >= 8 {
                four_terms::<8>(job, i, j, Some(packed));
                i += 8;
            }
            (i..job.m).for_each(|i| four_terms::<1>(job, i, j, Some(packed)));
        } else {
            let mut i = 0;
            while job.m - i >= 8 * TAIL {
                four_rows::<8>(job, i, j);
                i += 8 * TAIL;
            }
            (i..job.m).step_by(TAIL).for_each(|i| four_rows::<1>(job, i, j));
        }
    }
}

/// The first four lanes, each four times, in a register that repeats them.
#[inline]
#[target_feature(enable = "avx512f")]
fn each_four_times(lanes: __m128) -> __m512 {
    let order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    _mm512_permutevar_ps(_mm512_broadcast_f32x4(lanes), order)
}

/// The four quarters of a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(v: __m512) -> [__m128; 4] {
    [
        _mm512_castps512_ps128(v),
        _mm512_extractf32x4_ps::<1>(v),
        _mm512_extractf32x4_ps::<2>(v),
        _mm512_extractf32x4_ps::<3>(v),
    ]
}

/// ROWS rows of C; a quarter of a register belongs to every fourth term.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
unsafe fn four_terms<const ROWS: usize>(job: &Job, i: usize, j: usize, packed: Option<*const f32>) {
    // SAFETY: rows i..i + ROWS and columns j..j + 4 exist; `packed` holds the four columns of B for all k terms.
    unsafe {
        let row = |l: usize| match packed {
            Some(packed) => packed.add(TAIL * l),
            None => job.b.add(l * job.n + j),
        };
        let b = |l: usize| match packed {
            Some(packed) => Avx512::load(packed.add(TAIL * l)),
            None => {
                let v = _mm512_castps128_ps512(Avx128::load(row(l)));
                let v = _mm512_insertf32x4::<1>(v, Avx128::load(row(l + 1)));
                let v = _mm512_insertf32x4::<2>(v, Avx128::load(row(l + 2)));
                _mm512_insertf32x4::<3>(v, Avx128::load(row(l + 3)))
            }
        };
        let a = |r: usize, l: usize| job.a.add((i + r) * job.a_row + l);
        let mut sum = [Avx512::splat(0.0); ROWS];
        let whole = job.k / TAIL * TAIL;
        for l in (0..whole).step_by(TAIL) {
            let y = b(l);
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = Avx512::fma(each_four_times(Avx128::load(a(r, l))), y, *sum);
            }
        }
        for (r, sum) in sum.into_iter().enumerate() {
            let [p, q, s, t] = quarters(sum);
            let mut total = Avx128::add(Avx128::add(p, q), Avx128::add(s, t));
            for l in whole..job.k {
                total = Avx128::fma(Avx128::splat(*a(r, l)), Avx128::load(row(l)), total);
            }
            let at = (i + r) * job.n + j;
            let total = match job.start {
                From::Zero => total,
                From::Bias(bias) => Avx128::add(total, Avx128::load(bias.add(j))),
                From::Accumulate => Avx128::add(total, Avx128::load(job.c.add(at))),
            };
            store(job, at, total);
        }
    }
}

/// Four times GROUPS rows of C; a quarter of a register belongs to one row.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
unsafe fn four_rows<const GROUPS: usize>(job: &Job, i: usize, j: usize) {
    // SAFETY: rows i..i + 4 GROUPS and columns j..j + 4 exist, and neighbouring rows of A are neighbours in memory.
    unsafe {
        let at = |g: usize, r: usize| (i + TAIL * g + r) * job.n + j;
        let mut sum = [Avx512::splat(0.0); GROUPS];
        for (g, sum) in sum.iter_mut().enumerate() {
            let start = |r: usize| match job.start {
                From::Zero => Avx128::splat(0.0),
                From::Bias(bias) => Avx128::load(bias.add(j)),
                From::Accumulate => Avx128::load(job.c.add(at(g, r))),
            };
            let v = _mm512_castps128_ps512(start(0));
            let v = _mm512_insertf32x4::<1>(v, start(1));
            let v = _mm512_insertf32x4::<2>(v, start(2));
            *sum = _mm512_insertf32x4::<3>(v, start(3));
        }
        let (mut a, mut b) = (job.a.add(i), job.b.add(j));
        for _ in 0..job.k {
            let y = _mm512_broadcast_f32x4(Avx128::load(b));
            for (g, sum) in sum.iter_mut().enumerate() {
                *sum = Avx512::fma(each_four_times(Avx128::load(a.add(TAIL * g))), y, *sum);
            }
            a = a.add(job.a_col);
            b = b.add(job.n);
        }
        for (g, &sum) in sum.iter().enumerate() {
            for (r, row) in quarters(sum).into_iter().enumerate() {
                store(job, at(g, r), row);
            }
        }
    }
}

/// Finishes and stores four numbers of C.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn store(job: &Job, at: usize, v: __m128) {
    // SAFETY: the caller guarantees that the four numbers exist.
    unsafe {
        let v = match job.finish {
            Finish::Keep => v,
            Finish::Relu => Avx128::max(v, Avx128::splat(0.0)),
            Finish::WherePositive(gate) => Avx128::where_positive(Avx128::load(gate.add(at)), v),
        };
        Avx128::store(job.c.add(at), v);
    }
}
