//! The loop that everything here spends its time in: `r + gamma sum_s' p v(s')` for a run of rows.
//!
//! What has to come from memory is a probability and an index per entry, and a reward and an offset per row; `v` is read at
//! random. Rows of several entries are read eight entries at a time with a masked gather, and the sums of eight rows are added up
//! together: horizontal sums row by row cost as much as the loads. Short rows go one entry at a time.

use rederive_env::Mdp;
use rederive_math::Real;
use std::ops::Range;

/// What rows without rewards earn.
static ZEROS: [f64; 1024] = [0.0; 1024];

/// Rows of transition probabilities with the mean reward of each: all pairs of a process, or the pairs that a policy chose.
#[derive(Clone, Copy)]
pub struct Rows<'a, P> {
    pub first_entry: &'a [u32],
    pub prob: &'a [P],
    pub next: &'a [u32],
    pub reward: &'a [f64],
}

impl<'a, P: Real> Rows<'a, P> {
    pub fn of(mdp: &'a Mdp<P>) -> Self {
        Rows { first_entry: mdp.first_entry(), prob: mdp.prob(), next: mdp.next(), reward: mdp.reward() }
    }

    /// Writes `reward[i] + gamma sum prob v(next)` for the rows of `range` into `out`.
    ///
    /// All indices of rows are those that [`rederive_env::MdpBuilder`] checked: next states lie below the number of states.
    #[inline]
    pub fn backup(&self, range: Range<usize>, v: &[f64], gamma: f64, out: &mut [f64]) {
        assert_eq!(range.len(), out.len(), "rows against the length of `out`");
        let first_entry = &self.first_entry[range.start..range.end + 1];
        self.rows(first_entry, &self.reward[range], v, gamma, out);
    }

    /// The same without the rewards: `gamma P v`.
    #[inline]
    pub fn product(&self, range: Range<usize>, v: &[f64], gamma: f64, out: &mut [f64]) {
        assert_eq!(range.len(), out.len(), "rows against the length of `out`");
        for (i, out) in out.chunks_mut(ZEROS.len()).enumerate() {
            let first = range.start + i * ZEROS.len();
            self.rows(&self.first_entry[first..first + out.len() + 1], &ZEROS[..out.len()], v, gamma, out);
        }
    }

    #[inline]
    fn rows(&self, first_entry: &[u32], reward: &[f64], v: &[f64], gamma: f64, out: &mut [f64]) {
        #[cfg(target_arch = "x86_64")]
        {
            use rederive_math::dispatch::{Level, level};
            let entries = (first_entry[out.len()] - first_entry[0]) as usize;
            if level() == Level::Avx512 && 4 * entries >= 5 * out.len() && v.len() <= i32::MAX as usize {
                // SAFETY: the level says that this CPU has the features.
                unsafe { x86::gather(first_entry, self.prob, self.next, reward, v, gamma, out) };
                return;
            }
        }
        one_by_one(first_entry, self.prob, self.next, reward, v, gamma, out);
    }
}

rederive_math::multiversion! {
    fn one_by_one<F: Real>(
        first_entry: &[u32],
        prob: &[F],
        next: &[u32],
        reward: &[f64],
        v: &[f64],
        gamma: f64,
        out: &mut [f64],
    ) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = gamma.mul_add(dot(first_entry[i] as usize, first_entry[i + 1] as usize, prob, next, v), reward[i]);
        }
    }
}

/// `sum prob v(next)` over the entries `low..high`.
#[inline(always)]
fn dot<P: Real>(low: usize, high: usize, prob: &[P], next: &[u32], v: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (&p, &s) in prob[low..high].iter().zip(&next[low..high]) {
        debug_assert!((s as usize) < v.len());
        // SAFETY: next states lie below the number of states, which is the length of `v`: the builder of the process and the
        // callers, who give a `v` of that length, see to it. The check costs a third of the loop.
        let value = unsafe { *v.get_unchecked(s as usize) };
        sum = p.to_f64().mul_add(value, sum);
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use rederive_math::Real;
    use std::arch::x86_64::*;

    /// Eight probabilities of which the first few are there, as `f64`.
    #[inline(always)]
    unsafe fn load<P: Real>(p: *const P, mask: u8) -> __m512d {
        // SAFETY: the caller has AVX-512 and `p` is valid for the lanes of the mask; a `Real` of 4 bytes is an f32, and one of
        // 8 bytes an f64.
        unsafe {
            if size_of::<P>() == 4 {
                _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, p.cast()))
            } else {
                _mm512_maskz_loadu_pd(mask, p.cast())
            }
        }
    }

    /// The sums of eight registers, in one.
    #[inline(always)]
    unsafe fn sums(v: [__m512d; 8]) -> __m512d {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let pairs = |a, b| _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            let quarters =
                |a, b| _mm512_add_pd(_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
            let (a, b) = (pairs(v[0], v[1]), pairs(v[2], v[3]));
            let (c, d) = (pairs(v[4], v[5]), pairs(v[6], v[7]));
            quarters(quarters(a, b), quarters(c, d))
        }
    }

    /// Eight rows at a time, eight entries of a row at a time.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
    pub fn gather<P: Real>(
        first_entry: &[u32],
        prob: &[P],
        next: &[u32],
        reward: &[f64],
        v: &[f64],
        gamma: f64,
        out: &mut [f64],
    ) {
        assert!(first_entry.len() == out.len() + 1 && reward.len() == out.len());
        assert!(first_entry[out.len()] as usize <= prob.len().min(next.len()));
        let mut i = 0;
        while i < out.len() {
            let rows = (out.len() - i).min(8);
            // SAFETY: this function's features; the entries of a row lie within `prob` and `next` (offsets rise, and the last was
            // compared), next states lie within `v` (see `dot`), masked lanes touch no memory, rows `i..i + rows` exist.
            unsafe {
                let mut total = [_mm512_setzero_pd(); 8];
                for (k, total) in total.iter_mut().enumerate().take(rows) {
                    let mut j = first_entry[i + k] as usize;
                    let end = first_entry[i + k + 1] as usize;
                    while j < end {
                        let mask = (0xff_u32 >> (8 - (end - j).min(8))) as u8;
                        let index = _mm256_maskz_loadu_epi32(mask, next.as_ptr().add(j).cast());
                        let zero = _mm512_setzero_pd();
                        let value = _mm512_mask_i32gather_pd::<8>(zero, mask, index, v.as_ptr().cast());
                        *total = _mm512_fmadd_pd(load(prob.as_ptr().add(j), mask), value, *total);
                        j += 8;
                    }
                }
                let mask = (0xff_u32 >> (8 - rows)) as u8;
                let mean = _mm512_maskz_loadu_pd(mask, reward.as_ptr().add(i));
                let backup = _mm512_fmadd_pd(_mm512_set1_pd(gamma), sums(total), mean);
                _mm512_mask_storeu_pd(out.as_mut_ptr().add(i), mask, backup);
            }
            i += rows;
        }
    }
}
