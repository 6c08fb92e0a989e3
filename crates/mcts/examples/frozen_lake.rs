//! UCT walks over slippery ice, planning anew before each step: `cargo run --release -p rederive-mcts --example frozen_lake`.

use rederive_math::Stream;
use rederive_mcts::{Config, Model, Search, TableModel};

const EPISODES: u32 = 100;
const MAX_STEPS: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = rederive_env::finite_table("FrozenLake-v1").ok_or("no finite environment")?;
    let model = TableModel::new(&table);
    let config = Config { simulations: 2000, gamma: 0.99, max_depth: MAX_STEPS, ..Config::default() };
    let mut search = Search::new(&model, config, 1)?;
    let mut world = Stream::new(1, "world", 0);

    let mut successes = 0.0;
    for episode in 1..=EPISODES {
        let mut state = model.state(table.sample_start(&mut world) as usize);
        for _ in 0..MAX_STEPS {
            if model.num_actions(&state) == 0 {
                break;
            }
            search.plan(&state);
            successes += model.step(&mut state, search.best(), &mut world);
        }
        if episode % 10 == 0 {
            println!("{episode:>4} episodes: {successes} reached the goal");
        }
    }
    Ok(())
}
