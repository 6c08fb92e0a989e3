//! Finite Markov decision processes as compressed sparse rows, for exact solution.

mod arrays;
mod file;
mod json;
mod npz;

pub use arrays::MdpArrays;
pub use file::{AnyMdp, MdpFileError, read_mdp};

use crate::{FiniteTable, Outcome};
use rederive_math::Real;
use std::fmt;

/// How far from 1 the probabilities of a row may sum, stored as `f64`.
const SUM_TOLERANCE: f64 = 1e-9;

/// The same for rows stored as `f32`, whose probabilities are each off by up to 6e-8 of themselves.
const SUM_TOLERANCE_F32: f64 = 1e-6;

/// How far from 1 the probabilities of a row of `P` may sum.
fn tolerance<P>() -> f64 {
    if size_of::<P>() == 4 { SUM_TOLERANCE_F32 } else { SUM_TOLERANCE }
}

/// A finite Markov decision process with probabilities of type `P`, stored for sweeps over all states.
///
/// A *pair* is a state with one of its actions; the pairs of state `s` are numbered from `first_pair()[s]` to
/// `first_pair()[s + 1]`, in the order of the actions. An *entry* is one possible next state of a pair; the entries of pair
/// `i` are numbered from `first_entry()[i]` to `first_entry()[i + 1]`.
///
/// An outcome that ends the episode has no entry: it adds to the reward, and nothing is bootstrapped from it, whatever rows
/// its target state has. The probabilities of a pair therefore sum to 1 less the probability that the episode ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Mdp<P: Real> {
    first_pair: Vec<u32>,
    first_entry: Vec<u32>,
    prob: Vec<P>,
    next: Vec<u32>,
    reward: Vec<f64>,
    ends: bool,
    defect: f64,
}

/// Why something is no finite Markov decision process.
#[derive(Clone, Debug, PartialEq)]
pub enum MdpError {
    /// There are no states.
    NoStates,
    /// A state has no action.
    NoAction {
        /// The state.
        state: usize,
    },
    /// A probability is negative, above 1 or not a number.
    Probability {
        /// The state.
        state: usize,
        /// The action.
        action: usize,
        /// The probability.
        prob: f64,
    },
    /// The probabilities of a row do not sum to 1.
    Sum {
        /// The state.
        state: usize,
        /// The action.
        action: usize,
        /// Their sum.
        sum: f64,
        /// How far from 1 it may be.
        tolerance: f64,
    },
    /// A next state that does not exist.
    Next {
        /// The state.
        state: usize,
        /// The action.
        action: usize,
        /// The next state.
        next: i64,
        /// How many states there are.
        num_states: usize,
    },
    /// A reward that is not finite.
    Reward {
        /// The state.
        state: usize,
        /// The action.
        action: usize,
        /// The reward.
        reward: f64,
    },
    /// An array that does not fit the others.
    Length {
        /// The array.
        array: &'static str,
        /// Its length.
        length: usize,
        /// The lengths that it may have.
        expected: Vec<usize>,
    },
    /// Offsets that do not begin at 0, or fall.
    Offset {
        /// The array.
        array: &'static str,
        /// Which of its elements.
        index: usize,
        /// The element, if there is one.
        value: Option<u32>,
        /// What it must be at least; what it must be, if it is the first.
        least: u32,
    },
    /// More states, pairs or entries than 32 bits can number.
    TooLarge,
}

impl fmt::Display for MdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MdpError::NoStates => write!(f, "there are no states"),
            MdpError::NoAction { state } => write!(f, "state {state} has no action"),
            MdpError::Probability { state, action, prob } => {
                write!(f, "state {state}, action {action}: a probability is {prob}, must be in [0, 1]")
            }
            MdpError::Sum { state, action, sum, tolerance } => write!(
                f,
                "state {state}, action {action}: the probabilities sum to {sum}, must be 1 within {tolerance:e}"
            ),
            MdpError::Next { state, action, next, num_states } => write!(
                f,
                "state {state}, action {action}: the next state is {next}, must be in 0..={}",
                num_states - 1
            ),
            MdpError::Reward { state, action, reward } => {
                write!(f, "state {state}, action {action}: the reward is {reward}, must be finite")
            }
            MdpError::Length { array, length, expected } => {
                let expected: Vec<_> = expected.iter().map(usize::to_string).collect();
                write!(f, "the length of {array} is {length}, must be {}", expected.join(" or "))
            }
            MdpError::Offset { array, value: None, .. } => write!(f, "{array} is empty, must begin with 0"),
            MdpError::Offset { array, index: 0, value: Some(value), .. } => {
                write!(f, "element 0 of {array} is {value}, must be 0")
            }
            MdpError::Offset { array, index, value: Some(value), least } => {
                write!(
                    f,
                    "element {index} of {array} is {value}, must be at least {least}, like the one before it"
                )
            }
            MdpError::TooLarge => write!(f, "there are more than 4294967295 states, pairs or transitions"),
        }
    }
}

impl std::error::Error for MdpError {}

impl<P: Real> Mdp<P> {
    /// Starts an empty process of `num_states` states, to be filled pair by pair.
    pub fn builder(num_states: usize) -> MdpBuilder<P> {
        MdpBuilder {
            num_states,
            mdp: Mdp {
                first_pair: vec![0],
                first_entry: vec![0],
                prob: Vec::new(),
                next: Vec::new(),
                reward: Vec::new(),
                ends: false,
                defect: 0.0,
            },
        }
    }

    /// The process that a table describes.
    ///
    /// # Panics
    /// If it has more pairs or outcomes than 32 bits can number.
    pub fn from_table(table: &FiniteTable) -> Self {
        let mut builder = Mdp::builder(table.num_states());
        for s in 0..table.num_states() {
            for a in 0..table.num_actions() {
                builder.action(table.row(s, a)).unwrap_or_else(|error| panic!("{error}"));
            }
            builder.end_state().unwrap_or_else(|error| panic!("{error}"));
        }
        builder.finish().unwrap_or_else(|error| panic!("{error}"))
    }

    /// How many states there are, S.
    pub fn num_states(&self) -> usize {
        self.first_pair.len() - 1
    }

    /// How many state-action pairs there are; S A if every state has A actions.
    pub fn num_pairs(&self) -> usize {
        self.first_entry.len() - 1
    }

    /// The largest number of actions of a state.
    pub fn num_actions(&self) -> usize {
        self.first_pair.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0)
    }

    /// Where the pairs of each state begin `[S + 1]`.
    pub fn first_pair(&self) -> &[u32] {
        &self.first_pair
    }

    /// Where the entries of each pair begin `[pairs + 1]`.
    pub fn first_entry(&self) -> &[u32] {
        &self.first_entry
    }

    /// The probability of each entry.
    pub fn prob(&self) -> &[P] {
        &self.prob
    }

    /// The next state of each entry.
    pub fn next(&self) -> &[u32] {
        &self.next
    }

    /// The mean reward of each pair `[pairs]`.
    pub fn reward(&self) -> &[f64] {
        &self.reward
    }

    /// Whether some outcome ends the episode.
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// How far the probabilities of a row, those of endings included, are from summing to 1, at most. What they stand for is
    /// known no better than that, and neither are values: a bound on their error has to count it.
    pub fn defect(&self) -> f64 {
        self.defect
    }

    /// The pairs of a state.
    #[inline]
    pub fn pairs(&self, state: usize) -> std::ops::Range<usize> {
        self.first_pair[state] as usize..self.first_pair[state + 1] as usize
    }

    /// The entries of a pair.
    #[inline]
    pub fn entries(&self, pair: usize) -> std::ops::Range<usize> {
        self.first_entry[pair] as usize..self.first_entry[pair + 1] as usize
    }
}

/// Fills an [`Mdp`]: the outcomes of each action, state after state.
#[derive(Debug)]
pub struct MdpBuilder<P: Real> {
    num_states: usize,
    mdp: Mdp<P>,
}

impl<P: Real> MdpBuilder<P> {
    /// Makes room for that many pairs and entries in all.
    pub fn reserve(&mut self, pairs: usize, entries: usize) {
        self.mdp.first_pair.reserve(self.num_states);
        self.mdp.first_entry.reserve(pairs);
        self.mdp.reward.reserve(pairs);
        self.mdp.prob.reserve(entries);
        self.mdp.next.reserve(entries);
    }

    /// Adds the next action of the present state.
    ///
    /// # Errors
    /// A probability that is none, probabilities that do not sum to 1, a next state out of range, a reward that is not
    /// finite, or too many pairs or entries.
    pub fn action(&mut self, outcomes: &[Outcome]) -> Result<(), MdpError> {
        let mdp = &mut self.mdp;
        let state = mdp.first_pair.len() - 1;
        let action = mdp.reward.len() - mdp.first_pair[state] as usize;
        let tolerance = tolerance::<P>();
        let (mut sum, mut reward) = (0.0, 0.0);
        for outcome in outcomes {
            let Outcome { prob, next, reward: r, terminated } = *outcome;
            if !(0.0..=1.0 + tolerance).contains(&prob) {
                return Err(MdpError::Probability { state, action, prob });
            }
            if next as usize >= self.num_states {
                return Err(MdpError::Next { state, action, next: next.into(), num_states: self.num_states });
            }
            if !r.is_finite() {
                return Err(MdpError::Reward { state, action, reward: r });
            }
            let stored = P::of(prob);
            // Sums are those of what is stored, not of what was given.
            sum += stored.to_f64();
            reward += prob * r;
            if terminated {
                mdp.ends |= prob > 0.0;
            } else if prob > 0.0 {
                mdp.prob.push(stored);
                mdp.next.push(next);
            }
        }
        let defect = (sum - 1.0).abs();
        if defect > tolerance {
            return Err(MdpError::Sum { state, action, sum, tolerance });
        }
        if !reward.is_finite() {
            return Err(MdpError::Reward { state, action, reward });
        }
        mdp.defect = mdp.defect.max(defect);
        mdp.reward.push(reward);
        mdp.first_entry.push(u32::try_from(mdp.prob.len()).map_err(|_| MdpError::TooLarge)?);
        Ok(())
    }

    /// Ends the present state, whose actions have all been added.
    ///
    /// # Errors
    /// A state without an action, or too many pairs.
    pub fn end_state(&mut self) -> Result<(), MdpError> {
        let mdp = &mut self.mdp;
        let state = mdp.first_pair.len() - 1;
        let pairs = u32::try_from(mdp.reward.len()).map_err(|_| MdpError::TooLarge)?;
        if pairs == mdp.first_pair[state] {
            return Err(MdpError::NoAction { state });
        }
        mdp.first_pair.push(pairs);
        Ok(())
    }

    /// The process.
    ///
    /// # Errors
    /// No states, or fewer than were announced.
    ///
    /// # Panics
    /// If more states were added than announced, which is the caller's mistake.
    pub fn finish(self) -> Result<Mdp<P>, MdpError> {
        let state = self.mdp.first_pair.len() - 1;
        assert!(state <= self.num_states, "{state} states added of {}", self.num_states);
        if self.num_states == 0 {
            return Err(MdpError::NoStates);
        }
        if state < self.num_states {
            return Err(MdpError::NoAction { state });
        }
        Ok(self.mdp)
    }
}
