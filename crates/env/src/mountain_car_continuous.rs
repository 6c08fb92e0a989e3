//! `MountainCarContinuous-v0`: the same valley, any force, and a price on it.

use crate::{
    Dynamics, Space, Stream,
    mountain_car::{self, MAX_POSITION, MAX_SPEED, MIN_POSITION},
    scene::Scene,
    trig::sin_cos,
};

const GOAL: f32 = 0.45;
const POWER: f32 = 0.0015;
const GRAVITY: f64 = 0.0025;

/// A car in a valley with a continuous engine.
///
/// | | |
/// |---|---|
/// | observation | position, velocity |
/// | action | force, clamped to ±1 |
/// | reward | `-0.1 a^2` with the action before clamping, and 100 more on reaching the goal |
/// | start | position uniform in `[-0.6, -0.4)`, at rest |
/// | terminated | when the position reaches 0.45, not moving backwards |
/// | truncated | after 999 steps |
///
/// ```text
/// v <- clamp(v + 0.0015 clamp(a, ±1) - 0.0025 cos(3 x), ±0.07)
/// x <- clamp(x + v, -1.2, 0.6)        (and v <- 0 when the car runs into the left wall)
/// ```
///
/// Gymnasium keeps this state in single precision from the first step on; so does this one, from the start on, so that
/// both see the goal at the same step. A NaN action gives a NaN observation and reward.
pub struct MountainCarContinuous;

impl Dynamics<2, 2> for MountainCarContinuous {
    type Action = f32;

    fn observation_space() -> Space {
        mountain_car::observation_space()
    }

    fn action_space() -> Space {
        Space::Box { low: vec![-1.0], high: vec![1.0] }
    }

    #[inline]
    fn start(rng: &mut Stream) -> [f64; 2] {
        [f64::from(rng.uniform(-0.6, -0.4) as f32), 0.0]
    }

    #[inline(always)]
    fn transition([position, velocity]: [f64; 2], action: f32) -> ([f64; 2], f32, bool) {
        let (position, velocity) = (position as f32, velocity as f32);
        let force = action.clamp(-1.0, 1.0);
        let pull = (GRAVITY * sin_cos(f64::from(3.0 * position)).1) as f32;
        let velocity = (velocity + (force * POWER - pull)).clamp(-MAX_SPEED as f32, MAX_SPEED as f32);
        let position = (position + velocity).clamp(MIN_POSITION as f32, MAX_POSITION as f32);
        let stopped = (position == MIN_POSITION as f32) & (velocity < 0.0);
        let velocity = if stopped { 0.0 } else { velocity };
        let arrived = (position >= GOAL) & (velocity >= 0.0);
        let price = 0.1 * (f64::from(action) * f64::from(action));
        let reward = if arrived { 100.0 - price } else { -price };
        ([f64::from(position), f64::from(velocity)], reward as f32, arrived)
    }

    #[inline(always)]
    fn observe(state: [f64; 2]) -> [f32; 2] {
        state.map(|x| x as f32)
    }

    fn scene([position, _]: [f64; 2]) -> Scene {
        mountain_car::scene(position, f64::from(GOAL))
    }
}
