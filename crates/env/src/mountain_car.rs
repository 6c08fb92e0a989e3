//! `MountainCar-v0`: an engine too weak for the hill must swing the car up.

use crate::{
    Dynamics, Space, Stream,
    scene::{BLACK, GREEN, GREY, Scene},
    trig::sin_cos,
};

pub(crate) const MIN_POSITION: f64 = -1.2;
pub(crate) const MAX_POSITION: f64 = 0.6;
pub(crate) const MAX_SPEED: f64 = 0.07;
pub(crate) const GOAL: f64 = 0.5;
const FORCE: f64 = 0.001;
const GRAVITY: f64 = 0.0025;

/// A car in a valley, `y = 0.45 sin(3 x) + 0.55`.
///
/// | | |
/// |---|---|
/// | observation | position, velocity |
/// | action | 0: accelerate left, 1: coast, 2: accelerate right |
/// | reward | -1 per step |
/// | start | position uniform in `[-0.6, -0.4)`, at rest |
/// | terminated | when the position reaches 0.5, not moving backwards |
/// | truncated | after 200 steps |
///
/// ```text
/// v <- clamp(v + 0.001 (a - 1) - 0.0025 cos(3 x), ±0.07)
/// x <- clamp(x + v, -1.2, 0.6)        (and v <- 0 when the car runs into the left wall)
/// ```
///
/// A. Moore (1990), *Efficient memory-based learning for robot control*.
pub struct MountainCar;

pub(crate) fn observation_space() -> Space {
    Space::Box {
        low: vec![MIN_POSITION as f32, -MAX_SPEED as f32],
        high: vec![MAX_POSITION as f32, MAX_SPEED as f32],
    }
}

pub(crate) fn scene(position: f64, goal: f64) -> Scene {
    let height = |x: f32| 0.45 * (3.0 * x).sin() + 0.55;
    let (x, goal) = (position as f32, goal as f32);
    let (left, right) = (MIN_POSITION as f32, MAX_POSITION as f32);
    let mut scene = Scene::new([left - 0.1, -0.05, right + 0.1, 1.25]);
    let hill = (0..=60).map(|i| left + (right - left) * i as f32 / 60.0).map(|x| [x, height(x)]);
    scene.line(hill.collect(), 0.015, GREY);
    scene.line(vec![[goal, height(goal)], [goal, height(goal) + 0.18]], 0.012, BLACK);
    let flag = height(goal) + 0.18;
    scene.shapes.push(crate::scene::Shape::Polygon {
        points: vec![[goal, flag], [goal, flag - 0.08], [goal + 0.1, flag - 0.04]],
        color: GREEN,
    });
    // The body stands on the tangent of the hill.
    let slope = 1.35 * (3.0 * x).cos();
    let norm = (1.0 + slope * slope).sqrt();
    let (along, up) = ([1.0 / norm, slope / norm], [-slope / norm, 1.0 / norm]);
    let at = |a: f32, u: f32| [x + a * along[0] + u * up[0], height(x) + a * along[1] + u * up[1]];
    scene.shapes.push(crate::scene::Shape::Polygon {
        points: vec![at(-0.07, 0.025), at(0.07, 0.025), at(0.07, 0.085), at(-0.07, 0.085)],
        color: BLACK,
    });
    for wheel in [-0.04, 0.04] {
        scene.circle(at(wheel, 0.025), 0.025, GREY);
    }
    scene
}

impl Dynamics<2, 2> for MountainCar {
    type Action = u32;

    fn observation_space() -> Space {
        observation_space()
    }

    fn action_space() -> Space {
        Space::Discrete { n: 3 }
    }

    #[inline]
    fn start(rng: &mut Stream) -> [f64; 2] {
        [rng.uniform(-0.6, -0.4), 0.0]
    }

    #[inline(always)]
    fn transition([position, velocity]: [f64; 2], action: u32) -> ([f64; 2], f32, bool) {
        let push = (f64::from(action) - 1.0) * FORCE;
        let velocity = velocity + (push - GRAVITY * sin_cos(3.0 * position).1);
        let velocity = velocity.clamp(-MAX_SPEED, MAX_SPEED);
        let position = (position + velocity).clamp(MIN_POSITION, MAX_POSITION);
        let stopped = (position == MIN_POSITION) & (velocity < 0.0);
        let velocity = if stopped { 0.0 } else { velocity };
        ([position, velocity], -1.0, (position >= GOAL) & (velocity >= 0.0))
    }

    #[inline(always)]
    fn observe(state: [f64; 2]) -> [f32; 2] {
        state.map(|x| x as f32)
    }

    fn scene([position, _]: [f64; 2]) -> Scene {
        scene(position, GOAL)
    }
}
