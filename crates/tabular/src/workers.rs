//! Sharing a sweep among threads. No result depends on how many there are: every entry of a result is computed by itself,
//! and sums are taken over chunks of a fixed size, in order.

use crate::SolveError;
use crate::options::config;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::ops::Range;

/// How many entries of a vector make a chunk of a sum, whatever the number of threads.
const CHUNK: usize = 1 << 14;

/// Below so many transitions, starting a second thread costs more than it brings (measured on two cores).
const PARALLEL: usize = 40_000;

pub struct Workers {
    pool: Option<ThreadPool>,
    threads: usize,
}

impl Workers {
    /// `threads` threads, or one for a process of few `entries`.
    pub fn new(threads: usize, entries: usize) -> Result<Self, SolveError> {
        if threads == 1 || entries < PARALLEL {
            return Ok(Workers { pool: None, threads: 1 });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| config("threads", threads, format!("fewer ({error})")))?;
        Ok(Workers { pool: Some(pool), threads })
    }

    /// Runs `f` on consecutive parts of `0..n` with the matching parts of `a` and `b`, and folds the results, in order.
    pub fn split<A: Send, B: Send, R: Send>(
        &self,
        n: usize,
        a: &mut [A],
        b: &mut [B],
        f: impl Fn(Range<usize>, &mut [A], &mut [B]) -> R + Sync,
        fold: impl Fn(R, R) -> R,
    ) -> R {
        let Some(pool) = &self.pool else {
            return f(0..n, a, b);
        };
        // Several parts per thread, because cores are not equally quick.
        let size = n.div_ceil(4 * self.threads).max(1);
        // A `b` that is not wanted is empty: it has as many (empty) parts as `a`.
        let parts: Vec<_> = if b.is_empty() {
            a.chunks_mut(size).map(|a| (a, &mut [][..])).collect()
        } else {
            a.chunks_mut(size).zip(b.chunks_mut(size)).collect()
        };
        let run = |(i, (a, b)): (usize, (&mut [A], &mut [B]))| {
            let first = i * size;
            f(first..first + a.len(), a, b)
        };
        let results: Vec<R> = pool.install(|| parts.into_par_iter().enumerate().map(run).collect());
        results.into_iter().reduce(fold).expect("at least one state")
    }

    /// The sum of `f` over chunks of `0..n`.
    pub fn sum(&self, n: usize, f: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
        let chunk = |i: usize| f(i * CHUNK..((i + 1) * CHUNK).min(n));
        let chunks = n.div_ceil(CHUNK);
        match &self.pool {
            None => (0..chunks).map(chunk).sum(),
            Some(pool) => {
                let parts: Vec<f64> = pool.install(|| (0..chunks).into_par_iter().map(chunk).collect());
                parts.into_iter().sum()
            }
        }
    }
}
