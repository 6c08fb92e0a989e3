//! Environments with Gymnasium's IDs, dynamics, rewards, time limits and reset distributions.
//!
//! [`make`] makes one environment ([`Env`]) and [`make_vec`] many that are stepped together ([`VecEnv`]); [`IDS`] lists
//! them, and [`finite_table`] gives the exact transitions of those with finitely many states. One file holds one environment.
//!
//! There are two ways to write an environment, and both give an [`Env`] and a [`VecEnv`]:
//!
//! - [`Dynamics`]: a few real numbers as the state, a step without chance. [`Batch`] turns it into vector code.
//! - [`FiniteModel`]: a table ([`FiniteTable`]). [`Finite`] draws from it.
//!
//! Anything else that is an [`Env`] becomes a [`VecEnv`] through [`SyncVec`].

pub mod acrobot;
mod batch;
pub mod blackjack;
pub mod cart_pole;
pub mod cliff_walking;
mod dynamics;
mod finite;
pub mod frozen_lake;
pub mod grid_world;
pub mod mountain_car;
pub mod mountain_car_continuous;
pub mod pendulum;
mod registry;
mod saved;
pub mod scene;
mod space;
mod sync_vec;
pub mod taxi;
mod traits;
mod trig;

pub use batch::Batch;
pub use dynamics::{Dynamics, LaneAction, Single};
pub use finite::{Finite, FiniteModel, FiniteTable, Outcome};
pub use rederive_math::{End, Stream};
pub use registry::{
    EnvOption, EnvSpec, IDS, MAX_STEPS, Problem, UnknownEnv, finite_table, make, make_vec, spec,
};
pub use space::Space;
pub use sync_vec::{SyncVec, reset_stream, step_stream};
pub use traits::{Action, Actions, Env, StateError, VecEnv};
