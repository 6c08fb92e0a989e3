use crate::{
    ActionBuffer, Checkpoint, Diverged, EpisodeLog, Interface, Networks, OnPolicyConfig, RewardNormalizer,
};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{End, VecEnv};

/// `T` steps of `N` environments, time-major; row `t * N + n` of a two-dimensional array belongs to step `t` of environment `n`.
///
/// Only [`Collector::collect`] writes it; learning reads it, so what the old policy did stays fixed over all epochs.
#[derive(Clone, Debug)]
pub struct Rollout {
    features: Array2<f32>,
    action: ActionBuffer,
    log_prob: Array2<f32>,
    reward: Array2<f32>,
    end: Array2<End>,
    value: Array2<f32>,
    next_value: Array2<f32>,
}

impl Rollout {
    /// What the networks read `[T * N, features]`.
    pub fn features(&self) -> &ArrayRef2<f32> {
        &self.features
    }

    /// What was done: `[T * N]` numbers or `[T * N, D]` vectors, as sampled (before any clipping to the action space).
    pub fn action(&self) -> &ActionBuffer {
        &self.action
    }

    /// The log-probability of each action under the policy that took it `[T, N]`.
    pub fn log_prob(&self) -> &ArrayRef2<f32> {
        &self.log_prob
    }

    /// The reward that followed each action, after normalisation where that is on `[T, N]`.
    pub fn reward(&self) -> &ArrayRef2<f32> {
        &self.reward
    }

    /// How each transition ended `[T, N]`.
    pub fn end(&self) -> &ArrayRef2<End> {
        &self.end
    }

    /// The value of each observation `[T, N]`.
    pub fn value(&self) -> &ArrayRef2<f32> {
        &self.value
    }

    /// The value of the true successor `[T, N]`: of the final observation where the episode was cut, never of the next
    /// episode's first one. Where the episode terminated it is 0.
    pub fn next_value(&self) -> &ArrayRef2<f32> {
        &self.next_value
    }
}

/// What collecting asks of an agent.
pub trait ActorCritic {
    /// Samples an action per row of `features` `[N, F]`; writes the actions and their log-probabilities `[N]`. `ended` tells
    /// which environments start a new episode with this observation.
    fn act(
        &mut self,
        features: &ArrayRef2<f32>,
        ended: &[End],
        action: &mut ActionBuffer,
        log_prob: &mut [f32],
    );

    /// The values `[B]` of the rows of `features` `[B, F]`.
    fn values(&mut self, features: &ArrayRef2<f32>, out: &mut [f32]);
}

/// Fills rollouts: observations in, features and actions through the policy, rewards and ends out, with the optional
/// running normalisations on the way. Nothing is allocated after the first rollout.
#[derive(Clone, Debug)]
pub struct Collector {
    interface: Interface,
    gamma: f64,
    reward_normalizer: Option<RewardNormalizer>,
    rollout: Rollout,
    /// How the step before the rollout's first one ended.
    last_end: Vec<End>,
    step_action: ActionBuffer,
    /// Features after the last step, then those of the true successors at truncations.
    tail: Array2<f32>,
    truncated: Vec<(usize, usize)>,
    tail_value: Vec<f32>,
    /// Whether the observations after the reset have been taken into account.
    started: bool,
}

impl Collector {
    /// A collector of rollouts from environments like `env`, as `config` says.
    pub fn new(env: &dyn VecEnv, config: &OnPolicyConfig<'_>) -> Self {
        let (num_steps, n) = (config.num_steps, env.num_envs());
        let interface = Interface::new(env, config.normalize_obs);
        let (rows, features, shape) = (num_steps * n, interface.features(), (num_steps, n));
        let rollout = Rollout {
            features: Array2::zeros((rows, features)),
            action: ActionBuffer::new(env.action_space(), rows),
            log_prob: Array2::zeros(shape),
            reward: Array2::zeros(shape),
            end: Array2::default(shape),
            value: Array2::zeros(shape),
            next_value: Array2::zeros(shape),
        };
        Collector {
            tail: Array2::zeros((2 * n, features)),
            interface,
            gamma: config.gamma,
            reward_normalizer: config.normalize_reward.then(|| RewardNormalizer::new(n)),
            rollout,
            last_end: vec![End::Terminated; n],
            step_action: ActionBuffer::new(env.action_space(), n),
            truncated: Vec::new(),
            tail_value: Vec::new(),
            started: false,
        }
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// The most likely actions for the rows of `obs` `[N, D]`, within their bounds.
    pub fn act_greedy(
        &mut self,
        networks: &mut Networks,
        obs: ArrayView2<'_, f32>,
        actions: &mut ActionBuffer,
    ) {
        self.interface.act_greedy(networks, obs, actions);
    }

    /// Adds how the last step ended and the state of the normalisations.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put("last_end", &self.last_end);
        self.interface.save(checkpoint);
        checkpoint.put("reward_normalizer", &self.reward_normalizer);
    }

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit, in which case some of it may already be
    /// restored.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let ends: Vec<End> = checkpoint.get("last_end")?;
        let num_envs = self.last_end.len();
        if ends.len() != num_envs {
            return Err(format!("state last_end has {} environments, expected {num_envs}", ends.len()));
        }
        self.interface.load(checkpoint)?;
        let reward: Option<RewardNormalizer> = checkpoint.get("reward_normalizer")?;
        let fits = reward.as_ref().is_none_or(|r| r.fits(num_envs));
        if reward.is_some() != self.reward_normalizer.is_some() || !fits {
            return Err("state reward_normalizer does not fit normalize_reward".to_owned());
        }
        (self.last_end, self.reward_normalizer) = (ends, reward);
        self.started = true;
        Ok(())
    }

    /// Runs the policy for one rollout. `step` is the number of environment steps taken before it; finished episodes are
    /// recorded with their undiscounted, unnormalised returns.
    ///
    /// # Errors
    /// If a reward or an observation is not finite.
    pub fn collect(
        &mut self,
        env: &mut dyn VecEnv,
        policy: &mut impl ActorCritic,
        episodes: &mut EpisodeLog,
        step: u64,
        update: u64,
    ) -> Result<&Rollout, Diverged> {
        let (num_steps, n) = self.rollout.reward.dim();
        assert_eq!(env.num_envs(), n, "the environments against the rollout's columns");
        self.truncated.clear();
        let mut tails = n;
        if !self.started {
            self.interface.observe(env);
            self.started = true;
        }
        for t in 0..num_steps {
            let mut features = self.rollout.features.slice_mut(s![t * n..(t + 1) * n, ..]);
            self.interface.encode(env.obs(), &mut features);
            let log_prob = &mut self.rollout.log_prob.as_slice_mut().expect("time-major")[t * n..(t + 1) * n];
            policy.act(&features, &self.last_end, &mut self.step_action, log_prob);
            self.rollout.action.copy_rows(t * n, &self.step_action);
            self.interface.step(env, &self.step_action, update)?;
            let at = t * n..(t + 1) * n;
            let reward = &mut self.rollout.reward.as_slice_mut().expect("time-major")[at.clone()];
            reward.copy_from_slice(env.reward());
            let end = &mut self.rollout.end.as_slice_mut().expect("time-major")[at];
            end.copy_from_slice(env.end());
            self.last_end.copy_from_slice(end);
            for (i, (&r, e)) in reward.iter().zip(&*end).enumerate() {
                episodes.record(i, r, e.done(), step + (t * n + i + 1) as u64);
                if e.truncated() {
                    if tails == self.tail.nrows() {
                        grow(&mut self.tail);
                    }
                    let row = s![tails..tails + 1, ..];
                    let last = env.final_obs();
                    let last = last.slice(s![i..i + 1, ..]);
                    Diverged::check(update, "observation", last)?;
                    self.interface.encode(last, &mut self.tail.slice_mut(row));
                    self.truncated.push((t, i));
                    tails += 1;
                }
            }
            if let Some(normalizer) = &mut self.reward_normalizer {
                normalizer.apply(reward, end, self.gamma);
            }
            self.interface.observe(env);
        }
        let mut after = self.tail.slice_mut(s![..n, ..]);
        self.interface.encode(env.obs(), &mut after);
        self.evaluate(policy, tails);
        Diverged::check(update, "value", &self.rollout.value)?;
        Ok(&self.rollout)
    }

    /// Values of all observations in one pass, and from them the values of the true successors.
    fn evaluate(&mut self, policy: &mut impl ActorCritic, tails: usize) {
        let rollout = &mut self.rollout;
        let (num_steps, n) = rollout.reward.dim();
        policy.values(&rollout.features, rollout.value.as_slice_mut().expect("time-major"));
        self.tail_value.resize(tails, 0.0);
        policy.values(&self.tail.slice(s![..tails, ..]), &mut self.tail_value);
        let next = rollout.next_value.as_slice_mut().expect("time-major");
        let value = rollout.value.as_slice().expect("time-major");
        next[..(num_steps - 1) * n].copy_from_slice(&value[n..]);
        next[(num_steps - 1) * n..].copy_from_slice(&self.tail_value[..n]);
        for (next, end) in next.iter_mut().zip(&rollout.end) {
            if end.terminated() {
                *next = 0.0;
            }
        }
        for (&(t, i), &v) in self.truncated.iter().zip(&self.tail_value[n..]) {
            next[t * n + i] = v;
        }
    }
}

/// Twice as many rows, the old ones kept.
fn grow(rows: &mut Array2<f32>) {
    let mut larger = Array2::zeros((2 * rows.nrows(), rows.ncols()));
    larger.slice_mut(s![..rows.nrows(), ..]).assign(rows);
    *rows = larger;
}
