//! Values of the target network, kept from one batch to the next.

use crate::networks::QNetworks;
use ndarray::{Array2, ArrayRef2, ArrayView2, s};

/// What the target network makes of the observation after each transition, kept until the network changes or the transition
/// is overwritten.
///
/// Between two hard copies the target network stands still, and a transition that is drawn again needs no second forward pass.
/// With CleanRL's settings a quarter of all draws are such. A row of a batch does not depend on the other rows, and so
/// nothing changes but the time.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// A row for each slot, `[capacity, 1 + A]`: the number of the target network that it holds values of (0 for none), and
    /// these, side by side because slots are drawn at random.
    rows: Vec<f32>,
    /// The number of the present target network, as the bits of an `f32`.
    present: u32,
    /// The slots of a batch whose values have to be computed, and their features.
    missing: Vec<u32>,
    features: Array2<f32>,
    out: Array2<f32>,
}

impl Kept {
    /// For a replay of `capacity` transitions and batches of `rows` rows of `features` numbers; None if there is no room, and then
    /// every value is computed when it is needed.
    pub(crate) fn new(capacity: usize, actions: usize, rows: usize, features: usize) -> Option<Self> {
        let (mut kept, len) = (Vec::new(), capacity.saturating_mul(1 + actions));
        kept.try_reserve_exact(len).ok()?;
        kept.resize(len, 0.0);
        Some(Kept {
            rows: kept,
            present: 1,
            missing: Vec::with_capacity(rows),
            features: Array2::zeros((rows, features)),
            out: Array2::zeros((rows, actions)),
        })
    }

    /// The target network changed.
    pub(crate) fn forget_all(&mut self) {
        if self.present == u32::MAX {
            self.rows.fill(0.0);
            self.present = 0;
        }
        self.present += 1;
    }

    /// A slot was overwritten.
    #[inline]
    pub(crate) fn forget(&mut self, slot: usize) {
        self.rows[slot * (1 + self.out.ncols())] = 0.0;
    }

    /// Target values `[B, A]` of what follows the transitions in `slots`, whose features are `next` `[B, F]`.
    pub(crate) fn values(
        &mut self,
        slots: &[u32],
        next: &ArrayRef2<f32>,
        networks: &mut QNetworks,
    ) -> ArrayView2<'_, f32> {
        let (width, actions) = (next.ncols(), self.out.ncols());
        let row = |slot: u32| slot as usize * (1 + actions);
        let from = next.as_slice().expect("features are contiguous");
        let to = self.features.as_slice_mut().expect("contiguous");
        self.missing.clear();
        for (i, &slot) in slots.iter().enumerate() {
            if self.rows[row(slot)].to_bits() != self.present {
                let at = self.missing.len() * width;
                to[at..at + width].copy_from_slice(&from[i * width..(i + 1) * width]);
                self.missing.push(slot);
            }
        }
        if !self.missing.is_empty() {
            let values = networks.target_values(&self.features.slice(s![..self.missing.len(), ..]));
            let values = values.as_slice().expect("the output is contiguous");
            // Column by column: a copy of two numbers is not worth a call.
            for a in 0..actions {
                for (i, &slot) in self.missing.iter().enumerate() {
                    self.rows[row(slot) + 1 + a] = values[i * actions + a];
                }
            }
            for &slot in &self.missing {
                self.rows[row(slot)] = f32::from_bits(self.present);
            }
        }
        let out = self.out.as_slice_mut().expect("contiguous");
        for a in 0..actions {
            for (i, &slot) in slots.iter().enumerate() {
                out[i * actions + a] = self.rows[row(slot) + 1 + a];
            }
        }
        self.out.view()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use rederive_env::Stream;

    #[test]
    fn kept_values_are_those_of_the_present_target_network() {
        const SLOTS: usize = 20;
        let env = rederive_env::make_vec("CartPole-v1", 1).unwrap();
        let mut networks = QNetworks::new(&Config::default(), env.as_ref(), 1).unwrap();
        let mut rng = Stream::new(1, "test", 0);
        let mut kept = Kept::new(SLOTS, 2, 8, 4).unwrap();
        let mut next = Array2::from_shape_simple_fn((SLOTS, 4), || rng.normal() as f32);
        let mut batch = Array2::zeros((8, 4));
        for round in 0..100 {
            if round % 7 == 6 {
                networks.target.iter_mut().for_each(|w| *w *= 1.1);
                kept.forget_all();
            }
            let slot = rng.below(SLOTS as u32) as usize;
            next.row_mut(slot).fill(round as f32);
            kept.forget(slot);
            let slots: Vec<u32> = (0..8).map(|_| rng.below(SLOTS as u32)).collect();
            for (mut row, &slot) in batch.rows_mut().into_iter().zip(&slots) {
                row.assign(&next.row(slot as usize));
            }
            let got = kept.values(&slots, &batch, &mut networks).to_owned();
            assert_eq!(got, networks.target_values(&batch), "round {round}");
        }
    }
}
