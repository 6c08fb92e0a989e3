//! `CartPole-v1`: push a cart left or right so that the pole on it stays up.

use crate::{
    Dynamics, Space, Stream,
    scene::{BLACK, BROWN, GREY, Scene},
    trig::sin_cos,
};

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = 1.1;
/// Half the pole's length: from the axle to its centre of mass.
const HALF_LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
/// Seconds between two steps.
const TIME_STEP: f64 = 0.02;
const POSITION_LIMIT: f64 = 2.4;
/// 12 degrees.
const ANGLE_LIMIT: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

/// A pole hinged on a cart that moves on a frictionless track.
///
/// | | |
/// |---|---|
/// | observation | position `x` (m), velocity, angle `theta` from upright (rad, clockwise), angular velocity |
/// | action | 0: push left, 1: push right, with 10 N |
/// | reward | 1 per step, the last one included |
/// | start | each number uniform in `[-0.05, 0.05)` |
/// | terminated | when `x` is outside of ±2.4 m or `theta` outside of ±12 degrees |
/// | truncated | after 500 steps |
///
/// With force `F`, total mass `M`, pole mass `m` and half length `l`, `u = (F + m l theta'^2 sin theta) / M`:
///
/// ```text
/// theta'' = (g sin theta - u cos theta) / (l (4/3 - m cos^2 theta / M))
/// x''     = u - m l theta'' cos theta / M
/// ```
///
/// integrated by Euler's explicit method with 0.02 s.
///
/// A. Barto, R. Sutton, C. Anderson (1983), *Neuronlike adaptive elements that can solve difficult learning control problems*.
pub struct CartPole;

impl Dynamics<4, 4> for CartPole {
    type Action = u32;

    fn observation_space() -> Space {
        let high =
            vec![2.0 * POSITION_LIMIT as f32, f32::INFINITY, (2.0 * ANGLE_LIMIT) as f32, f32::INFINITY];
        Space::Box { low: high.iter().map(|x| -x).collect(), high }
    }

    fn action_space() -> Space {
        Space::Discrete { n: 2 }
    }

    #[inline]
    fn start(rng: &mut Stream) -> [f64; 4] {
        std::array::from_fn(|_| rng.uniform(-0.05, 0.05))
    }

    #[inline(always)]
    fn transition([x, velocity, angle, spin]: [f64; 4], action: u32) -> ([f64; 4], f32, bool) {
        let force = if action == 1 { FORCE } else { -FORCE };
        let (sin, cos) = sin_cos(angle);
        // Constants are divided once, at compile time: the one division left is by the angle's own term.
        let push = (force + POLE_MASS * HALF_LENGTH * (spin * spin) * sin) * (1.0 / TOTAL_MASS);
        let angular = (GRAVITY * sin - cos * push)
            / (HALF_LENGTH * (4.0 / 3.0 - (POLE_MASS / TOTAL_MASS) * (cos * cos)));
        let linear = push - (POLE_MASS * HALF_LENGTH / TOTAL_MASS) * angular * cos;
        let next = [
            x + TIME_STEP * velocity,
            velocity + TIME_STEP * linear,
            angle + TIME_STEP * spin,
            spin + TIME_STEP * angular,
        ];
        let fallen = (next[0] < -POSITION_LIMIT)
            | (next[0] > POSITION_LIMIT)
            | (next[2] < -ANGLE_LIMIT)
            | (next[2] > ANGLE_LIMIT);
        (next, 1.0, fallen)
    }

    #[inline(always)]
    fn observe(state: [f64; 4]) -> [f32; 4] {
        state.map(|x| x as f32)
    }

    fn scene([x, _, angle, _]: [f64; 4]) -> Scene {
        let (x, angle) = (x as f32, angle as f32);
        let mut scene = Scene::new([-2.7, -0.4, 2.7, 1.4]);
        scene.line(vec![[-2.4, 0.0], [2.4, 0.0]], 0.02, GREY);
        for stop in [-2.4, 2.4] {
            scene.line(vec![[stop, -0.1], [stop, 0.1]], 0.03, GREY);
        }
        scene.rectangle([x - 0.25, -0.13, x + 0.25, 0.13], BLACK);
        scene.line(vec![[x, 0.08], [x + angle.sin(), 0.08 + angle.cos()]], 0.09, BROWN);
        scene.circle([x, 0.08], 0.05, GREY);
        scene
    }
}
