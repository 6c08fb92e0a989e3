//! Solves FrozenLake, and prints the values with the best actions.

use rederive_env::{Mdp, finite_table};
use rederive_tabular::{Options, SolveError, solve};

fn main() -> Result<(), SolveError> {
    let table = finite_table("FrozenLake-v1").expect("the environment is built in");
    let lake = Mdp::<f64>::from_table(&table);
    let solution = solve(&lake, &Options { tol: 1e-9, ..Options::new(0.99) })?;
    for row in 0..4 {
        for state in 4 * row..4 * row + 4 {
            let arrow = ["<", "v", ">", "^"][solution.policy[state] as usize];
            print!("{arrow} {:.4}   ", solution.value[state]);
        }
        println!();
    }
    println!("off by at most {:.1e}, after {:.0} sweeps", solution.error_bound, solution.sweeps);
    Ok(())
}
