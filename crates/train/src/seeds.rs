use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Calls `run(index, seed)` for every seed on up to `threads` threads, and returns the results in the order of `seeds`.
///
/// A seed is one job: its result does not depend on the number of threads. With one thread, everything runs on the caller's.
///
/// # Panics
/// If `run` panics.
pub fn spread<R: Send>(seeds: &[u64], threads: usize, run: impl Fn(usize, u64) -> R + Sync) -> Vec<R> {
    if threads <= 1 || seeds.len() <= 1 {
        return seeds.iter().enumerate().map(|(i, &seed)| run(i, seed)).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = seeds.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&seed) = seeds.get(i) else { break };
                    let result = run(i, seed);
                    *results[i].lock().expect("nobody panics while storing a result") = Some(result);
                }
            });
        }
    });
    let result = |slot: Mutex<Option<R>>| slot.into_inner().ok().flatten().expect("every seed was run");
    results.into_iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_seeds_whatever_the_number_of_threads() {
        let seeds: Vec<u64> = (10..30).rev().collect();
        let run = |i: usize, seed: u64| {
            thread::sleep(std::time::Duration::from_micros(seed * 7 % 11 * 50));
            (i, seed * seed)
        };
        let one = spread(&seeds, 1, run);
        assert_eq!(one, spread(&seeds, 3, run));
        assert_eq!(one, spread(&seeds, 99, run));
        assert_eq!(one[2], (2, 27 * 27));
        assert!(spread(&[], 4, run).is_empty());
    }

    #[test]
    #[should_panic]
    fn a_panic_is_not_swallowed() {
        spread(&[1, 2, 3], 2, |_, seed| assert_ne!(seed, 2));
    }
}
