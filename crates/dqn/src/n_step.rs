//! Several rewards in one transition.

use rederive_math::End;
use rederive_train::Checkpoint;
use serde::{Deserialize, Serialize};

/// Gathers the steps of several environments into transitions of `n` rewards.
///
/// The transition that begins at step `t` has the reward `sum_{i<k} gamma^i r_{t+i}`, the discount `gamma^k` and the
/// observation after `k` steps: `k = n`, or fewer where the episode ends before. An episode that was cut off gives
/// transitions that lead to its true last observation and did not terminate; one that terminated gives the same with
/// `terminated` set. Nothing ever reaches across an end.
///
/// Source: R. S. Sutton (1988), Learning to predict by the methods of temporal differences; M. Hessel et al. (2018),
/// Rainbow: Combining Improvements in Deep Reinforcement Learning.
///
/// ```
/// use rederive_dqn::NStep;
/// use rederive_math::End;
///
/// let mut steps = NStep::new(1, 2, 1, 0.5);
/// let mut seen = Vec::new();
/// for (t, end) in [End::No, End::No, End::Truncated].into_iter().enumerate() {
///     steps.begin(0, &[t as f32], 0);
///     steps.finish(0, 1.0, end, |tr| seen.push((tr.obs[0], tr.reward, tr.discount, tr.terminated)));
/// }
/// assert_eq!(seen, [(0.0, 1.5, 0.25, false), (1.0, 1.5, 0.25, false), (2.0, 1.0, 0.5, false)]);
/// ```
#[derive(Clone, Debug)]
pub struct NStep {
    n: usize,
    width: usize,
    /// `gamma^0 .. gamma^n`.
    power: Vec<f32>,
    lanes: Vec<Lane>,
    /// The observations of the open steps `[N, n, D]`, each environment's in a ring.
    obs: Vec<f32>,
}

/// The open steps of one environment, in a ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lane {
    /// Where the oldest one lies.
    first: usize,
    /// How many there are.
    len: usize,
    action: Vec<u32>,
    reward: Vec<f32>,
}

/// A transition of up to `n` steps, but for the observation that it led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps<'a> {
    /// The observation in which it began.
    pub obs: &'a [f32],
    /// The action taken there.
    pub action: u32,
    /// The discounted sum of its rewards.
    pub reward: f32,
    /// `gamma` to the number of its rewards.
    pub discount: f32,
    /// Whether the episode terminated with it.
    pub terminated: bool,
}

impl NStep {
    /// For `num_envs` environments with observations of `width` numbers.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn new(num_envs: usize, n: usize, width: usize, gamma: f64) -> Self {
        assert!(n > 0, "a transition has at least one reward");
        NStep {
            n,
            width,
            power: (0..=n).map(|k| gamma.powi(k as i32) as f32).collect(),
            lanes: vec![Lane { first: 0, len: 0, action: vec![0; n], reward: vec![0.0; n] }; num_envs],
            obs: vec![0.0; num_envs * n * width],
        }
    }

    /// Notes what environment `env` sees and does before a step.
    ///
    /// # Panics
    /// If `obs` has another width.
    #[inline]
    pub fn begin(&mut self, env: usize, obs: &[f32], action: u32) {
        let lane = &mut self.lanes[env];
        let slot = wrap(lane.first + lane.len, self.n);
        lane.len += 1;
        lane.action[slot] = action;
        self.obs[(env * self.n + slot) * self.width..][..self.width].copy_from_slice(obs);
    }

    /// Notes what the step brought, and hands over every transition that is now complete, the oldest first; all of them lead
    /// to the observation after the step.
    #[inline]
    pub fn finish(&mut self, env: usize, reward: f32, end: End, mut complete: impl FnMut(Steps<'_>)) {
        let lane = &mut self.lanes[env];
        let n = self.n;
        lane.reward[wrap(lane.first + lane.len - 1, n)] = reward;
        while lane.len == n || (end.done() && lane.len > 0) {
            let slot = lane.first;
            // From the last reward backwards, as a return is computed.
            let sum = (0..lane.len).rev().fold(0.0, |sum, i| {
                let reward = lane.reward[wrap(slot + i, n)];
                if n == 1 { reward } else { reward + self.power[1] * sum }
            });
            complete(Steps {
                obs: &self.obs[(env * n + slot) * self.width..][..self.width],
                action: lane.action[slot],
                reward: sum,
                discount: self.power[lane.len],
                terminated: end.terminated(),
            });
            lane.first = wrap(slot + 1, n);
            lane.len -= 1;
        }
    }

    /// Its state for a checkpoint: the observations, and the rest.
    pub(crate) fn state(&self) -> (&[f32], impl Serialize) {
        (&self.obs, &self.lanes)
    }

    /// Replaces its state by the one in `n_step` and `n_step.obs`; the problem in words if it does not fit, in which case some
    /// of it may have been replaced.
    pub(crate) fn restore(&mut self, checkpoint: &Checkpoint, num_actions: usize) -> Result<(), String> {
        checkpoint.get_tensor("n_step.obs", &mut self.obs)?;
        let lanes: Vec<Lane> = checkpoint.get("n_step")?;
        let fits = |lane: &Lane| {
            (lane.first < self.n && lane.len < self.n)
                && (lane.action.len() == self.n && lane.reward.len() == self.n)
                && lane.action.iter().all(|&action| (action as usize) < num_actions)
        };
        if lanes.len() != self.lanes.len() || !lanes.iter().all(fits) {
            return Err(format!("expected the steps of {} environments, {} each", self.lanes.len(), self.n));
        }
        self.lanes = lanes;
        Ok(())
    }
}

#[inline]
fn wrap(i: usize, n: usize) -> usize {
    if i < n { i } else { i - n }
}
