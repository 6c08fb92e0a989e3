use ndarray::ArrayRef2;
use rand::seq::SliceRandom;
use rederive_math::Stream;

/// Random partitions of `0..len` into index lists of a given size (`ppo.epochs`).
#[derive(Clone, Debug)]
pub struct Minibatches {
    indices: Vec<u32>,
    size: usize,
}

// ANCHOR: ppo.epochs
impl Minibatches {
    /// Partitions of `0..len` into lists of `size` (at most `len`); where `size` does not divide `len`, the last list is
    /// shorter and nothing is dropped.
    ///
    /// # Panics
    /// If `len` or `size` is 0, or `len` does not fit in 32 bits.
    pub fn new(len: usize, size: usize) -> Self {
        assert!(len > 0 && size > 0, "{len} samples in minibatches of {size}");
        let len = u32::try_from(len).expect("a rollout has fewer than 2^32 samples");
        Minibatches { indices: (0..len).collect(), size }
    }

    /// Draws a new partition: a uniformly random permutation, cut into lists.
    pub fn shuffle(&mut self, rng: &mut Stream) {
        // From the identity, so that an epoch depends on the stream alone and a resumed run draws the same partition.
        for (i, index) in self.indices.iter_mut().enumerate() {
            *index = i as u32;
        }
        self.indices.shuffle(rng);
    }

    /// How many lists a partition has.
    pub fn count(&self) -> usize {
        self.indices.len().div_ceil(self.size)
    }

    /// List number `list` of the present partition.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn get(&self, list: usize) -> &[u32] {
        assert!(list < self.count(), "list {list} of {}", self.count());
        let start = list * self.size;
        &self.indices[start..(start + self.size).min(self.indices.len())]
    }

    /// The largest list.
    pub fn largest(&self) -> usize {
        self.size.min(self.indices.len())
    }
}
// ANCHOR_END: ppo.epochs

impl Minibatches {
    /// Copies the entries of `from` that list number `list` names to the beginning of `to`.
    ///
    /// # Panics
    /// If there is no such list or no such entry.
    pub fn gather<T: Copy>(&self, list: usize, from: &[T], to: &mut [T]) {
        for (to, &i) in to.iter_mut().zip(self.get(list)) {
            *to = from[i as usize];
        }
    }

    /// The same for the rows of arrays.
    ///
    /// # Panics
    /// If there is no such list or no such row, or the arrays' rows differ in length.
    pub fn gather_rows<T: Copy>(&self, list: usize, from: &ArrayRef2<T>, to: &mut ArrayRef2<T>) {
        let width = from.ncols();
        assert!(to.ncols() == width, "to has rows of {} but from of {width}", to.ncols());
        let from = from.as_slice().expect("contiguous");
        let rows = to.as_slice_mut().expect("contiguous").chunks_exact_mut(width);
        for (row, &i) in rows.zip(self.get(list)) {
            row.copy_from_slice(&from[i as usize * width..][..width]);
        }
    }
}
