use crate::grid::{Board, Move, Tile, TileKind};
use crate::mountain_car::{GOAL, MAX_POSITION, MAX_SPEED, MIN_POSITION, MountainCar};
use crate::{Dynamics, Grid, Mdp, Outcome};
use rederive_math::Real;

/// MountainCar on a lattice of `shape` = positions, velocities, each evenly spaced over its range, ends included. State
/// `j * positions + i` is position i and velocity j, both from the lowest.
///
/// A step from a lattice point lands between up to four others, and leads to each with the weight that interpolates linearly
/// between them. The value of the lattice is then an approximation of the car's that is a process of its own right, with
/// reward -1 per step, an end at the goal, and points beyond the goal where all is over. The finer the lattice, the less a step
/// moves on it, and the slower values spread.
///
/// H. Kushner, P. Dupuis (1992), *Numerical methods for stochastic control problems in continuous time*; R. Munos, A. Moore (2002),
/// *Variable resolution discretization in optimal control*.
///
/// # Panics
/// If there are fewer than two positions or velocities.
pub fn hill<P: Real>(shape: [u32; 2]) -> Mdp<P> {
    let lattice = Lattice::new(shape);
    let states = lattice.positions * lattice.velocities;
    let mut builder = Mdp::builder(states);
    builder.reserve(3 * states, 12 * states);
    for s in 0..states {
        for action in 0..3 {
            let added = if lattice.over(s) {
                builder.action(&[Outcome { prob: 1.0, next: s as u32, reward: 0.0, terminated: true }])
            } else {
                let (next, reward, terminated) = MountainCar::transition(lattice.point(s), action);
                let reward = reward.into();
                let corners = lattice.corners(next);
                builder.action(&corners.map(|(next, prob)| Outcome { prob, next, reward, terminated }))
            };
            added.unwrap_or_else(|error| panic!("{error}"));
        }
        builder.end_state().unwrap_or_else(|error| panic!("{error}"));
    }
    builder.finish().unwrap_or_else(|error| panic!("{error}"))
}

/// The board of [`hill`]: positions to the right, velocities up.
pub fn hill_grid(shape: [u32; 2]) -> Grid {
    let lattice = Lattice::new(shape);
    let (rows, columns) = (lattice.velocities, lattice.positions);
    let tile = |i: usize| {
        let state = (rows - 1 - i / columns) * columns + i % columns;
        let kind = if lattice.over(state) { TileKind::End } else { TileKind::Open };
        Tile { state: state as u32, kind, sign: if kind == TileKind::End { 'G' } else { ' ' } }
    };
    let board = Board { title: String::new(), tiles: (0..rows * columns).map(tile).collect() };
    Grid { rows, columns, actions: vec![Move::Left, Move::Other('·'), Move::Right], boards: vec![board] }
}

/// The state nearest to standing in the valley.
pub(super) fn start(shape: [u32; 2]) -> u32 {
    let lattice = Lattice::new(shape);
    let [x, v] = lattice.index([-0.5, 0.0]).map(|index| index.round() as usize);
    (v * lattice.positions + x) as u32
}

struct Lattice {
    positions: usize,
    velocities: usize,
}

impl Lattice {
    fn new([positions, velocities]: [u32; 2]) -> Self {
        assert!(positions > 1 && velocities > 1, "{positions} x {velocities}: must be 2 x 2 or larger");
        Lattice { positions: positions as usize, velocities: velocities as usize }
    }

    fn point(&self, state: usize) -> [f64; 2] {
        let share = |i: usize, n: usize| i as f64 / (n - 1) as f64;
        let (i, j) = (state % self.positions, state / self.positions);
        [
            MIN_POSITION + (MAX_POSITION - MIN_POSITION) * share(i, self.positions),
            MAX_SPEED * (2.0 * share(j, self.velocities) - 1.0),
        ]
    }

    /// Where a point lies, in steps of the lattice from its lowest corner.
    fn index(&self, [x, v]: [f64; 2]) -> [f64; 2] {
        let x = (x - MIN_POSITION) / (MAX_POSITION - MIN_POSITION) * (self.positions - 1) as f64;
        let v = (v + MAX_SPEED) / (2.0 * MAX_SPEED) * (self.velocities - 1) as f64;
        [x.clamp(0.0, (self.positions - 1) as f64), v.clamp(0.0, (self.velocities - 1) as f64)]
    }

    fn over(&self, state: usize) -> bool {
        let [x, v] = self.point(state);
        x >= GOAL && v >= 0.0
    }

    /// The states around a point, with the weights of linear interpolation.
    fn corners(&self, point: [f64; 2]) -> [(u32, f64); 4] {
        let [x, v] = self.index(point);
        let (i, j) = (x as usize, v as usize);
        let (right, up) = (x - i as f64, v - j as f64);
        // On the last row or column the weight of what would lie beyond is 0.
        let state = |i: usize, j: usize| {
            (j.min(self.velocities - 1) * self.positions + i.min(self.positions - 1)) as u32
        };
        [
            (state(i, j), (1.0 - right) * (1.0 - up)),
            (state(i + 1, j), right * (1.0 - up)),
            (state(i, j + 1), (1.0 - right) * up),
            (state(i + 1, j + 1), right * up),
        ]
    }
}
