//! `Corridor-v0`: the goal lies between two cells that look the same.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome, Space,
    grid::{Move, Tile, TileKind},
    scene::{GREEN, PALE, Scene},
};

/// The cell between the two others.
const GOAL: usize = 1;

/// Three cells in a row with the goal in the middle. The two others look the same.
///
/// | | |
/// |---|---|
/// | observation | 0 in the left and in the right cell, 1 at the goal |
/// | action | 0: left, 1: right; into a wall, the agent stays put |
/// | reward | 1 on reaching the goal |
/// | start | the left or the right cell, each half of the time |
/// | terminated | at the goal |
/// | truncated | after 100 steps |
///
/// The right way is another in either cell, so a policy that always does the same thing in the same observation never arrives from
/// one of them, and one that tosses a coin always does (`alias.stochastic`). States are the cells from the left.
///
/// S. Singh, T. Jaakkola, M. Jordan (1994), *Learning without state-estimation in partially observable Markovian decision
/// processes*.
pub struct Corridor {
    table: FiniteTable,
}

impl Corridor {
    /// The table.
    pub fn new() -> Self {
        let row = |state: usize, action: usize| {
            let next = if action == 0 { state.saturating_sub(1) } else { (state + 1).min(2) };
            let reaches = state != GOAL && next == GOAL;
            let (next, reward) = if state == GOAL { (GOAL, 0.0) } else { (next, f64::from(reaches)) };
            vec![Outcome { prob: 1.0, next: next as u32, reward, terminated: next == GOAL }]
        };
        Corridor { table: FiniteTable::new(3, 2, row, vec![0.5, 0.0, 0.5]) }
    }
}

impl Default for Corridor {
    fn default() -> Self {
        Corridor::new()
    }
}

impl FiniteModel for Corridor {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn observation_space(&self) -> Space {
        Space::Discrete { n: 2 }
    }

    #[inline(always)]
    fn observe(&self, state: u32, obs: &mut [f32]) {
        obs[0] = if state as usize == GOAL { 1.0 } else { 0.0 };
    }

    fn scene(&self, state: u32) -> Scene {
        Scene::board(1, 3, Some((0, state as usize)), |_, column| {
            if column == GOAL { (GREEN, "G".into()) } else { (PALE, ".".into()) }
        })
    }

    fn grid(&self) -> Option<Grid> {
        Some(Grid::one(1, 3, &[Move::Left, Move::Right], |_, column| Tile {
            state: column as u32,
            kind: if column == GOAL { TileKind::End } else { TileKind::Open },
            sign: if column == GOAL { 'G' } else { ' ' },
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Actions, Stream, make_vec};
    use rederive_math::aliasing;

    /// The mean discounted return of going right with this probability, over many episodes.
    fn value(right: f64) -> f64 {
        let (episodes, gamma) = (20_000, 0.9f64);
        let mut env = make_vec("Corridor-v0", 1).unwrap();
        env.reset(3);
        let mut rng = Stream::new(4, "test", 0);
        let (mut sum, mut ended, mut discount) = (0.0, 0, 1.0);
        while ended < episodes {
            assert_eq!(env.obs()[[0, 0]], 0.0, "both cells look the same");
            env.step(Actions::Discrete(&[u32::from(rng.unit() < right)]));
            sum += discount * f64::from(env.reward()[0]);
            discount *= gamma;
            if env.end()[0].done() {
                (ended, discount) = (ended + 1, 1.0);
            }
        }
        sum / f64::from(episodes)
    }

    #[test]
    fn a_coin_beats_every_fixed_choice_by_as_much_as_the_closed_form_says() {
        for right in [0.2, 0.5, 0.9] {
            let expected = aliasing::merged_cells_value(right, 0.9);
            // A return lies in [0, 1]: five standard errors are at most 0.018.
            assert!((value(right) - expected).abs() < 0.018, "{right}: {}, {expected}", value(right));
        }
    }
}
