//! Deep Q-networks (Mnih et al., 2015) with all that has become usual since: every combination is a configuration.
//!
//! | file | equations | what |
//! |---|---|---|
//! | [`config`](Config) | | every hyper-parameter with its default and range |
//! | [`loss`] | `dqn.td-target`, `dqn.double-q` | targets, and the squared or Huber loss with its gradient, on vectors |
//! | [`target`] | `dqn.target-hard`, `dqn.target-soft` | the second set of parameters |
//! | [`replay`] | `dqn.replay` | the ring buffer of transitions, and batches without replacement |
//! | [`prioritized`] | | the sum tree, and batches in proportion to the last error |
//! | [`n_step`] | | several rewards in one transition |
//! | `kept` | | values of the target network, kept from one batch to the next |
//! | [`exploration`] | | the share of random actions over the steps |
//! | [`networks`](QNetworks) | `nn.mlp`, `nn.conv`, `dqn.dueling` | action values with their target network |
//! | [`agent`](Dqn) | | act, store, learn |
//!
//! The rule for a single transition is `rederive_math::td` (`qlearn.terminal`).

mod agent;
mod config;
pub mod exploration;
mod kept;
pub mod loss;
pub mod n_step;
mod networks;
pub mod prioritized;
pub mod replay;
pub mod target;

pub use agent::{Dqn, METRICS};
pub use config::{Config, OptimizerKind, TargetUpdate};
pub use exploration::EpsilonSchedule;
pub use loss::Loss;
pub use n_step::NStep;
pub use networks::QNetworks;
pub use prioritized::{Priorities, SumTree};
pub use replay::{Batch, Replay};
