use crate::{End, FiniteParts, Place, Space, Stream, scene::Scene};
use ndarray::{ArrayRef2, ArrayView2};
use serde_json::Value;
use std::fmt;

/// One action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// The number of a discrete action.
    Discrete(u32),
    /// A vector of reals, one per action dimension.
    Continuous(&'a [f32]),
}

/// One action per environment.
#[derive(Clone, Copy, Debug)]
pub enum Actions<'a> {
    /// `[N]` numbers of discrete actions.
    Discrete(&'a [u32]),
    /// `[N, D]` vectors.
    Continuous(&'a ArrayRef2<f32>),
}

/// A single environment with Gymnasium's semantics; its time limit is part of it.
pub trait Env: Send {
    /// What observations look like.
    fn observation_space(&self) -> Space;

    /// What actions look like.
    fn action_space(&self) -> Space;

    /// Starts an episode and writes its first observation.
    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]);

    /// Takes one step, writes the next observation, and returns the reward and how the transition ended.
    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End);

    /// The whole state, so that [`load`](Self::load) goes on bit for bit.
    fn save(&self) -> Value;

    /// Restores what [`save`](Self::save) returned.
    fn load(&mut self, state: &Value) -> Result<(), StateError>;

    /// A drawing of the present state, where the environment has one.
    fn scene(&self) -> Option<Scene> {
        None
    }

    /// The model, where a [`FiniteTable`](crate::FiniteTable) describes the environment completely.
    fn finite_parts(&self) -> Option<FiniteParts<'_>> {
        None
    }

    /// The number of the present state in that model, and the steps of the running episode.
    fn finite_state(&self) -> Option<(u32, u32)> {
        None
    }

    /// Goes to a state of that model, `elapsed` steps into an episode, and writes what is seen there.
    ///
    /// # Panics
    /// If there is no such state, or no such model.
    fn set_finite_state(&mut self, state: u32, elapsed: u32, obs: &mut [f32]) {
        let _ = (elapsed, obs);
        panic!("state {state} of an environment without a finite model");
    }
}

impl<E: Env + ?Sized> Env for Box<E> {
    fn observation_space(&self) -> Space {
        (**self).observation_space()
    }

    fn action_space(&self) -> Space {
        (**self).action_space()
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        (**self).reset(rng, obs);
    }

    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        (**self).step(action, rng, obs)
    }

    fn save(&self) -> Value {
        (**self).save()
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        (**self).load(state)
    }

    fn scene(&self) -> Option<Scene> {
        (**self).scene()
    }

    fn finite_parts(&self) -> Option<FiniteParts<'_>> {
        (**self).finite_parts()
    }

    fn finite_state(&self) -> Option<(u32, u32)> {
        (**self).finite_state()
    }

    fn set_finite_state(&mut self, state: u32, elapsed: u32, obs: &mut [f32]) {
        (**self).set_finite_state(state, elapsed, obs);
    }
}

/// `N` environments stepped together. An environment that ends is reset in the same step: [`obs`](Self::obs) then holds the
/// first observation of the next episode and [`final_obs`](Self::final_obs) the last one of the episode that ended.
pub trait VecEnv: Send {
    /// The ID, as in `CartPole-v1`.
    fn id(&self) -> &str;

    /// How many environments there are, N.
    fn num_envs(&self) -> usize;

    /// What one observation looks like.
    fn observation_space(&self) -> &Space;

    /// What one action looks like.
    fn action_space(&self) -> &Space;

    /// Gives every environment its streams under `seed` and starts an episode in each.
    fn reset(&mut self, seed: u64);

    /// Steps every environment.
    fn step(&mut self, actions: Actions<'_>);

    /// The present observations `[N, D]`.
    fn obs(&self) -> ArrayView2<'_, f32>;

    /// The rewards of the last step `[N]`.
    fn reward(&self) -> &[f32];

    /// How the last step ended `[N]`.
    fn end(&self) -> &[End];

    /// The true successor observations `[N, D]` of the last step; only rows whose [`end`](Self::end) is done are meaningful.
    fn final_obs(&self) -> ArrayView2<'_, f32>;

    /// The whole state, random streams included.
    fn save(&self) -> Value;

    /// Restores what [`save`](Self::save) returned.
    fn load(&mut self, state: &Value) -> Result<(), StateError>;

    /// The model of all environments, where a [`FiniteTable`](crate::FiniteTable) describes them completely. A loop over the
    /// table that draws from the streams of each [`place`](Self::place), and at the end [`puts`](Self::set_place) the
    /// environments where it left them, does what [`step`](Self::step) does.
    fn finite_parts(&self) -> Option<FiniteParts<'_>> {
        None
    }

    /// Where environment `n` stands in that model.
    fn place(&self, n: usize) -> Option<Place> {
        let _ = n;
        None
    }

    /// Puts environment `n` at a place; its reward and end are then those of a fresh one.
    ///
    /// # Panics
    /// If there is no such environment or state, or no such model.
    fn set_place(&mut self, n: usize, place: Place) {
        panic!("{place:?} for environment {n}, which has no finite model");
    }
}

/// A saved environment state that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(pub String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment state: {}", self.0)
    }
}

impl std::error::Error for StateError {}
