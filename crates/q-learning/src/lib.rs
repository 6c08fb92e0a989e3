//! Learning from samples with tables and linear features: Monte Carlo, temporal differences, SARSA, Q-learning.
//!
//! | file | equations | what |
//! |---|---|---|
//! | [`config`](Config) | | every hyper-parameter with its default and range; the [methods](Method) |
//! | [`agent`](QLearning) | | act, learn, save: one agent for all methods |
//! | `one_step` | `qlearn.terminal`, `sarsa.expected-update`, `qlearn.max-bias` | the loop of Q-learning, double Q, SARSA, expected SARSA |
//! | `many_steps` | `td.nstep`, `return.recursion`, `mc.first-visit` | n steps, eligibility traces, whole episodes |
//! | `behaviour` | `prob.epsilon-greedy`, `policy.softmax` | epsilon-greedy, softmax, upper confidence bounds |
//! | `tables`, `states`, `world` | `rm.step-sizes` | step sizes; observations as rows; environments called or stepped in place |
//! | [`predict`](Predictor) | `td.update-rule`, `td.nstep`, `mc.first-visit` | values of a policy that stays as it is |
//! | [`linear_agent`](LinearQ), `features` | `fa.linear-q`, `fa.semi-gradient` | values linear in one-hot features or tiles: a box can be learnt in too |
//! | [`recommender`](Recommender), [`ratings`](Ratings) | `fa.feature-product` | users times films, from a table of ratings |
//!
//! The equations are functions of `rederive_math`: `td`, `returns`, `exploration`, `monte_carlo`, `linear`.

mod agent;
mod behaviour;
mod config;
mod features;
mod linear_agent;
mod many_steps;
mod one_step;
mod predict;
mod ratings;
mod recommender;
mod states;
mod tables;
mod world;

pub use agent::{METRICS, QLearning};
pub use config::{Config, EpsilonSchedule, Exploration, LinearConfig, Method, Target, Trace, Visit};
pub use linear_agent::{LINEAR_METRICS, LinearQ};
pub use predict::{Prediction, Predictor};
pub use ratings::{Rating, Ratings};
pub use recommender::{Errors, Recommender, RecommenderConfig};
