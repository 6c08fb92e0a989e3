//! Transitions in proportion to how much was wrong about them.

use rand::RngCore;
use rederive_env::Stream;

/// Children per node of the tree.
const FAN: usize = 16;

/// Sums over an array of weights, for drawing an index in proportion to its weight in logarithmic time.
///
/// Each node has 16 children, whose sums lie side by side: a million weights are five steps deep, each of which reads two
/// cache lines. A sum is always formed from the children anew, so that no rounding builds up however often weights
/// change, and the tree is a function of its weights alone.
///
/// ```
/// use rederive_dqn::SumTree;
///
/// let mut tree = SumTree::new(5);
/// for (i, weight) in [1.0, 0.0, 2.0, 0.0, 5.0].into_iter().enumerate() {
///     tree.set(i, weight);
/// }
/// assert_eq!(tree.total(), 8.0);
/// assert_eq!([0.0, 0.99, 1.0, 2.99, 3.0, 7.99].map(|u| tree.find(u)), [0, 0, 2, 2, 4, 4]);
/// ```
#[derive(Clone, Debug)]
pub struct SumTree {
    len: usize,
    /// The weights first, then the sums of 16 of each level, up to a level of at most 16. Padded with zeros.
    levels: Vec<Vec<f64>>,
}

impl SumTree {
    /// A tree of `len` zeros.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn new(len: usize) -> Self {
        assert!(len > 0, "a tree over nothing");
        let mut levels = vec![vec![0.0; len.next_multiple_of(FAN)]];
        loop {
            let below = levels[levels.len() - 1].len();
            if below <= FAN {
                return SumTree { len, levels };
            }
            levels.push(vec![0.0; (below / FAN).next_multiple_of(FAN)]);
        }
    }

    /// How many weights there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none, which can't be.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Weight number `i`.
    pub fn get(&self, i: usize) -> f64 {
        assert!(i < self.len, "weight {i} of {}", self.len);
        self.levels[0][i]
    }

    /// The sum of all weights.
    pub fn total(&self) -> f64 {
        sum(self.levels[self.levels.len() - 1].first_chunk().expect("a whole node"))
    }

    /// Replaces weight number `i`.
    ///
    /// # Panics
    /// If there is no such weight, or the new one is negative or not finite.
    #[inline]
    pub fn set(&mut self, i: usize, weight: f64) {
        assert!(i < self.len, "weight {i} of {}", self.len);
        assert!(weight >= 0.0 && weight.is_finite(), "a weight of {weight}");
        self.levels[0][i] = weight;
        let mut node = i / FAN;
        for level in 1..self.levels.len() {
            let (below, above) = self.levels.split_at_mut(level);
            above[0][node] = sum(&below[level - 1].as_chunks::<FAN>().0[node]);
            node /= FAN;
        }
    }

    /// The index `i` with `w_0 + ... + w_{i-1} <= u < w_0 + ... + w_i`: for a uniform `u` in [0, total) it is `i` with
    /// probability `w_i / total`. An index without weight is never found, whatever rounding does.
    ///
    /// # Panics
    /// If all weights are 0.
    #[inline]
    pub fn find(&self, mut u: f64) -> usize {
        let mut node = 0;
        for level in self.levels.iter().rev() {
            let children = &level.as_chunks::<FAN>().0[node];
            // Without branches, which could not be predicted: count the children that end before u.
            let (mut end, mut start, mut child) = (0.0, 0.0, 0);
            for &weight in children {
                end += weight;
                if end <= u {
                    start = end;
                    child += 1;
                }
            }
            if child == FAN {
                // u is less than the sum that was kept, but not than this one, which was added up in another order: it
                // belongs to the end of the last child.
                child = children.iter().rposition(|&w| w > 0.0).expect("a tree without weight");
                (u, start) = (children[child], 0.0);
            }
            u -= start;
            node = node * FAN + child;
        }
        node
    }
}

/// In a fixed order with short chains.
#[inline(always)]
fn sum(x: &[f64; FAN]) -> f64 {
    let mut part = [0.0; 8];
    for (i, p) in part.iter_mut().enumerate() {
        *p = x[i] + x[i + 8];
    }
    let [a, b, c, d, e, f, g, h] = part;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Priorities of the transitions in a replay buffer, slot by slot.
///
/// Transition `i` is drawn with probability `p_i^alpha / sum_j p_j^alpha`, where `p_i = |error| + eps` is from when it was
/// last learnt from; a new one has the largest priority seen so far, so that each is learnt from soon. What is drawn
/// more often than it occurs would bias the mean, and its loss is weighted by `(len P(i))^-beta`, divided by the largest
/// such weight in the batch; with `beta = 1` the bias is gone.
///
/// Source: T. Schaul et al. (2016), Prioritized Experience Replay.
#[derive(Clone, Debug)]
pub struct Priorities {
    tree: SumTree,
    alpha: f32,
    eps: f32,
    /// The weight (`p^alpha`) of the largest priority so far.
    largest: f32,
}

impl Priorities {
    /// No transitions yet, in a buffer for `capacity`.
    pub fn new(capacity: usize, alpha: f64, eps: f64) -> Self {
        Priorities { tree: SumTree::new(capacity), alpha: alpha as f32, eps: eps as f32, largest: 1.0 }
    }

    /// The tree of `p^alpha`.
    pub fn tree(&self) -> &SumTree {
        &self.tree
    }

    /// Notes that a new transition lies in `slot`.
    #[inline]
    pub fn insert(&mut self, slot: usize) {
        self.tree.set(slot, f64::from(self.largest));
    }

    /// Draws one slot from each of as many equal parts of the total priority as there is room for, each in proportion to its
    /// priority, and weighs them.
    ///
    /// # Panics
    /// If there is no transition.
    pub fn sample(&self, beta: f64, rng: &mut Stream, slot: &mut [u32], weight: &mut [f32]) {
        assert_eq!(slot.len(), weight.len(), "slot against weight");
        let part = self.tree.total() / slot.len() as f64;
        for (i, (slot, weight)) in slot.iter_mut().zip(&mut *weight).enumerate() {
            let unit = (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
            let found = self.tree.find((i as f64 + unit) * part);
            *slot = found as u32;
            *weight = self.tree.get(found) as f32;
        }
        importance(beta as f32, weight);
    }

    /// Replaces the priorities of transitions by the sizes of their new errors.
    pub fn update(&mut self, slot: &[u32], td_error: &[f32]) {
        for (&slot, error) in slot.iter().zip(td_error) {
            let weight = (error.abs() + self.eps).powf(self.alpha).max(f32::MIN_POSITIVE);
            self.largest = self.largest.max(weight);
            self.tree.set(slot as usize, f64::from(weight));
        }
    }

    /// Its state for a checkpoint: the weights of the first `len` slots, and the largest of all times.
    pub(crate) fn state(&self, len: usize) -> (Vec<f32>, f32) {
        (self.tree.levels[0][..len].iter().map(|&w| w as f32).collect(), self.largest)
    }

    /// Replaces its state by one that [`state`](Self::state) gave; the problem in words if it does not fit.
    pub(crate) fn restore(&mut self, weights: &[f32], largest: f32) -> Result<(), String> {
        let good = |w: f32| w > 0.0 && w.is_finite();
        if weights.len() > self.tree.len() || !weights.iter().copied().all(good) || !good(largest) {
            return Err("a priority is not a positive number".to_owned());
        }
        self.tree = SumTree::new(self.tree.len());
        weights.iter().enumerate().for_each(|(i, &w)| self.tree.set(i, f64::from(w)));
        self.largest = largest;
        Ok(())
    }
}

/// Replaces each weight `w_i` in proportion to which something was drawn by `(n P(i))^-beta / max_j (n P(j))^-beta`. The
/// number of transitions and the total cancel: it is `(min_j w_j / w_i)^beta`.
pub fn importance(beta: f32, weight: &mut [f32]) {
    let smallest = weight.iter().copied().fold(f32::INFINITY, f32::min);
    for w in weight {
        *w = (smallest / *w).powf(beta);
    }
}
