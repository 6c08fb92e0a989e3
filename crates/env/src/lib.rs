//! Environments with Gymnasium's IDs, dynamics, rewards, time limits and reset distributions.

pub mod scene;
mod space;
mod traits;

pub use rederive_math::{End, Stream};
pub use space::Space;
pub use traits::{Action, Actions, Env, StateError, VecEnv};
