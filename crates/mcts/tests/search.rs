//! Searches of small processes and games with known answers.

use rederive_env::FiniteTable;
use rederive_math::Stream;
use rederive_mcts::{
    Config, Model, Playout, Search, TableModel, Tree, ValueLeaf, connect_four::ConnectFour,
    tic_tac_toe::TicTacToe,
};

/// Nim without an adapter: stones left; whoever takes the last one wins.
struct Nim;

impl Model for Nim {
    type State = usize;
    const TWO_PLAYERS: bool = true;

    fn num_actions(&self, stones: &usize) -> usize {
        (*stones).min(3)
    }

    fn step(&self, stones: &mut usize, action: usize, _: &mut Stream) -> f64 {
        *stones -= action + 1;
        f64::from(u8::from(*stones == 0))
    }
}

#[test]
fn nim_is_won_from_everywhere_but_multiples_of_four() {
    let config = Config { simulations: 20_000, range: 2.0, ..Config::default() };
    let mut search = Search::new(Nim, config, 1).unwrap();
    for stones in (1..=15).filter(|n| n % 4 != 0) {
        search.plan(&stones);
        assert_eq!(search.best() + 1, stones % 4, "{stones} stones");
        assert!(search.value() > 0.5, "{stones} stones are worth {}", search.value());
    }
    search.plan(&8);
    assert!(search.value() < -0.5, "eight stones are worth {}", search.value());
}

/// `Q*` of a table, by backups.
fn action_values(table: &FiniteTable, gamma: f64) -> Vec<Vec<f64>> {
    let (states, actions) = (table.num_states(), table.num_actions());
    let mut value = vec![0.0; states];
    let backup = |value: &[f64], s: usize, a: usize| -> f64 {
        let worth = |o: &rederive_env::Outcome| {
            o.prob * (o.reward + if o.terminated { 0.0 } else { gamma * value[o.next as usize] })
        };
        table.row(s, a).iter().map(worth).sum()
    };
    let rows = |value: &[f64]| -> Vec<Vec<f64>> {
        (0..states).map(|s| (0..actions).map(|a| backup(value, s, a)).collect()).collect()
    };
    for _ in 0..3000 {
        value = rows(&value).iter().map(|q| q.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x))).collect();
    }
    rows(&value)
}

/// The share of states in which the search takes an action that is worth at least the best one's value less `slack`.
fn near_best(id: &str, gamma: f64, config: Config, slack: f64, every: usize) -> f64 {
    let table = rederive_env::finite_table(id).unwrap();
    let q = action_values(&table, gamma);
    let model = TableModel::new(&table);
    let mut search = Search::new(&model, Config { gamma, ..config }, 2).unwrap();
    let (mut asked, mut right) = (0, 0);
    for (s, row) in q.iter().enumerate().step_by(every) {
        let best = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
        // States whose actions are all alike say nothing.
        if row.iter().all(|x| best - x <= slack) {
            continue;
        }
        search.plan(&model.state(s));
        asked += 1;
        right += u32::from(best - row[search.best()] <= slack);
    }
    assert!(asked > 3, "{id}");
    f64::from(right) / f64::from(asked)
}

#[test]
fn finite_environments_are_planned_on() {
    let config = |simulations, range| Config { simulations, range, max_depth: 200, ..Config::default() };
    let sure = near_best("FrozenLake-v1?slippery=false", 0.9, config(20_000, 0.5), 1e-6, 1);
    assert!(sure >= 0.9, "FrozenLake without chance: {sure}");
    let slippery = near_best("FrozenLake-v1", 0.99, config(100_000, 1.0), 0.05, 1);
    assert!(slippery >= 0.8, "FrozenLake: {slippery}");
    let grid = near_best("GridWorld", 0.9, config(50_000, 2.0), 0.02, 1);
    assert!(grid >= 0.9, "GridWorld: {grid}");
}

/// With exact values at the leaf, hardly any simulation is needed.
#[test]
fn exact_leaf_values_make_a_short_search_enough() {
    let table = rederive_env::finite_table("Taxi-v3").unwrap();
    let q = action_values(&table, 0.95);
    let best = |s: usize| q[s].iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
    let model = TableModel::new(&table);
    let leaf = ValueLeaf::new(|s: &rederive_mcts::TableState| best(s.state as usize), 0.0).unwrap();
    let config = Config { simulations: 60, gamma: 0.95, range: 2.0, ..Config::default() };
    let mut search = Search::with_leaf(&model, leaf, config, 1).unwrap();
    // States where passenger and destination agree are never met before the end.
    for s in (0..500).filter(|s| s % 7 == 0 && s / 4 % 5 != s % 4) {
        search.plan(&model.state(s));
        assert!(best(s) - q[s][search.best()] < 1e-9, "state {s}: {:?}", q[s]);
    }
    let refused = ValueLeaf::new(|_: &()| 0.0, 1.5).err().unwrap();
    assert_eq!(refused.to_string(), "lambda = 1.5: must be in [0, 1]");
}

#[test]
fn the_seed_decides_everything() {
    let children = |seed| {
        let mut search = Search::new(ConnectFour, Config::default(), seed).unwrap();
        search.plan(&Default::default());
        search.children().collect::<Vec<_>>()
    };
    assert_eq!(children(1), children(1));
    assert_ne!(children(1), children(2));
    // In pieces as at once.
    let mut search = Search::new(ConnectFour, Config::default(), 1).unwrap();
    search.restart(&Default::default());
    (0..10).for_each(|_| search.run(1000));
    assert_eq!(search.children().collect::<Vec<_>>(), children(1));
}

#[test]
fn a_full_tree_stays_full_and_goes_on_counting() {
    let config = Config { simulations: 5000, max_nodes: 100, range: 2.0, ..Config::default() };
    let mut search = Search::new(TicTacToe, config, 1).unwrap();
    search.plan(&Default::default());
    assert_eq!(search.tree().len(), 100);
    assert_eq!(search.tree().chosen(Tree::ROOT), 5000);
    assert_eq!(search.children().map(|child| child.visits).sum::<u32>(), 5000);
}

#[test]
fn a_root_that_is_over_ends_every_simulation() {
    let mut search = Search::new(Nim, Config { simulations: 7, ..Config::default() }, 1).unwrap();
    search.plan(&0);
    assert_eq!((search.tree().len(), search.tree().visits(Tree::ROOT), search.value()), (1, 7, 0.0));
    assert!(search.line().is_empty());
}

#[test]
fn a_refused_configuration_says_why() {
    let refused = Search::with_leaf(Nim, Playout, Config { c: -1.0, ..Config::default() }, 1).err().unwrap();
    assert_eq!(refused.to_string(), "c = -1: must be at least 0");
}
