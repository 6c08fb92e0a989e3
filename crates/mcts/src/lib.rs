//! Monte Carlo tree search: UCT with random playouts or a value function at the leaf, for one player or two, with sure or
//! random transitions.
//!
//! | module | equations |
//! |---|---|
//! | [`ucb`] | `mcts.ucb`, `mcts.scale`, `mcts.ucb1-regret` |
//! | [`Tree`] | `mcts.backup` |
//! | [`Search`] | `mcts.expansion`, `mcts.uct-consistency` |
//! | [`playout`] | `mcts.playout` |
//! | [`Leaf`] | `mcts.value-leaf` |
//!
//! A [`Model`] says what can be done and what follows; [`TableModel`] makes one of any finite environment, and
//! [`connect_four`] and [`tic_tac_toe`] are games.
//!
//! ```
//! use rederive_mcts::{Config, Search, connect_four::{ConnectFour, Position}};
//!
//! // Three in a row with both ends open: the search completes it in the second or the sixth column.
//! let position: Position = "334455".parse()?;
//! let mut search = Search::new(ConnectFour, Config { range: 2.0, ..Config::default() }, 1)?;
//! search.plan(&position);
//! assert!([1, 5].contains(&position.column(search.best())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
pub mod connect_four;
mod leaf;
mod model;
mod moves;
mod search;
mod table;
pub mod tic_tac_toe;
mod tree;
pub mod ucb;

pub use config::Config;
pub use leaf::{Leaf, Playout, ValueLeaf, mix};
pub use model::{Model, playout};
pub use moves::MovesError;
pub use search::Search;
pub use table::{TableModel, TableState};
pub use tree::{Child, NodeId, Tree};
