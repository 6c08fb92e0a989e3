//! The ring buffer of transitions.

use crate::n_step::Steps;
use ndarray::Array2;
use rand::RngCore;
use rederive_math::multiversion;

/// How the numbers of an observation are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    F32,
    /// Numbers in [0, 1] as multiples of 1/255, in a byte each: for images. 0 and 1 are exact.
    Byte,
}

impl Precision {
    fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Byte => 1,
        }
    }

    fn write(self, from: &[f32], to: &mut [u8]) {
        match self {
            Precision::F32 => {
                for (to, x) in to.as_chunks_mut::<4>().0.iter_mut().zip(from) {
                    *to = x.to_le_bytes();
                }
            }
            Precision::Byte => to_bytes(from, to),
        }
    }

    fn read(self, from: &[u8], to: &mut [f32]) {
        match self {
            Precision::F32 => {
                for (to, x) in to.iter_mut().zip(from.as_chunks::<4>().0) {
                    *to = f32::from_le_bytes(*x);
                }
            }
            Precision::Byte => from_bytes(from, to),
        }
    }
}

multiversion! {
    fn to_bytes(from: &[f32], to: &mut [u8]) {
        for (to, x) in to.iter_mut().zip(from) {
            *to = (x * 255.0).round_ties_even() as u8;
        }
    }
}

multiversion! {
    fn from_bytes(from: &[u8], to: &mut [f32]) {
        for (to, &x) in to.iter_mut().zip(from) {
            *to = f32::from(x) / 255.0;
        }
    }
}

/// A batch of transitions, column by column; sized once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The observations before `[B, D]`.
    pub obs: Array2<f32>,
    /// The actions `[B]`.
    pub action: Vec<u32>,
    /// The discounted sums of rewards `[B]`.
    pub reward: Vec<f32>,
    /// What the value after them is multiplied with `[B]`.
    pub discount: Vec<f32>,
    /// Whether the episode terminated `[B]`.
    pub terminated: Vec<bool>,
    /// The observations after `[B, D]`.
    pub next_obs: Array2<f32>,
    /// The slots that they lie in `[B]`.
    pub slot: Vec<u32>,
}

impl Batch {
    /// Room for `len` transitions whose observations have `width` numbers.
    pub fn new(len: usize, width: usize) -> Self {
        Batch {
            obs: Array2::zeros((len, width)),
            action: vec![0; len],
            reward: vec![0.0; len],
            discount: vec![0.0; len],
            terminated: vec![false; len],
            next_obs: Array2::zeros((len, width)),
            slot: vec![0; len],
        }
    }

    /// How many transitions there are.
    pub fn len(&self) -> usize {
        self.slot.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slot.is_empty()
    }
}

/// One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Reward, discount, action, and whether it terminated, in four bytes each.
const HEAD: usize = 16;

/// The last `capacity` transitions.
///
/// A transition is one row of bytes that begins on a cache line: its numbers, the observation before and the one after.
/// Nothing is shared between rows, so that a row is right whatever came before or after it: an end, a time limit,
/// several environments, several rewards. Up to 6 numbers per observation fit into one line.
///
/// ```
/// use rederive_dqn::replay::{Batch, Precision, Replay};
/// use rederive_dqn::n_step::Steps;
/// use rederive_math::Stream;
///
/// let mut replay = Replay::new(2, 1, Precision::F32).unwrap();
/// for t in 0..3 {
///     let (obs, next) = ([t as f32], [t as f32 + 1.0]);
///     replay.push(Steps { obs: &obs, action: 0, reward: 1.0, discount: 0.9, terminated: false }, &next);
/// }
/// let mut batch = Batch::new(2, 1);
/// replay.sample(&mut batch, &mut Stream::new(1, "replay", 0));
/// assert_eq!(batch.obs.sum(), 1.0 + 2.0); // the transition from 0 was overwritten
/// ```
#[derive(Clone, Debug)]
pub struct Replay {
    capacity: usize,
    width: usize,
    precision: Precision,
    /// Lines of one row.
    stride: usize,
    lines: Vec<Line>,
    /// Where the next transition goes.
    next: usize,
    chosen: Chosen,
}

impl Replay {
    /// An empty buffer for transitions whose observations have `width` numbers. Memory is taken as it fills.
    ///
    /// # Errors
    /// The number of bytes it would take, if the machine refuses to reserve them.
    ///
    /// # Panics
    /// If `capacity` is 0 or does not fit in 32 bits.
    pub fn new(capacity: usize, width: usize, precision: Precision) -> Result<Self, usize> {
        assert!(capacity > 0 && u32::try_from(capacity).is_ok(), "a capacity of {capacity} transitions");
        let stride = (HEAD + 2 * width * precision.bytes()).div_ceil(LINE);
        let mut lines = Vec::new();
        let count = capacity.saturating_mul(stride);
        lines.try_reserve_exact(count).map_err(|_| count.saturating_mul(LINE))?;
        Ok(Replay { capacity, width, precision, stride, lines, next: 0, chosen: Chosen::default() })
    }

    /// How many transitions fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len() / self.stride
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The slots from the oldest transition to the newest.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let (len, next) = (self.len(), self.next);
        let oldest = if len < self.capacity { 0 } else { next };
        (oldest..len).chain(0..oldest).map(|slot| slot as u32)
    }

    // ANCHOR: dqn.replay
    /// Adds a transition, in the place of the oldest one if the buffer is full, and returns its slot.
    ///
    /// ID `dqn.replay`: the buffer holds exactly the last `min(n, capacity)` of `n` transitions.
    ///
    /// # Panics
    /// If an observation has another width.
    ///
    /// Source: L.-J. Lin (1992), Self-improving reactive agents based on reinforcement learning, planning and teaching.
    #[inline]
    pub fn push(&mut self, steps: Steps<'_>, next_obs: &[f32]) -> usize {
        assert_eq!(
            (steps.obs.len(), next_obs.len()),
            (self.width, self.width),
            "observations against the replay"
        );
        let slot = self.next;
        if slot == self.len() {
            self.lines.extend(std::iter::repeat_n(Line([0; LINE]), self.stride));
        }
        self.next = if slot + 1 < self.capacity { slot + 1 } else { 0 };
        let (width, precision) = (self.width * self.precision.bytes(), self.precision);
        let (head, row) = self.row_mut(slot).split_at_mut(HEAD);
        head[..4].copy_from_slice(&steps.reward.to_le_bytes());
        head[4..8].copy_from_slice(&steps.discount.to_le_bytes());
        head[8..12].copy_from_slice(&steps.action.to_le_bytes());
        head[12] = steps.terminated.into();
        precision.write(steps.obs, &mut row[..width]);
        precision.write(next_obs, &mut row[width..2 * width]);
        slot
    }

    /// Fills `batch` with different transitions, every set of them equally likely.
    ///
    /// ID `dqn.replay`: each of the `len` transitions is in a batch of `B` with probability `B / len`, so that the mean
    /// gradient of a batch is on average that of the buffer. It takes time in proportion to B, by R. W. Floyd's method:
    /// for the last B numbers `j` draw one of `0..=j`, and take `j` itself where that one is taken already.
    ///
    /// # Panics
    /// If there are fewer transitions than the batch has room for.
    ///
    /// Source: J. Bentley, R. Floyd (1987), Programming pearls: a sample of brilliance.
    pub fn sample(&mut self, batch: &mut Batch, rng: &mut impl RngCore) {
        let (len, size) = (self.len(), batch.len());
        assert!(size <= len, "a batch of {size} out of {len} transitions");
        self.chosen.clear(size);
        for (j, slot) in (len - size..len).zip(&mut batch.slot) {
            // A 64-bit draw is so fine that what 2^64 leaves over is below 2^-32 in any probability.
            let drawn = ((u128::from(rng.next_u64()) * (j as u128 + 1)) >> 64) as u32;
            *slot = if self.chosen.insert(drawn) { drawn } else { j as u32 };
            if *slot != drawn {
                self.chosen.insert(*slot);
            }
        }
        self.gather(batch);
    }
    // ANCHOR_END: dqn.replay

    /// Copies the transitions of `batch.slot` to its columns.
    ///
    /// # Panics
    /// If a slot is empty or observations have another width.
    pub fn gather(&self, batch: &mut Batch) {
        assert_eq!(batch.obs.ncols(), self.width, "width of the batch against the replay");
        let obs = batch.obs.as_slice_mut().expect("contiguous");
        let next_obs = batch.next_obs.as_slice_mut().expect("contiguous");
        let bytes = self.width * self.precision.bytes();
        // All rows are asked for before the first is read, so that their ways from memory overlap.
        batch.slot.iter().for_each(|&slot| self.prefetch(slot as usize));
        for (i, &slot) in batch.slot.iter().enumerate() {
            let row = self.row(slot as usize);
            let number = |at: usize| <[u8; 4]>::try_from(&row[at..at + 4]).expect("four bytes");
            batch.reward[i] = f32::from_le_bytes(number(0));
            batch.discount[i] = f32::from_le_bytes(number(4));
            batch.action[i] = u32::from_le_bytes(number(8));
            batch.terminated[i] = row[12] != 0;
            let columns = i * self.width..(i + 1) * self.width;
            self.precision.read(&row[HEAD..HEAD + bytes], &mut obs[columns.clone()]);
            self.precision.read(&row[HEAD + bytes..HEAD + 2 * bytes], &mut next_obs[columns]);
        }
    }

    /// Asks for the first lines of a row before they are needed.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let from = self.lines.as_ptr().wrapping_add(slot * self.stride);
            for line in 0..self.stride.min(4) {
                // SAFETY: a prefetch reads nothing, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    #[inline]
    fn row(&self, slot: usize) -> &[u8] {
        bytes(&self.lines[slot * self.stride..(slot + 1) * self.stride])
    }

    #[inline]
    fn row_mut(&mut self, slot: usize) -> &mut [u8] {
        let lines = &mut self.lines[slot * self.stride..(slot + 1) * self.stride];
        // SAFETY: as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
    }

    /// All rows, slot by slot, for a checkpoint.
    pub(crate) fn bytes(&self) -> &[u8] {
        bytes(&self.lines)
    }

    /// Where the next transition goes, for a checkpoint.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// A buffer like this one with the content that [`bytes`](Self::bytes) and [`position`](Self::position) gave; the problem in
    /// words if it does not fit or is no content at all.
    pub(crate) fn restored(&self, rows: &[u8], next: usize, num_actions: usize) -> Result<Self, String> {
        let len = rows.len() / (self.stride * LINE);
        if !rows.len().is_multiple_of(self.stride * LINE) || len > self.capacity {
            return Err(format!("{} bytes are not up to {} transitions", rows.len(), self.capacity));
        }
        if next >= self.capacity || (len < self.capacity && next != len) {
            return Err(format!("the next of {len} transitions can't go to slot {next}"));
        }
        let mut replay = Replay::new(self.capacity, self.width, self.precision)
            .map_err(|bytes| format!("{bytes} bytes do not fit in memory"))?;
        replay.lines.extend(rows.as_chunks::<LINE>().0.iter().map(|&line| Line(line)));
        replay.next = next;
        let mut one = Batch::new(1, self.width);
        for slot in 0..len {
            one.slot[0] = slot as u32;
            replay.gather(&mut one);
            let numbers = one.obs.iter().chain(&one.next_obs).chain(&one.reward).chain(&one.discount);
            if !numbers.copied().all(f32::is_finite) || one.action[0] as usize >= num_actions {
                return Err(format!("transition {slot} has a number or an action that can't be"));
            }
        }
        Ok(replay)
    }
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is 64 bytes and nothing else, so that lines are bytes without gaps.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

/// A set of slots that is emptied at once: a hash table whose entries carry the number of the batch that they belong to.
#[derive(Clone, Debug, Default)]
struct Chosen {
    entries: Vec<(u32, u32)>,
    batch: u32,
}

impl Chosen {
    fn clear(&mut self, size: usize) {
        // At most a quarter is ever taken, so that chains stay short.
        let wanted = (4 * size.max(1)).next_power_of_two();
        if self.entries.len() != wanted || self.batch == u32::MAX {
            self.entries = vec![(0, 0); wanted];
            self.batch = 0;
        }
        self.batch += 1;
    }

    /// Adds a slot; false if it was there.
    #[inline]
    fn insert(&mut self, slot: u32) -> bool {
        let mask = self.entries.len() - 1;
        let mut at = (u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        loop {
            let (batch, found) = self.entries[at];
            if batch != self.batch {
                self.entries[at] = (self.batch, slot);
                return true;
            }
            if found == slot {
                return false;
            }
            at = (at + 1) & mask;
        }
    }
}
