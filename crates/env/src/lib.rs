//! Environments with Gymnasium's IDs, dynamics, rewards, time limits and reset distributions.
//!
//! [`make`] makes one environment ([`Env`]) and [`make_vec`] many that are stepped together ([`VecEnv`]); [`IDS`] lists
//! them, and [`finite_table`] gives the exact transitions of those with finitely many states. One file holds one environment.
//!
//! ```
//! use rederive_env::{Actions, make_vec};
//!
//! let mut env = make_vec("CartPole-v1?max_steps=200", 4)?;
//! env.reset(7);
//! env.step(Actions::Discrete(&[0, 1, 1, 0]));
//! assert_eq!((env.obs().dim(), env.reward()), ((4, 4), &[1.0; 4][..]));
//! # Ok::<(), rederive_env::UnknownEnv>(())
//! ```
//!
//! | ID | options, after `?` and separated by `&` |
//! |---|---|
//! | `CartPole-v1`, `MountainCar-v0`, `MountainCarContinuous-v0`, `Acrobot-v1`, `Pendulum-v1` | `stack=4` |
//! | `FrozenLake-v1`, `FrozenLake8x8-v1` | `map=4x4`, `8x8` or rows such as `SFF/FHG`; `slippery=false`; `success_rate=0.8` |
//! | `CliffWalking-v1` | `slippery=true` |
//! | `Taxi-v3` (also `Taxi-v4`) | |
//! | `Blackjack-v1` | `sab=false`, `natural=true` |
//! | `GridWorld-v0` (also `GridWorld`) | `map=...+/.#.-/S...`, `noise=0.2`, `living_reward=-0.04` |
//! | `Crawler-v0`, `Corridor-v0` | |
//! | `MinAtar/Breakout-v1`, `Asterix`, `Freeway`, `Seaquest`, `SpaceInvaders`; `-v0` with all six actions | `sticky=0.1`, `ramping=false`, `stack=4` |
//! | all | `max_steps=200` in place of the ID's own limit |
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
pub mod corridor;
pub mod crawler;
mod dynamics;
mod finite;
pub mod frozen_lake;
pub mod generate;
pub mod grid;
pub mod grid_world;
mod mdp;
pub mod minatar;
pub mod mountain_car;
pub mod mountain_car_continuous;
pub mod pendulum;
mod registry;
mod saved;
pub mod scene;
mod space;
mod stack;
mod sync_vec;
pub mod taxi;
mod traits;
mod trig;

pub use batch::Batch;
pub use dynamics::{Dynamics, LaneAction, Single};
pub use finite::{Finite, FiniteModel, FiniteParts, FiniteTable, Outcome, Place};
pub use grid::Grid;
pub use mdp::{AnyMdp, Mdp, MdpArrays, MdpBuilder, MdpError, MdpFileError, read_mdp};
pub use rederive_math::{End, Stream};
pub use registry::{
    EnvOption, EnvSpec, IDS, MAX_STEPS, Problem, UnknownEnv, finite_table, grid, make, make_vec, max_steps,
    spec,
};
pub use space::Space;
pub use stack::{FrameStack, Stacked};
pub use sync_vec::{SyncVec, reset_stream, step_stream};
pub use traits::{Action, Actions, Env, StateError, VecEnv};
