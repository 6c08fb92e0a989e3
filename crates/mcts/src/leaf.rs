use crate::Model;
use rederive_math::Stream;
use rederive_train::{ConfigError, range};

/// What a state is worth that a search has just reached for the first time, to the player to act there.
pub trait Leaf<M: Model> {
    /// An estimate of the value of `state`, which is not over.
    fn value(&mut self, model: &M, state: &M::State, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64;
}

/// The return of one random playout (`mcts.playout`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Playout;

impl<M: Model> Leaf<M> for Playout {
    #[inline(always)]
    fn value(&mut self, model: &M, state: &M::State, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        model.playout(state, gamma, max_steps, rng)
    }
}

/// A value function, alone or mixed with the return of a playout.
///
/// ID `mcts.value-leaf`: `(1 - lambda) v(s) + lambda z`, with `z` the return of a playout from the same state `s`. AlphaGo
/// used 1/2, AlphaGo Zero 0.
///
/// Sources: D. Silver et al. (2016), Mastering the Game of Go with Deep Neural Networks and Tree Search; D. Silver et al. (2017),
/// Mastering the Game of Go without Human Knowledge.
#[derive(Clone, Copy, Debug)]
pub struct ValueLeaf<F> {
    value: F,
    lambda: f64,
}

impl<F> ValueLeaf<F> {
    /// The value function `value`, in which the return of a playout has the share `lambda`.
    pub fn new(value: F, lambda: f64) -> Result<Self, ConfigError> {
        range::share("lambda", lambda)?;
        Ok(ValueLeaf { value, lambda })
    }
}

impl<M: Model, F: FnMut(&M::State) -> f64> Leaf<M> for ValueLeaf<F> {
    #[inline]
    fn value(&mut self, model: &M, state: &M::State, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        // Neither part is computed where it does not count.
        let value = if self.lambda < 1.0 { (self.value)(state) } else { 0.0 };
        let return_ = if self.lambda > 0.0 { model.playout(state, gamma, max_steps, rng) } else { 0.0 };
        mix(value, return_, self.lambda)
    }
}

// ANCHOR: mcts.value-leaf
/// The mixture of a value function and a playout's return, `(1 - lambda) value + lambda return_`.
///
/// ID `mcts.value-leaf`.
#[inline(always)]
pub fn mix(value: f64, return_: f64, lambda: f64) -> f64 {
    (1.0 - lambda) * value + lambda * return_
}

/// What a simulation takes back from the state where it left the tree: nothing more where all is over, whatever a value function
/// says of such a state.
#[inline(always)]
pub(crate) fn evaluate<M: Model, L: Leaf<M>>(
    leaf: &mut L,
    model: &M,
    state: &M::State,
    gamma: f64,
    max_steps: u32,
    rng: &mut Stream,
) -> f64 {
    let over = max_steps == 0 || model.num_actions(state) == 0;
    if over { 0.0 } else { leaf.value(model, state, gamma, max_steps, rng) }
}
// ANCHOR_END: mcts.value-leaf
