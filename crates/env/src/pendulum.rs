//! `Pendulum-v1`: swing a pendulum up and hold it there with a weak motor.

use crate::{
    Dynamics, Space, Stream,
    scene::{BLACK, GREY, RED, Scene},
    trig::{round, sin_cos},
};
use std::f64::consts::{PI, TAU};

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const TIME_STEP: f64 = 0.05;
const GRAVITY: f64 = 10.0;

/// A rod (1 kg, 1 m) on a motor; `theta = 0` is upright.
///
/// | | |
/// |---|---|
/// | observation | `cos theta`, `sin theta`, angular velocity |
/// | action | torque in N m, clamped to ±2 |
/// | reward | `-(theta^2 + 0.1 theta'^2 + 0.001 u^2)` of the state before the step, `theta` taken in `[-pi, pi)` |
/// | start | `theta` uniform in `[-pi, pi)`, angular velocity in `[-1, 1)` |
/// | terminated | never |
/// | truncated | after 200 steps |
///
/// ```text
/// theta' <- clamp(theta' + (3 g / (2 l) sin theta + 3 u / (m l^2)) dt, ±8),   theta <- theta + theta' dt,   dt = 0.05 s
/// ```
///
/// A NaN action gives a NaN observation and reward.
pub struct Pendulum;

/// `x` less the multiple of a full turn that leaves it in `[-pi, pi)`.
#[inline(always)]
fn normalised(x: f64) -> f64 {
    let turns = (x + PI) * (1.0 / TAU);
    let nearest = round(turns);
    let whole = if nearest > turns { nearest - 1.0 } else { nearest };
    x - whole * TAU
}

impl Dynamics<2, 3> for Pendulum {
    type Action = f32;

    fn observation_space() -> Space {
        let high = vec![1.0, 1.0, MAX_SPEED as f32];
        Space::Box { low: high.iter().map(|x| -x).collect(), high }
    }

    fn action_space() -> Space {
        Space::Box { low: vec![-MAX_TORQUE], high: vec![MAX_TORQUE] }
    }

    #[inline]
    fn start(rng: &mut Stream) -> [f64; 2] {
        [rng.uniform(-PI, PI), rng.uniform(-1.0, 1.0)]
    }

    #[inline(always)]
    fn transition([angle, spin]: [f64; 2], action: f32) -> ([f64; 2], f32, bool) {
        let torque = f64::from(action.clamp(-MAX_TORQUE, MAX_TORQUE));
        let off = normalised(angle);
        let cost = off * off + 0.1 * (spin * spin) + 0.001 * (torque * torque);
        let spin = spin + (1.5 * GRAVITY * sin_cos(angle).0 + 3.0 * torque) * TIME_STEP;
        let spin = spin.clamp(-MAX_SPEED, MAX_SPEED);
        ([angle + spin * TIME_STEP, spin], -cost as f32, false)
    }

    #[inline(always)]
    fn observe([angle, spin]: [f64; 2]) -> [f32; 3] {
        let (sin, cos) = sin_cos(angle);
        [cos as f32, sin as f32, spin as f32]
    }

    fn scene([angle, _]: [f64; 2]) -> Scene {
        let end = [-angle.sin() as f32, angle.cos() as f32];
        let mut scene = Scene::new([-1.3, -1.3, 1.3, 1.3]);
        scene.line(vec![[0.0, 0.0], end], 0.14, RED);
        scene.circle([0.0, 0.0], 0.06, BLACK);
        scene.circle(end, 0.07, GREY);
        scene
    }
}
