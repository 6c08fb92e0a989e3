//! The vector operations that hand-written kernels are made of, once per instruction set.
//!
//! A kernel is an `#[inline(always)]` function generic over [`Simd`]; it is compiled into a small wrapper that carries the
//! matching `#[target_feature]`, and [`level`](crate::dispatch::level) picks the wrapper at run time.

use std::arch::x86_64::*;

/// A vector of `f32`.
///
/// # Safety
/// Every method needs the instruction set that the implementing type names, and pointers that are valid for the entries it
/// reads or writes; no alignment is needed unless a method says so.
#[allow(clippy::missing_safety_doc)] // said once, above
pub trait Simd {
    /// One register.
    type V: Copy;
    /// How many `f32` it holds.
    const LANES: usize;

    /// The same number in all lanes.
    unsafe fn splat(x: f32) -> Self::V;
    /// Loads `LANES` values.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Loads `n < LANES` values; the other lanes are 0 and their memory is not touched.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    /// Stores `LANES` values.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Stores the first `n < LANES` values only.
    unsafe fn store_part(p: *mut f32, n: usize, v: Self::V);
    /// Stores the last `n < LANES` values only, where they would lie in a whole store to `p`.
    unsafe fn store_last(p: *mut f32, n: usize, v: Self::V);
    /// Stores past the caches; `p` is aligned to the size of the register.
    unsafe fn stream(p: *mut f32, v: Self::V);
    /// `a + b`
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of `a` and `b`; `b` where they are equal or one is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `gate > 0`, else 0.
    unsafe fn where_positive(gate: Self::V, a: Self::V) -> Self::V;
    /// The sum of all lanes: halves added to halves.
    unsafe fn sum(v: Self::V) -> f32;
}

/// Eight zeros, eight ones, eight zeros: a window into it is a mask of the first or the last lanes.
static MASK: [i32; 24] = [0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Implements one method per line: arguments, result, and the expression.
macro_rules! methods {
    ($($name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $body:expr;)*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller has the instruction set and valid pointers, by the trait's contract; masked lanes are
                // neither read nor written, and windows into the mask table lie inside it.
                unsafe { $body }
            }
        )*
    };
}

/// 16 lanes: AVX-512F.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    methods! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        load(p: *const f32) -> __m512 = _mm512_loadu_ps(p);
        load_part(p: *const f32, n: usize) -> __m512 = _mm512_maskz_loadu_ps((1 << n) - 1, p);
        store(p: *mut f32, v: __m512) = _mm512_storeu_ps(p, v);
        store_part(p: *mut f32, n: usize, v: __m512) = _mm512_mask_storeu_ps(p, (1 << n) - 1, v);
        store_last(p: *mut f32, n: usize, v: __m512) = _mm512_mask_storeu_ps(p, !(u16::MAX >> n), v);
        stream(p: *mut f32, v: __m512) = _mm512_stream_ps(p, v);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        where_positive(gate: __m512, a: __m512) -> __m512 = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate, _mm512_setzero_ps()), a);
        sum(v: __m512) -> f32 = _mm512_reduce_add_ps(v);
    }
}

/// 8 lanes: AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    methods! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        load(p: *const f32) -> __m256 = _mm256_loadu_ps(p);
        load_part(p: *const f32, n: usize) -> __m256 = _mm256_maskload_ps(p, _mm256_loadu_si256(MASK.as_ptr().add(16 - n).cast()));
        store(p: *mut f32, v: __m256) = _mm256_storeu_ps(p, v);
        store_part(p: *mut f32, n: usize, v: __m256) = _mm256_maskstore_ps(p, _mm256_loadu_si256(MASK.as_ptr().add(16 - n).cast()), v);
        store_last(p: *mut f32, n: usize, v: __m256) = _mm256_maskstore_ps(p, _mm256_loadu_si256(MASK.as_ptr().add(n).cast()), v);
        stream(p: *mut f32, v: __m256) = _mm256_stream_ps(p, v);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        where_positive(gate: __m256, a: __m256) -> __m256 = _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(gate, _mm256_setzero_ps()), a);
        sum(v: __m256) -> f32 = Avx128::sum(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)));
    }
}

/// 4 lanes, with the instructions of AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx128;

impl Simd for Avx128 {
    type V = __m128;
    const LANES: usize = 4;
    methods! {
        splat(x: f32) -> __m128 = _mm_set1_ps(x);
        load(p: *const f32) -> __m128 = _mm_loadu_ps(p);
        load_part(p: *const f32, n: usize) -> __m128 = _mm_maskload_ps(p, _mm_loadu_si128(MASK.as_ptr().add(16 - n).cast()));
        store(p: *mut f32, v: __m128) = _mm_storeu_ps(p, v);
        store_part(p: *mut f32, n: usize, v: __m128) = _mm_maskstore_ps(p, _mm_loadu_si128(MASK.as_ptr().add(16 - n).cast()), v);
        store_last(p: *mut f32, n: usize, v: __m128) = _mm_maskstore_ps(p, _mm_loadu_si128(MASK.as_ptr().add(4 + n).cast()), v);
        stream(p: *mut f32, v: __m128) = _mm_stream_ps(p, v);
        add(a: __m128, b: __m128) -> __m128 = _mm_add_ps(a, b);
        sub(a: __m128, b: __m128) -> __m128 = _mm_sub_ps(a, b);
        mul(a: __m128, b: __m128) -> __m128 = _mm_mul_ps(a, b);
        fma(a: __m128, b: __m128, c: __m128) -> __m128 = _mm_fmadd_ps(a, b, c);
        max(a: __m128, b: __m128) -> __m128 = _mm_max_ps(a, b);
        where_positive(gate: __m128, a: __m128) -> __m128 = _mm_and_ps(_mm_cmp_ps::<_CMP_GT_OQ>(gate, _mm_setzero_ps()), a);
        sum(v: __m128) -> f32 = {
            let pair = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        };
    }
}
