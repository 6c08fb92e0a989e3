//! Advantage estimation in `f32` with vector registers.
//!
//! The same products, sums and selects in the same order as the generic code, hence the same bits. What the compiler does not
//! find by itself: the chain of a narrow rollout in registers, and outputs that bypass the caches where they are too large to stay
//! there, which saves reading every line before it is overwritten.

use crate::End;
use crate::dispatch::Level;
use crate::simd::{Avx2, Avx128, Avx512, Simd};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Columns of `[T,N]` arrays: where column 0 of row 0 lies, and how far apart rows are.
pub(super) struct Rows<T> {
    pub(super) first: T,
    pub(super) stride: isize,
}

/// One block of columns; every pointer is valid for `steps` rows of `envs` contiguous entries at its stride.
pub(super) struct Block {
    pub(super) steps: usize,
    pub(super) envs: usize,
    pub(super) reward: Rows<*const f32>,
    pub(super) value: Rows<*const f32>,
    pub(super) next_value: Rows<*const f32>,
    pub(super) end: Rows<*const End>,
    pub(super) advantage: Rows<*mut f32>,
    pub(super) return_: Rows<*mut f32>,
}

/// What the episode ends ask for, on top of arithmetic.
trait Select: Simd {
    /// `next_value` where `end` is not `Terminated`, else 0; and `chain` where it is `No`, else 0.
    unsafe fn select(end: *const End, next_value: Self::V, chain: Self::V) -> (Self::V, Self::V);
}

impl Select for Avx512 {
    #[inline(always)]
    unsafe fn select(end: *const End, next_value: __m512, chain: __m512) -> (__m512, __m512) {
        // SAFETY: the caller has the instruction set and LANES readable ends; `End` is one byte.
        unsafe {
            let end = _mm512_cvtepu8_epi32(_mm_loadu_si128(end.cast()));
            let alive = _mm512_cmpneq_epi32_mask(end, _mm512_set1_epi32(End::Terminated as i32));
            let goes_on = _mm512_testn_epi32_mask(end, end);
            (_mm512_maskz_mov_ps(alive, next_value), _mm512_maskz_mov_ps(goes_on, chain))
        }
    }
}

impl Select for Avx2 {
    #[inline(always)]
    unsafe fn select(end: *const End, next_value: __m256, chain: __m256) -> (__m256, __m256) {
        // SAFETY: the caller has the instruction set and LANES readable ends; `End` is one byte.
        unsafe {
            let end = _mm256_cvtepu8_epi32(_mm_loadl_epi64(end.cast()));
            let terminated = _mm256_cmpeq_epi32(end, _mm256_set1_epi32(End::Terminated as i32));
            let goes_on = _mm256_cmpeq_epi32(end, _mm256_setzero_si256());
            let next_value = _mm256_andnot_ps(_mm256_castsi256_ps(terminated), next_value);
            (next_value, _mm256_and_ps(_mm256_castsi256_ps(goes_on), chain))
        }
    }
}

impl Select for Avx128 {
    #[inline(always)]
    unsafe fn select(end: *const End, next_value: __m128, chain: __m128) -> (__m128, __m128) {
        // SAFETY: the caller has the instruction set and LANES readable ends; `End` is one byte and four of them make an `i32`, read without a claim to its alignment.
        unsafe {
            let end = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(end.cast::<i32>().read_unaligned()));
            let terminated = _mm_cmpeq_epi32(end, _mm_set1_epi32(End::Terminated as i32));
            let goes_on = _mm_cmpeq_epi32(end, _mm_setzero_si128());
            let next_value = _mm_andnot_ps(_mm_castsi128_ps(terminated), next_value);
            (next_value, _mm_and_ps(_mm_castsi128_ps(goes_on), chain))
        }
    }
}

/// The entries of one row: all pointers of a block at one place.
#[derive(Clone, Copy)]
struct At {
    reward: *const f32,
    value: *const f32,
    next_value: *const f32,
    end: *const End,
    advantage: *mut f32,
    return_: *mut f32,
}

impl Block {
    /// Row `t` from column `column`.
    #[inline(always)]
    unsafe fn at(&self, t: usize, column: usize) -> At {
        let (t, column) = (t as isize, column as isize);
        // SAFETY: the caller stays inside the block.
        unsafe {
            At {
                reward: self.reward.first.offset(t * self.reward.stride + column),
                value: self.value.first.offset(t * self.value.stride + column),
                next_value: self.next_value.first.offset(t * self.next_value.stride + column),
                end: self.end.first.offset(t * self.end.stride + column),
                advantage: self.advantage.first.offset(t * self.advantage.stride + column),
                return_: self.return_.first.offset(t * self.return_.stride + column),
            }
        }
    }
}

/// `LANES` steps at `at + i`: the new chain, which is the advantage, and the return.
#[inline(always)]
unsafe fn step<L: Select>(at: At, i: usize, chain: L::V, gamma: L::V, decay: L::V) -> (L::V, L::V) {
    // SAFETY: the caller has the instruction set, and the entries lie inside the block.
    unsafe {
        let value = L::load(at.value.add(i));
        let (next_value, chain) = L::select(at.end.add(i), L::load(at.next_value.add(i)), chain);
        let delta = L::sub(L::add(L::load(at.reward.add(i)), L::mul(gamma, next_value)), value);
        let advantage = L::add(delta, L::mul(decay, chain));
        (advantage, L::add(advantage, value))
    }
}

/// One step of one environment, as the generic code does it.
#[inline(always)]
unsafe fn single(at: At, i: usize, chain: f32, gamma: f32, decay: f32) -> f32 {
    // SAFETY: the entry lies inside the block.
    unsafe {
        let value = *at.value.add(i);
        let advantage =
            super::step(*at.reward.add(i), value, *at.next_value.add(i), *at.end.add(i), chain, gamma, decay);
        *at.advantage.add(i) = advantage;
        *at.return_.add(i) = advantage + value;
        advantage
    }
}

/// All rows of `K` registers of columns from `column`, with the chains in registers; returns how many columns that is.
#[inline(always)]
unsafe fn chains<L: Select, const K: usize>(block: &Block, column: usize, gamma: f32, decay: f32) -> usize {
    // SAFETY: the caller has the instruction set, and the columns lie inside the block.
    unsafe {
        let mut chain = [L::splat(0.0); K];
        let (gamma, decay) = (L::splat(gamma), L::splat(decay));
        for t in (0..block.steps).rev() {
            let at = block.at(t, column);
            let mut return_ = chain;
            for k in 0..K {
                (chain[k], return_[k]) = step::<L>(at, k * L::LANES, chain[k], gamma, decay);
            }
            for (k, &advantage) in chain.iter().enumerate() {
                L::store(at.advantage.add(k * L::LANES), advantage);
            }
            for (k, &return_) in return_.iter().enumerate() {
                L::store(at.return_.add(k * L::LANES), return_);
            }
        }
    }
    K * L::LANES
}

/// A narrow block: a few columns at a time through all rows, `K` registers of `L` while there are as many.
#[inline(always)]
unsafe fn narrow<L: Select, const K: usize>(block: &Block, gamma: f32, decay: f32) {
    let mut column = 0;
    while column < block.envs {
        // SAFETY: the caller has the instruction set of `L` and AVX2, and the columns lie inside the block.
        column += unsafe {
            match block.envs - column {
                left if left >= K * L::LANES => chains::<L, K>(block, column, gamma, decay),
                16.. => chains::<Avx2, 2>(block, column, gamma, decay),
                8.. => chains::<Avx2, 1>(block, column, gamma, decay),
                4.. => chains::<Avx128, 1>(block, column, gamma, decay),
                _ => {
                    let mut chain = 0.0;
                    for t in (0..block.steps).rev() {
                        chain = single(block.at(t, column), 0, chain, gamma, decay);
                    }
                    1
                }
            }
        };
    }
}

/// The chain of this many columns stays in the first-level cache.
const TILE: usize = 4096;

/// Rows of at least this many columns are worth aligned stores.
const ALIGNED: usize = 512;

/// The chain of one tile, on a cache line's boundary.
#[repr(align(64))]
struct Chain(MaybeUninit<[f32; TILE + LINE]>);

/// `f32` in a cache line.
const LINE: usize = 16;

/// A wide block: whole rows, or pieces of `TILE` columns of them.
///
/// With `STREAM` the outputs bypass the caches, and the chain has a place of its own; without, it is the row below.
#[inline(always)]
unsafe fn wide<L: Select, const STREAM: bool>(block: &Block, gamma: f32, decay: f32) {
    let mut chain = Chain(MaybeUninit::uninit());
    let chain = chain.0.as_mut_ptr().cast::<f32>();
    let tiles = block.envs.div_ceil(TILE);
    let tile = block.envs.div_ceil(tiles).next_multiple_of(16).min(TILE);
    let mut column = 0;
    while column < block.envs {
        let n = tile.min(block.envs - column);
        // SAFETY: the caller has the instruction set; `column + n <= envs` and `n <= TILE`, so entries lie inside the block and the
        // chain, of which `n` entries are written before they are read. There is a row: the caller has checked it.
        unsafe {
            // The chain lies on its cache lines as the last row of advantages does.
            let last = block.at(block.steps - 1, column);
            let chain = chain.add((LINE - last.advantage.align_offset(64) % LINE) % LINE);
            chain.write_bytes(0, n);
            let mut after = chain;
            for t in (0..block.steps).rev() {
                let at = block.at(t, column);
                if STREAM && t > 0 {
                    // The first line of a row is written in two pieces through the cache, and streamed stores wait behind
                    // them: have it there in time.
                    let next = block.at(t - 1, column);
                    _mm_prefetch::<_MM_HINT_T0>(next.advantage.cast());
                    _mm_prefetch::<_MM_HINT_T0>(next.return_.cast());
                }
                if n >= L::LANES {
                    row::<L, STREAM>(at, n, after, gamma, decay);
                } else {
                    few::<STREAM>(at, n, after, gamma, decay);
                }
                if !STREAM {
                    after = at.advantage;
                }
            }
        }
        column += n;
    }
    if STREAM {
        // SAFETY: SSE is part of x86-64. Streamed stores must be visible before the caller hands the arrays on.
        unsafe { _mm_sfence() };
    }
}

/// Fewer steps of one row than a register holds.
#[inline(never)]
unsafe fn few<const STREAM: bool>(at: At, n: usize, after: *mut f32, gamma: f32, decay: f32) {
    for i in 0..n {
        // SAFETY: the entries lie inside the block and the chain.
        unsafe {
            let advantage = single(at, i, *after.add(i), gamma, decay);
            if STREAM {
                *after.add(i) = advantage;
            }
        }
    }
}

/// `n >= LANES` steps of one row, whose chain is at `after`. With `STREAM`, whole registers go to aligned addresses, and the new
/// chain replaces the old.
#[inline(always)]
unsafe fn row<L: Select, const STREAM: bool>(at: At, n: usize, after: *mut f32, gamma: f32, decay: f32) {
    // SAFETY: the caller has the instruction set, and the entries lie inside the block and the chain. The pieces before and after
    // whole registers read a whole register inside the row and store only their own lanes: the others may have a new chain
    // already. A streamed store is aligned: `head` makes the advantages so, and the caller has checked that the returns lie
    // as they do.
    unsafe {
        let (gamma, decay) = (L::splat(gamma), L::splat(decay));
        // Only streamed stores need it; where the row is short, a piece before the rest costs more than it saves.
        let align = STREAM || n >= ALIGNED;
        let head = if align { at.advantage.align_offset(size_of::<L::V>()) % L::LANES } else { 0 };
        if head > 0 {
            let (advantage, return_) = step::<L>(at, 0, L::load(after), gamma, decay);
            if STREAM {
                L::store_part(after, head, advantage);
            }
            L::store_part(at.advantage, head, advantage);
            L::store_part(at.return_, head, return_);
        }
        let mut i = head;
        // All loads of four registers before their stores, which the CPU may otherwise take for loads of what was just stored:
        // arrays tend to lie a multiple of 4096 bytes apart.
        while i + 4 * L::LANES <= n {
            several::<L, STREAM, 4>(at, i, after, gamma, decay);
            i += 4 * L::LANES;
        }
        while i + L::LANES <= n {
            several::<L, STREAM, 1>(at, i, after, gamma, decay);
            i += L::LANES;
        }
        let tail = n - i;
        if tail > 0 {
            let from = n - L::LANES;
            let (advantage, return_) = step::<L>(at, from, L::load(after.add(from)), gamma, decay);
            if STREAM {
                L::store_last(after.add(from), tail, advantage);
            }
            L::store_last(at.advantage.add(from), tail, advantage);
            L::store_last(at.return_.add(from), tail, return_);
        }
    }
}

/// `K` whole registers from entry `i` on.
#[inline(always)]
unsafe fn several<L: Select, const STREAM: bool, const K: usize>(
    at: At,
    i: usize,
    after: *mut f32,
    gamma: L::V,
    decay: L::V,
) {
    // SAFETY: as in `row`.
    unsafe {
        let (mut advantage, mut return_) = ([gamma; K], [gamma; K]);
        for k in 0..K {
            let i = i + k * L::LANES;
            (advantage[k], return_[k]) = step::<L>(at, i, L::load(after.add(i)), gamma, decay);
        }
        // One output after the other: unaligned stores next to each other share lines.
        for (k, &advantage) in advantage.iter().enumerate() {
            let i = i + k * L::LANES;
            if STREAM {
                L::store(after.add(i), advantage);
                L::stream(at.advantage.add(i), advantage);
            } else {
                L::store(at.advantage.add(i), advantage);
            }
        }
        for (k, &return_) in return_.iter().enumerate() {
            let i = i + k * L::LANES;
            if STREAM {
                L::stream(at.return_.add(i), return_);
            } else {
                L::store(at.return_.add(i), return_);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(block: &Block, gamma: f32, decay: f32, stream: bool) {
    // SAFETY: this function has AVX-512F and AVX2; the rest is the caller's promise.
    unsafe {
        if block.envs <= super::NARROW {
            narrow::<Avx512, 4>(block, gamma, decay);
        } else if stream {
            wide::<Avx512, true>(block, gamma, decay);
        } else {
            wide::<Avx512, false>(block, gamma, decay);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(block: &Block, gamma: f32, decay: f32, stream: bool) {
    // SAFETY: this function has AVX2; the rest is the caller's promise.
    unsafe {
        if block.envs <= super::NARROW {
            narrow::<Avx2, 4>(block, gamma, decay);
        } else if stream {
            wide::<Avx2, true>(block, gamma, decay);
        } else {
            wide::<Avx2, false>(block, gamma, decay);
        }
    }
}

/// Runs the block if there is code for this level; `stream` asks for stores past the caches.
///
/// # Safety
/// The level is this CPU's, and the pointers keep the promise of [`Block`].
pub(super) unsafe fn run(level: Level, block: &Block, gamma: f32, decay: f32, stream: bool) -> bool {
    // Streamed stores to both outputs need both on the same place of a cache line, in every row.
    let apart = (block.advantage.first as isize).wrapping_sub(block.return_.first as isize);
    let stream = stream && apart % 64 == 0 && block.advantage.stride == block.return_.stride;
    // SAFETY: the caller's promises, and the level.
    unsafe {
        match level {
            // The wide registers need 16 columns.
            Level::Avx512 if block.envs >= 16 => avx512(block, gamma, decay, stream),
            Level::Avx512 | Level::Avx2 => avx2(block, gamma, decay, stream),
            Level::Baseline => return false,
        }
    }
    true
}
