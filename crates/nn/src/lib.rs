//! Networks on flat parameters with handwritten forward, backward and jvp passes; optimisers, clipping and schedules.
//!
//! | module | equation | what |
//! |---|---|---|
//! | [`mlp`] | `nn.mlp` | multi-layer perceptron: forward, backward, jvp |
//! | [`conv`] | `nn.conv` | convolution |
//! | [`dueling`](mod@dueling) | `dqn.dueling` | action values from a state value and advantages |
//! | [`network`] | | all of these, one after the other |
//! | [`optim`] | `opt.first-order` | SGD with momentum, RMSProp, Adam, AdaMax; gradient clipping |
//! | [`init`] | | orthogonal and uniform initialisation |
//! | [`schedule`] | | constant and linear schedules |
//! | [`activation`] | | tanh, ReLU, softplus, identity, and their derivatives |
//! | [`product`] | | the small matrix products under all of it |

pub mod activation;
pub mod conv;
pub mod dueling;
pub mod init;
mod layout;
pub mod mlp;
pub mod network;
pub mod optim;
pub mod product;
pub mod schedule;
mod transpose;

pub use activation::Activation;
pub use conv::{Conv, ConvSpec, ConvWorkspace};
pub use layout::{Layout, View};
pub use mlp::{Mlp, Workspace};
pub use network::{Input, Network, NetworkSpec, NetworkWorkspace};
pub use optim::{Optimizer, OptimizerConfig, clip_global_norm};
pub use schedule::Schedule;
