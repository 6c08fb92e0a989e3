use super::{Mdp, MdpError, tolerance};
use crate::Outcome;
use rederive_math::Real;

/// The arrays of a finite process in compressed sparse rows, as they are given: see [`Mdp`] for pairs and entries. Here an
/// outcome that ends the episode is an entry too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MdpArrays<P> {
    /// Where the pairs of each state begin `[S + 1]`.
    pub first_pair: Vec<u32>,
    /// Where the entries of each pair begin `[pairs + 1]`.
    pub first_entry: Vec<u32>,
    /// The probability of each entry `[entries]`.
    pub prob: Vec<P>,
    /// The next state of each entry `[entries]`.
    pub next: Vec<u32>,
    /// The reward of each pair `[pairs]`, or of each entry `[entries]`.
    pub reward: Vec<f64>,
    /// Whether an entry ends the episode `[entries]`; none does if this is absent.
    pub terminated: Option<Vec<bool>>,
}

impl<P: Real> Mdp<P> {
    /// The process with these arrays, which are kept without a copy where nothing ends the episode.
    ///
    /// # Errors
    /// Arrays whose lengths or offsets do not fit together, a state without an action, a probability that is none,
    /// probabilities of a pair that do not sum to 1, a next state out of range, a reward that is not finite.
    pub fn from_arrays(arrays: MdpArrays<P>) -> Result<Self, MdpError> {
        let MdpArrays { first_pair, mut first_entry, mut prob, mut next, reward, terminated } = arrays;
        check_offsets(&first_pair, &first_entry)?;
        let (num_states, pairs) = (first_pair.len() - 1, first_entry.len() - 1);
        let entries = first_entry[pairs] as usize;
        let length = |array, length, expected: &[usize]| {
            if expected.contains(&length) {
                Ok(())
            } else {
                Err(MdpError::Length { array, length, expected: expected.to_vec() })
            }
        };
        length("prob", prob.len(), &[entries])?;
        length("next", next.len(), &[entries])?;
        let either = [pairs, entries];
        length("reward", reward.len(), &either[usize::from(pairs == entries)..])?;
        if let Some(terminated) = &terminated {
            length("terminated", terminated.len(), &[entries])?;
        }
        let by_entry = reward.len() == entries && entries != pairs;
        let mut mean = if by_entry { Vec::with_capacity(pairs) } else { Vec::new() };
        let tolerance = tolerance::<P>();
        let (mut defect, mut ends, mut kept) = (0.0f64, false, 0);
        let mut from = 0;
        for state in 0..num_states {
            let range = first_pair[state] as usize..first_pair[state + 1] as usize;
            for (action, pair) in range.enumerate() {
                let to = first_entry[pair + 1] as usize;
                let (mut sum, mut mean_reward) = (0.0, 0.0);
                for entry in from..to {
                    let (p, to) = (Real::to_f64(prob[entry]), next[entry]);
                    if !(0.0..=1.0 + tolerance).contains(&p) {
                        return Err(MdpError::Probability { state, action, prob: p });
                    }
                    if to as usize >= num_states {
                        return Err(MdpError::Next { state, action, next: to.into(), num_states });
                    }
                    sum += p;
                    if by_entry {
                        if !reward[entry].is_finite() {
                            return Err(MdpError::Reward { state, action, reward: reward[entry] });
                        }
                        mean_reward += p * reward[entry];
                    }
                    if terminated.as_ref().is_some_and(|terminated| terminated[entry]) {
                        ends |= p > 0.0;
                    } else if p > 0.0 {
                        (prob[kept], next[kept]) = (prob[entry], to);
                        kept += 1;
                    }
                }
                let off = (sum - 1.0).abs();
                if off > tolerance {
                    return Err(MdpError::Sum { state, action, sum, tolerance });
                }
                defect = defect.max(off);
                let mean_reward = if by_entry { mean_reward } else { reward[pair] };
                if !mean_reward.is_finite() {
                    return Err(MdpError::Reward { state, action, reward: mean_reward });
                }
                if by_entry {
                    mean.push(mean_reward);
                }
                from = to;
                first_entry[pair + 1] = kept as u32;
            }
        }
        if kept < entries {
            prob.truncate(kept);
            prob.shrink_to_fit();
            next.truncate(kept);
            next.shrink_to_fit();
        }
        let reward = if by_entry { mean } else { reward };
        Ok(Mdp { first_pair, first_entry, prob, next, reward, ends, defect })
    }

    /// The outcomes of an action: the entries, and one that ends the episode where something is missing to 1. It leads to the
    /// state that it comes from.
    pub(super) fn outcomes(&self, state: usize, action: usize) -> impl Iterator<Item = Outcome> {
        let pair = self.pairs(state).start + action;
        let reward = self.reward[pair];
        let entries = self.entries(pair).map(move |entry| Outcome {
            prob: Real::to_f64(self.prob[entry]),
            next: self.next[entry],
            reward,
            terminated: false,
        });
        let end = self.end_prob(pair);
        let end = (end > 0.0).then_some(Outcome { prob: end, next: state as u32, reward, terminated: true });
        entries.chain(end)
    }

    /// The probability that a pair ends the episode, which is what its entries leave; 0 where that may be rounding.
    pub(super) fn end_prob(&self, pair: usize) -> f64 {
        if !self.ends {
            return 0.0;
        }
        let left = 1.0 - self.prob[self.entries(pair)].iter().map(|&p| Real::to_f64(p)).sum::<f64>();
        if left > tolerance::<P>() { left } else { 0.0 }
    }
}

/// Offsets begin at 0 and never fall; every state has an action.
pub(super) fn check_offsets(first_pair: &[u32], first_entry: &[u32]) -> Result<(), MdpError> {
    let rising = |array: &'static str, offsets: &[u32]| {
        if offsets.first() != Some(&0) {
            return Err(MdpError::Offset { array, index: 0, value: offsets.first().copied(), least: 0 });
        }
        match offsets.windows(2).position(|w| w[0] > w[1]) {
            Some(i) => {
                Err(MdpError::Offset { array, index: i + 1, value: Some(offsets[i + 1]), least: offsets[i] })
            }
            None => Ok(()),
        }
    };
    rising("first_pair", first_pair)?;
    if first_pair.len() == 1 {
        return Err(MdpError::NoStates);
    }
    if let Some(state) = first_pair.windows(2).position(|w| w[0] == w[1]) {
        return Err(MdpError::NoAction { state });
    }
    let pairs = first_pair[first_pair.len() - 1] as usize;
    if first_entry.len() != pairs + 1 {
        return Err(MdpError::Length {
            array: "first_entry",
            length: first_entry.len(),
            expected: vec![pairs + 1],
        });
    }
    rising("first_entry", first_entry)
}

/// The state and the action of an entry, under offsets that [`check_offsets`] has passed.
pub(super) fn place(first_pair: &[u32], first_entry: &[u32], entry: usize) -> (usize, usize) {
    let pair = first_entry.partition_point(|&first| first as usize <= entry) - 1;
    pair_place(first_pair, pair)
}

/// The state and the action of a pair.
pub(super) fn pair_place(first_pair: &[u32], pair: usize) -> (usize, usize) {
    let state = first_pair.partition_point(|&first| first as usize <= pair) - 1;
    (state, pair - first_pair[state] as usize)
}
