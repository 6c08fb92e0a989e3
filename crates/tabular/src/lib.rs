//! Exact solution of finite Markov decision processes ([`Mdp`](rederive_env::Mdp), compressed sparse rows).
//!
//! | solver | how it goes on | equations |
//! |---|---|---|
//! | [`solve`] | whichever of the others suits | |
//! | [`value_iteration`] | all states at once from the old values (Jacobi), on several threads | `bellman.optimality`, `dp.vi-rate` |
//! | [`q_value_iteration`] | the same on action values | `dp.q-vi` |
//! | [`gauss_seidel`] | in place, forwards and backwards in turn | `rtdp.async-backup` |
//! | [`prioritized_sweeping`] | the state with the largest Bellman error next | `rtdp.async-backup` |
//! | [`policy_iteration`] | exact evaluation, then improvement that keeps tied actions | `dp.policy-iteration` |
//! | [`modified_policy_iteration`] | a few sweeps of evaluation between improvements | `dp.policy-evaluation` |
//! | [`inexact_policy_iteration`] | evaluation by GMRES, as exactly as the next improvement deserves | `dp.policy-iteration` |
//! | [`rtdp`] | greedy trials from the start states between an upper and a lower bound | `rtdp.coverage` |
//! | [`soft_value_iteration`], [`soft_policy_iteration`] | with an entropy bonus | `maxent.soft-bellman` |
//! | [`finite_horizon`] | backwards from the end, a policy for every number of steps left | `dp.finite-horizon-vi` |
//! | [`evaluate`], [`evaluate_direct`] | the value of a given policy, by sweeps or by elimination | `bellman.v` |
//!
//! Every solver stops by a *proven* bound on its error, `error_bound`, which counts rounding and rows that do not sum to 1
//! exactly (`bounds.rs` derives it), and returns values, action values and a policy that belong together.
//!
//! ```
//! use rederive_env::{Mdp, finite_table};
//! use rederive_tabular::{Options, value_iteration};
//!
//! let lake = Mdp::<f64>::from_table(&finite_table("FrozenLake-v1").unwrap());
//! let solution = value_iteration(&lake, &Options { tol: 1e-9, ..Options::new(0.99) })?;
//! assert!((solution.value[0] - 0.542_025_93).abs() < 1e-8 && solution.error_bound <= 1e-9);
//! # Ok::<(), rederive_tabular::SolveError>(())
//! ```

mod backup;
mod bounds;
mod evaluation;
mod finite_horizon;
mod gauss_seidel;
mod krylov;
mod options;
mod policy_iteration;
mod prioritized;
mod rtdp;
mod soft;
mod solution;
mod termination;
mod value_iteration;
mod workers;

pub use evaluation::{Evaluation, evaluate, evaluate_direct, evaluate_stochastic};
pub use finite_horizon::{FiniteHorizon, finite_horizon};
pub use gauss_seidel::gauss_seidel;
pub use options::{Options, SolveError};
pub use policy_iteration::{
    inexact_policy_iteration, modified_policy_iteration, news_travel_far, policy_iteration, solve,
};
pub use prioritized::prioritized_sweeping;
pub use rtdp::{rtdp, trial};
pub use soft::{SoftSolution, soft_policy_iteration, soft_value_iteration};
pub use solution::Solution;
pub use termination::longest_episode;
pub use value_iteration::{Optimality, q_value_iteration, value_iteration};
