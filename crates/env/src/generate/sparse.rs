use crate::{Mdp, MdpArrays, Stream};
use rederive_math::Real;

/// Probabilities are multiples of this.
const UNIT: f64 = 1.0 / (1u32 << 24) as f64;

/// The most successors of a pair, so that each can have a probability of its own.
pub(super) const MAX_SUCCESSORS: u32 = 1 << 16;

/// How many states one stream of random numbers serves.
const BLOCK: usize = 1 << 12;

/// A random sparse process of `shape` = states, actions, successors, without an end.
///
/// Every pair has K successors drawn independently and uniformly from all states, with probabilities drawn uniformly from the
/// simplex (a flat Dirichlet distribution), and a reward uniform in [0, 1]. Such a process mixes within a few steps, whatever
/// its size: the span of a value iterate shrinks far faster than gamma per sweep, and no other process is as easy.
///
/// The result depends on `shape` and `seed` alone. It takes S A K (4 + size of `P`) + 12 S A + 4 S bytes and little more.
///
/// # Panics
/// If a number of `shape` is 0 or K is above 65536, or there are more than 2^32 - 1 entries.
pub fn random<P: Real>([states, actions, successors]: [u32; 3], seed: u64, threads: usize) -> Mdp<P> {
    fill([states, actions, successors], seed, threads, |_, rng, row: &mut Row<'_, P>| {
        row.next.fill_with(|| rng.below(states));
        row.weights.fill_with(|| rng.exponential());
        row.share(0, 1 << 24);
    })
}

/// A nearly periodic process of `shape` = states, actions, successors, without an end.
///
/// The states are dealt out to `period` classes, state s to class s mod `period`. With probability 1 - `escape` every action
/// leads to the next class, to K - 1 states of it drawn at random; with probability `escape` it stays in its class, at one
/// state of it drawn at random. (With K = 1 there is no escape.) Rewards are uniform in [0, 1].
///
/// Classes follow each other like this under every policy. The chain of classes therefore has the eigenvalues
/// `escape + (1 - escape) w^k` with w = exp(2 pi i / `period`), and they are eigenvalues of every policy's transition matrix. The
/// second one is close to 1 in modulus: successive iterates of value iteration keep turning, no stopping rule helps, and each sweep
/// takes away no more than a factor gamma. A Krylov method needs about `period` steps for them all.
///
/// # Panics
/// As [`random`]; or if `period` is not in 1..=S, or `escape` not in [0, 1].
pub fn cycle<P: Real>(shape: [u32; 3], period: u32, escape: f64, seed: u64, threads: usize) -> Mdp<P> {
    let [states, _, successors] = shape;
    assert!((1..=states).contains(&period), "period = {period}: must be in 1..={states}");
    assert!((0.0..=1.0).contains(&escape), "escape = {escape}: must be in [0, 1]");
    let escape = if successors == 1 { 0 } else { (escape / UNIT).round() as u32 };
    fill(shape, seed, threads, |state, rng, row: &mut Row<'_, P>| {
        let own = state as u32 % period;
        let mut draw = |class: u32| {
            // Classes 0 to (S - 1) mod period have one state more.
            let size = (states - class).div_ceil(period);
            class + period * rng.below(size)
        };
        let away = usize::from(escape > 0);
        if away > 0 {
            row.next[0] = draw(own);
            row.prob[0] = P::of(f64::from(escape) * UNIT);
        }
        row.next[away..].fill_with(|| draw((own + 1) % period));
        row.weights.fill_with(|| rng.exponential());
        row.share(away, (1 << 24) - escape);
    })
}

trait Exponential {
    fn exponential(&mut self) -> f32;
}

impl Exponential for Stream {
    /// A standard exponential number; never 0, and never above 17.
    #[inline]
    fn exponential(&mut self) -> f32 {
        // An odd multiple of 2^-24 in (0, 1), which `f32` holds exactly.
        let u = (self.below(1 << 23) as f32 + 0.5) * (1.0 / (1u32 << 23) as f32);
        -u.vln()
    }
}

/// One pair of the process that is being filled.
struct Row<'a, P> {
    next: &'a mut [u32],
    prob: &'a mut [P],
    weights: &'a mut [f32],
}

impl<P: Real> Row<'_, P> {
    /// Gives the entries from `first` on probabilities in proportion to their weights, as multiples of 2^-24 from 1 on that
    /// sum to `total` of them.
    #[inline]
    fn share(&mut self, first: usize, total: u32) {
        let (weights, prob) = (&self.weights[first..], &mut self.prob[first..]);
        // Each has one unit for itself, and its part of the others, rounded down; the largest also has what is left.
        let spare = total - weights.len() as u32;
        let scale = f64::from(spare) / weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        let (mut left, mut largest) = (total, 0);
        for (i, (prob, &weight)) in prob.iter_mut().zip(weights).enumerate() {
            let units = 1 + (f64::from(weight) * scale * (1.0 - 1e-12)) as u32;
            left -= units;
            *prob = P::of(f64::from(units) * UNIT);
            if weight > weights[largest] {
                largest = i;
            }
        }
        prob[largest] += P::of(f64::from(left) * UNIT);
    }
}

/// Fills a process row by row, in blocks of states that have a stream each, on `threads` threads.
fn fill<P: Real>(
    [states, actions, successors]: [u32; 3],
    seed: u64,
    threads: usize,
    row: impl Fn(usize, &mut Stream, &mut Row<'_, P>) + Sync,
) -> Mdp<P> {
    let [s, a, k] = [states, actions, successors].map(|n| n as usize);
    assert!(s * a * k > 0, "{s} x {a} x {k}: each must be at least 1");
    assert!(successors <= MAX_SUCCESSORS, "{k} successors: must be at most {MAX_SUCCESSORS}");
    assert!(u32::try_from(s * a * k).is_ok(), "{s} x {a} x {k}: the product must be below 2^32");
    let mut prob = vec![P::zero(); s * a * k];
    let mut next = vec![0u32; s * a * k];
    let mut reward = vec![0.0; s * a];
    let blocks =
        prob.chunks_mut(BLOCK * a * k).zip(next.chunks_mut(BLOCK * a * k)).zip(reward.chunks_mut(BLOCK * a));
    let queue = std::sync::Mutex::new(blocks.enumerate());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, s.div_ceil(BLOCK)) {
            scope.spawn(|| {
                let mut weights = vec![0.0; k];
                loop {
                    // The lock is held for one step of an iterator that does not panic.
                    let taken = queue.lock().map_or(None, |mut queue| queue.next());
                    let Some((block, ((prob, next), reward))) = taken else { break };
                    let mut rng = Stream::new(seed, "mdp", block as u64);
                    let pairs = prob.chunks_exact_mut(k).zip(next.chunks_exact_mut(k)).zip(reward);
                    for (i, ((prob, next), reward)) in pairs.enumerate() {
                        row(block * BLOCK + i / a, &mut rng, &mut Row { next, prob, weights: &mut weights });
                        *reward = rng.unit();
                    }
                }
            });
        }
    });
    let arrays = MdpArrays {
        first_pair: (0..=s).map(|state| (state * a) as u32).collect(),
        first_entry: (0..=s * a).map(|pair| (pair * k) as u32).collect(),
        prob,
        next,
        reward,
        terminated: None,
    };
    Mdp::from_arrays(arrays).unwrap_or_else(|error| panic!("{error}"))
}
