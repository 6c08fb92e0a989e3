//! `Acrobot-v1`: two hanging links and a motor between them; swing the foot above the bar.

use crate::{
    Dynamics, Space, Stream,
    scene::{BLACK, BLUE, GREEN, GREY, Scene},
    trig::{round, sin_cos},
};
use std::f64::consts::{PI, TAU};

const TIME_STEP: f64 = 0.2;
const MAX_SPIN: [f64; 2] = [4.0 * PI, 9.0 * PI];
const GRAVITY: f64 = 9.8;
const MASS: [f64; 2] = [1.0, 1.0];
/// Length of the first link.
const LENGTH: f64 = 1.0;
/// From a link's joint to its centre of mass.
const CENTRE: [f64; 2] = [0.5, 0.5];
/// Moment of inertia of either link.
const INERTIA: f64 = 1.0;

/// Two links; the torque acts on the joint between them. `theta_1` is from hanging straight down, `theta_2` relative to the
/// first link.
///
/// | | |
/// |---|---|
/// | observation | `cos theta_1`, `sin theta_1`, `cos theta_2`, `sin theta_2`, the two angular velocities |
/// | action | 0, 1, 2: torque -1, 0, 1 N m |
/// | reward | -1 per step, 0 for the one that reaches the goal |
/// | start | each of the four numbers uniform in `[-0.1, 0.1)`, in single precision |
/// | terminated | when the foot is above the line: `-cos theta_1 - cos(theta_1 + theta_2) > 1` |
/// | truncated | after 500 steps |
///
/// With links of mass `m_i`, centres of mass at `c_i`, inertia `I`, `l` the first link's length and torque `u`:
///
/// ```text
/// d_1   = m_1 c_1^2 + m_2 (l^2 + c_2^2 + 2 l c_2 cos theta_2) + 2 I
/// d_2   = m_2 (c_2^2 + l c_2 cos theta_2) + I
/// phi_2 = m_2 c_2 g sin(theta_1 + theta_2)
/// phi_1 = -m_2 l c_2 theta_2' (theta_2' + 2 theta_1') sin theta_2 + (m_1 c_1 + m_2 l) g sin theta_1 + phi_2
/// theta_2'' = (u + d_2/d_1 phi_1 - m_2 l c_2 theta_1'^2 sin theta_2 - phi_2) / (m_2 c_2^2 + I - d_2^2 / d_1)
/// theta_1'' = -(d_2 theta_2'' + phi_1) / d_1
/// ```
///
/// integrated over 0.2 s by one step of the classical Runge-Kutta method of order 4; then angles are taken in `[-pi, pi]`
/// and velocities clamped to ±4 pi and ±9 pi.
///
/// R. Sutton (1996), *Generalization in reinforcement learning: successful examples using sparse coarse coding*.
pub struct Acrobot;

#[inline(always)]
fn derivative([angle_1, angle_2, spin_1, spin_2]: [f64; 4], torque: f64) -> [f64; 4] {
    let (sin_2, cos_2) = sin_cos(angle_2);
    let coupling = MASS[1] * LENGTH * CENTRE[1];
    let d1 = MASS[0] * CENTRE[0] * CENTRE[0]
        + MASS[1] * (LENGTH * LENGTH + CENTRE[1] * CENTRE[1])
        + 2.0 * coupling * cos_2
        + 2.0 * INERTIA;
    let d2 = MASS[1] * CENTRE[1] * CENTRE[1] + coupling * cos_2 + INERTIA;
    let phi2 = MASS[1] * CENTRE[1] * GRAVITY * sin_cos(angle_1 + angle_2).0;
    let phi1 = -coupling * spin_2 * (spin_2 + 2.0 * spin_1) * sin_2
        + (MASS[0] * CENTRE[0] + MASS[1] * LENGTH) * GRAVITY * sin_cos(angle_1).0
        + phi2;
    let inverse = 1.0 / d1;
    let acceleration_2 = (torque + d2 * inverse * phi1 - coupling * (spin_1 * spin_1) * sin_2 - phi2)
        / (MASS[1] * CENTRE[1] * CENTRE[1] + INERTIA - d2 * d2 * inverse);
    let acceleration_1 = -(d2 * acceleration_2 + phi1) * inverse;
    [spin_1, spin_2, acceleration_1, acceleration_2]
}

#[inline(always)]
fn along(state: [f64; 4], slope: [f64; 4], time: f64) -> [f64; 4] {
    std::array::from_fn(|k| state[k] + time * slope[k])
}

/// The angle in `[-pi, pi]`.
#[inline(always)]
fn wrapped(angle: f64) -> f64 {
    angle - TAU * round(angle * (1.0 / TAU))
}

impl Dynamics<4, 6> for Acrobot {
    type Action = u32;

    fn observation_space() -> Space {
        let high = vec![1.0, 1.0, 1.0, 1.0, MAX_SPIN[0] as f32, MAX_SPIN[1] as f32];
        Space::Box { low: high.iter().map(|x| -x).collect(), high }
    }

    fn action_space() -> Space {
        Space::Discrete { n: 3 }
    }

    #[inline]
    fn start(rng: &mut Stream) -> [f64; 4] {
        std::array::from_fn(|_| f64::from(rng.uniform(-0.1, 0.1) as f32))
    }

    #[inline(always)]
    fn transition(state: [f64; 4], action: u32) -> ([f64; 4], f32, bool) {
        let torque = f64::from(action) - 1.0;
        let k1 = derivative(state, torque);
        let k2 = derivative(along(state, k1, 0.5 * TIME_STEP), torque);
        let k3 = derivative(along(state, k2, 0.5 * TIME_STEP), torque);
        let k4 = derivative(along(state, k3, TIME_STEP), torque);
        let mean: [f64; 4] =
            std::array::from_fn(|k| (k1[k] + 2.0 * k2[k] + 2.0 * k3[k] + k4[k]) * (1.0 / 6.0));
        let [angle_1, angle_2, spin_1, spin_2] = along(state, mean, TIME_STEP);
        let next = [
            wrapped(angle_1),
            wrapped(angle_2),
            spin_1.clamp(-MAX_SPIN[0], MAX_SPIN[0]),
            spin_2.clamp(-MAX_SPIN[1], MAX_SPIN[1]),
        ];
        let height = -sin_cos(next[0]).1 - sin_cos(next[0] + next[1]).1;
        let above = height > 1.0;
        (next, if above { 0.0 } else { -1.0 }, above)
    }

    #[inline(always)]
    fn observe([angle_1, angle_2, spin_1, spin_2]: [f64; 4]) -> [f32; 6] {
        let ((sin_1, cos_1), (sin_2, cos_2)) = (sin_cos(angle_1), sin_cos(angle_2));
        [cos_1 as f32, sin_1 as f32, cos_2 as f32, sin_2 as f32, spin_1 as f32, spin_2 as f32]
    }

    fn scene([angle_1, angle_2, _, _]: [f64; 4]) -> Scene {
        let elbow = [angle_1.sin() as f32, -angle_1.cos() as f32];
        let (sin, cos) = (angle_1 + angle_2).sin_cos();
        let foot = [elbow[0] + sin as f32, elbow[1] - cos as f32];
        let mut scene = Scene::new([-2.2, -2.2, 2.2, 2.2]);
        scene.line(vec![[-2.2, 1.0], [2.2, 1.0]], 0.02, GREY);
        scene.line(vec![[0.0, 0.0], elbow], 0.16, BLUE);
        scene.line(vec![elbow, foot], 0.16, GREEN);
        for joint in [[0.0, 0.0], elbow] {
            scene.circle(joint, 0.08, BLACK);
        }
        scene
    }
}
