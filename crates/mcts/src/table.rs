use crate::Model;
use rederive_env::FiniteTable;
use rederive_math::Stream;

/// A finite environment to plan in, from its exact table.
///
/// ```
/// use rederive_mcts::{Config, Search, TableModel};
///
/// let table = rederive_env::finite_table("FrozenLake-v1?slippery=false").expect("a finite environment");
/// let model = TableModel::new(&table);
/// let mut search = Search::new(&model, Config { gamma: 0.95, max_depth: 100, ..Config::default() }, 1)?;
/// search.plan(&model.state(14));
/// assert_eq!(search.best(), 2, "the goal is on the right");
/// # Ok::<(), rederive_train::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TableModel<'a> {
    table: &'a FiniteTable,
}

/// A state of a [`TableModel`]: its number, and whether the episode ended on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its number in the table.
    pub state: u32,
    /// Whether nothing follows.
    pub over: bool,
}

impl<'a> TableModel<'a> {
    /// The process that `table` describes.
    pub fn new(table: &'a FiniteTable) -> Self {
        TableModel { table }
    }

    /// The state of that number, with the episode going on.
    ///
    /// # Panics
    /// If the table has no such state.
    pub fn state(&self, state: usize) -> TableState {
        assert!(state < self.table.num_states(), "state {state} of {}", self.table.num_states());
        TableState { state: state as u32, over: false }
    }
}

impl Model for TableModel<'_> {
    type State = TableState;
    const CHANCE: bool = true;

    #[inline(always)]
    fn num_actions(&self, state: &TableState) -> usize {
        if state.over { 0 } else { self.table.num_actions() }
    }

    #[inline]
    fn step(&self, state: &mut TableState, action: usize, rng: &mut Stream) -> f64 {
        let outcome = self.table.sample(state.state as usize, action, rng);
        *state = TableState { state: outcome.next, over: outcome.terminated };
        outcome.reward
    }
}
