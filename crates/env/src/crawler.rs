//! `Crawler-v0`: a box with one arm of two joints learns to pull itself forward.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome, Space,
    grid::{Move, Tile, TileKind},
    scene::{BLUE, BROWN, GREY, PALE, RED, Scene},
};

/// Positions of each joint.
const SIDE: usize = 10;
/// The box, in its own units.
const WIDTH: f64 = 2.0;
const HEIGHT: f64 = 1.0;
/// Lengths of the upper arm and of the forearm.
const ARM: f64 = 1.5;
const HAND: f64 = 1.5;

/// A box 2 wide and 1 high with an arm at its upper front edge: an upper arm and a forearm, 1.5 each. Where the hand
/// reaches below the ground it lifts the front of the box instead, and then it grips: as long as it stays on the ground it
/// does not slip, and the rear edge slides towards or away from it.
///
/// | | |
/// |---|---|
/// | observation | the position of the arm (0 to 9: 30 degrees down to 60 degrees up, in steps of 10) and of the hand (0 to 9: stretched to bent down by 135 degrees, in steps of 15) |
/// | action | 0: raise the arm, 1: lower the arm, 2: stretch the hand, 3: bend the hand; at a stop nothing moves |
/// | reward | how far the box moved forward |
/// | start | arm raised, hand stretched |
/// | terminated | never |
/// | truncated | after 100 steps |
///
/// The state is `arm * 10 + hand`. Whoever goes the way of a pull back with the hand still on the ground is where they were:
/// progress needs the hand in the air on the way back. The best gait takes eight steps.
///
/// The study notes name the example and its hundred states; geometry and numbers are this project's.
pub struct Crawler {
    table: FiniteTable,
}

/// Shoulder, elbow and hand seen from the rear lower edge of a level box, x forward and y up.
fn joints(arm: usize, hand: usize) -> [[f64; 2]; 3] {
    let raised = (-30.0 + 10.0 * arm as f64).to_radians();
    let forearm = raised - (15.0 * hand as f64).to_radians();
    let elbow = [WIDTH + ARM * raised.cos(), HEIGHT + ARM * raised.sin()];
    [[WIDTH, HEIGHT], elbow, [elbow[0] + HAND * forearm.cos(), elbow[1] + HAND * forearm.sin()]]
}

/// How far before the rear edge the hand rests on the ground; `None` while it is in the air.
fn grip(arm: usize, hand: usize) -> Option<f64> {
    let [.., [x, y]] = joints(arm, hand);
    (y <= 0.0).then(|| x.hypot(y))
}

/// The next positions of arm and hand.
fn moved(arm: usize, hand: usize, action: usize) -> (usize, usize) {
    match action {
        0 => ((arm + 1).min(SIDE - 1), hand),
        1 => (arm.saturating_sub(1), hand),
        2 => (arm, hand.saturating_sub(1)),
        _ => (arm, (hand + 1).min(SIDE - 1)),
    }
}

impl Crawler {
    /// The table.
    pub fn new() -> Self {
        let row = |state: usize, action: usize| {
            let (arm, hand) = (state / SIDE, state % SIDE);
            let (next_arm, next_hand) = moved(arm, hand, action);
            let reward = match (grip(arm, hand), grip(next_arm, next_hand)) {
                (Some(before), Some(after)) => before - after,
                _ => 0.0,
            };
            let next = (next_arm * SIDE + next_hand) as u32;
            vec![Outcome { prob: 1.0, next, reward, terminated: false }]
        };
        let first = (SIDE - 1) * SIDE;
        let start = (0..SIDE * SIDE).map(|state| if state == first { 1.0 } else { 0.0 }).collect();
        Crawler { table: FiniteTable::new(SIDE * SIDE, 4, row, start) }
    }
}

impl Default for Crawler {
    fn default() -> Self {
        Crawler::new()
    }
}

impl FiniteModel for Crawler {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn observation_space(&self) -> Space {
        Space::MultiDiscrete { n: vec![SIDE, SIDE] }
    }

    #[inline(always)]
    fn observe(&self, state: u32, obs: &mut [f32]) {
        obs[0] = (state / SIDE as u32) as f32;
        obs[1] = (state % SIDE as u32) as f32;
    }

    fn scene(&self, state: u32) -> Scene {
        let [shoulder, elbow, hand] = joints(state as usize / SIDE, state as usize % SIDE);
        // A hand below the ground turns the box about its rear edge until it rests on it.
        let pitch = (-hand[1]).max(0.0).atan2(hand[0]);
        let turned = |[x, y]: [f64; 2]| {
            [(x * pitch.cos() - y * pitch.sin()) as f32, (x * pitch.sin() + y * pitch.cos()) as f32]
        };
        let mut scene = Scene::new([-1.0, -0.5, 5.5, 4.0]);
        scene.rectangle([-1.0, -0.5, 5.5, 4.0], PALE);
        scene.rectangle([-1.0, -0.5, 5.5, 0.0], BROWN);
        let edges = [[0.0, 0.0], [WIDTH, 0.0], [WIDTH, HEIGHT], [0.0, HEIGHT], [0.0, 0.0]];
        scene.line(edges.map(turned).to_vec(), 0.12, BLUE);
        scene.line([shoulder, elbow, hand].map(turned).to_vec(), 0.15, GREY);
        for joint in [shoulder, elbow] {
            scene.circle(turned(joint), 0.12, BLUE);
        }
        scene.circle(turned(hand), 0.14, RED);
        scene
    }

    fn grid(&self) -> Option<Grid> {
        // The arm raised is at the top, the hand stretched on the left.
        Some(Grid::one(SIDE, SIDE, &[Move::Up, Move::Down, Move::Left, Move::Right], |row, column| {
            let arm = SIDE - 1 - row;
            Tile {
                state: (arm * SIDE + column) as u32,
                kind: TileKind::Open,
                sign: if grip(arm, column).is_some() { '_' } else { ' ' },
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of actions earns from the start, with the state they end in.
    fn walk(actions: &[usize]) -> (f64, usize) {
        let crawler = Crawler::new();
        actions.iter().fold((0.0, 90), |(sum, state), &action| {
            let outcome = crawler.table.row(state, action)[0];
            (sum + outcome.reward, outcome.next as usize)
        })
    }

    #[test]
    fn a_pull_moves_the_box_and_taking_it_back_on_the_ground_undoes_it() {
        // Down to arm 3, bend to 7: on the ground; bend once more and take it back.
        let reach: Vec<usize> = [[1; 6].as_slice(), &[3; 7]].concat();
        let (reached, state) = walk(&reach);
        assert_eq!(state, 37);
        let pull = walk(&[&reach[..], &[3]].concat());
        assert!(pull.0 - reached > 0.2, "{pull:?}");
        let back = walk(&[&reach[..], &[3, 2]].concat());
        assert_eq!(back.1, 37);
        assert!((back.0 - reached).abs() < 1e-12);
    }

    #[test]
    fn in_the_air_nothing_moves() {
        assert_eq!(walk(&[0, 0, 2, 3, 3, 2, 2]), (0.0, 90));
    }

    #[test]
    fn the_gait_of_eight_steps_goes_forward() {
        // Bend on the ground, lift, stretch in the air, lower, bend on the ground.
        let gait = [3, 0, 2, 2, 2, 1, 3, 3];
        let down = [[1; 5].as_slice(), &[3; 7]].concat();
        let (before, at) = walk(&down);
        let (once, after_one) = walk(&[&down[..], &gait].concat());
        let (twice, after_two) = walk(&[&down[..], &gait, &gait].concat());
        assert_eq!((at, after_one, after_two), (47, 47, 47));
        assert!(
            (twice - 2.0 * once + before).abs() < 1e-12 && once - before > 1.0,
            "{before} {once} {twice}"
        );
    }

    #[test]
    fn the_hand_grips_where_it_is_at_or_below_the_ground() {
        assert_eq!(grip(9, 0), None);
        let [.., [x, y]] = joints(0, 9);
        assert!(y < 0.0);
        assert!((grip(0, 9).unwrap().powi(2) - x * x - y * y).abs() < 1e-12);
    }
}
