//! An environment of six lines and a training loop of twenty, in which every sum and every expectation names the axis of the
//! array that it runs over: `cargo run --release -p rederive --example six_line_environment`.
//!
//! The loop is REINFORCE with a baseline, `grad J = E_tau[ sum_t (G_t - b_t) grad log pi(a_t | s_t) ]`, on arrays whose axes are
//!
//! | axis | | |
//! |---|---|---|
//! | 0 | trajectory `i` of N | the expectation over trajectories, `E_tau`, is the mean along this axis |
//! | 1 | step `t` of T | sums over time run along this axis |
//! | 2 | mood `s` | a gradient keeps this axis |
//! | 3 | action `a` | and this one |

use ndarray::{Array2, Array4, Axis, s};
use rederive::math::{Stream, categorical};

/// Trajectories, steps, and how many moods there are (and actions).
const N: usize = 64;
const T: usize = 5;
const M: usize = 3;

/// The market's mood today: 0, 1 or 2. Holding a position through the day earns `position * (mood + noise)` and costs
/// `position^2 / 2`, so that the best position is the mood. Tomorrow's mood has nothing to do with today's.
struct Market(usize);

#[rustfmt::skip]
impl Market {
    fn step(&mut self, position: f64, rng: &mut Stream) -> f64 {
        let drift = self.0 as f64 + rng.normal();
        self.0 = rng.below(M as u32) as usize;
        position * drift - 0.5 * position * position
    }
}

/// Trains the logits `theta` `[mood, action]` of a softmax policy; returns the mean return of each iteration.
#[rustfmt::skip]
pub fn train(theta: &mut Array2<f64>, iterations: usize, rng: &mut Stream) -> Vec<f64> {
    (0..iterations).map(|_| {
        let (mut reward, mut score) = (Array2::zeros((N, T)), Array4::<f64>::zeros((N, T, M, M)));
        for i in 0..N {                                                           // tau_i ~ pi: axis 0
            let mut market = Market(rng.below(M as u32) as usize);
            for t in 0..T {                                                       // step t: axis 1
                let (mood, mut d_logits) = (market.0, [0.0; M]);
                let logits = theta.row(mood).to_vec();
                let action = categorical::sample(&logits, rng.unit());            // a[i,t] ~ pi(. | s[i,t])
                categorical::add_d_log_prob(&logits, action, 1.0, &mut d_logits); // grad log pi(a[i,t] | s[i,t])
                score.slice_mut(s![i, t, mood, ..]).assign(&ndarray::aview1(&d_logits));
                reward[[i, t]] = market.step(action as f64, rng);
            }
        }
        let mut to_go = reward.clone();                                           // G[i,t] = sum_{k>=t} r[i,k]: axis 1
        to_go.slice_mut(s![.., ..;-1]).accumulate_axis_inplace(Axis(1), |&later, now| *now += later);
        let baseline = to_go.mean_axis(Axis(0)).expect("N > 0");                  // b[t] = E_tau[G_t]: axis 0
        let advantage = (to_go - baseline).insert_axis(Axis(2)).insert_axis(Axis(3));
        let gradient = (score * advantage).sum_axis(Axis(1)).mean_axis(Axis(0));  // E_tau[sum_t ...]: axis 1, then axis 0
        theta.scaled_add(0.3, &gradient.expect("N > 0"));                         // uphill
        reward.sum_axis(Axis(1)).mean().expect("N > 0")                           // J = E_tau[sum_t r]: axis 1, then axis 0
    }).collect()
}

/// What a day earns on average if the position is always the mood, which no policy beats: the mean of `mood^2 / 2`.
pub fn best_day() -> f64 {
    (0..M).map(|mood| (mood * mood) as f64 / 2.0).sum::<f64>() / M as f64
}

fn main() {
    let mut theta = Array2::zeros((M, M));
    let returns = train(&mut theta, 400, &mut Stream::new(1, "six lines", 0));
    let mean_day = |returns: &[f64]| returns.iter().sum::<f64>() / (returns.len() * T) as f64;
    let (first, last) = (mean_day(&returns[..20]), mean_day(&returns[380..]));
    println!("a day earns {first:.3} at first and {last:.3} at last; at most {:.3}", best_day());
    let mut prob = vec![0.0; M];
    for (mood, logits) in theta.rows().into_iter().enumerate() {
        categorical::probabilities(&logits.to_vec(), &mut prob);
        println!("mood {mood}: positions 0, 1, 2 with probabilities {prob:.2?}");
    }
}
