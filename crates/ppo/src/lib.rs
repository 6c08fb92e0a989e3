//! Proximal policy optimisation (Schulman et al., 2017), for discrete and continuous actions.
//!
//! | file | equations | what |
//! |---|---|---|
//! | [`config`](Config) | | every hyper-parameter with its default and range |
//! | [`loss`] | `ppo.total-loss` | the whole objective and its gradient, on vectors |
//! | [`agent`](Ppo) | `ppo.epochs`, `ppo.early-stop` | collect, estimate advantages, learn |
//!
//! The parts of the objective live in `rederive_math`: `surrogate` (`ppo.clip-form`, `ppo.penalty`), `value_loss`
//! (`ppo.value-loss`), `gae` (`gae.recursion`), `normalise` (`ppo.adv-norm`).

mod agent;
mod config;
pub mod loss;

pub use agent::{METRICS, Ppo};
pub use config::{Config, Objective};
