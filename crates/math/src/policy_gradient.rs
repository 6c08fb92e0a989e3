//! Policy gradients: what is sampled, what is subtracted, what is minimised, and what all of it estimates.
//!
//! [`weights`] turns a rollout into one number per step, [`baselines`] subtracts what does not depend on the action, and [`loss`]
//! is what a learning loop minimises: they work on rollouts `[T,N]` or flat batches `[B]` and run in training. [`score`] holds why
//! a score estimates a gradient. [`trajectories`] lists every path of a small process and so has the exact mean and covariance of
//! an estimator; [`exact`] is the same gradient without samples, from occupancies and values.
//!
//! The exact forms belong to a table of logits `theta` `[S, A]`, `pi(a | s) = softmax(theta(s, .))_a`, whose score
//! `d log pi(a | s) / d theta(s, .)` is `e_a - pi(. | s)`. Where several states share a row, [`exact::share`] adds their rows up.

pub mod baselines;
pub mod exact;
pub mod loss;
pub mod score;
pub mod trajectories;
pub mod weights;
