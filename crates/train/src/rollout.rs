use crate::{ActionBuffer, Checkpoint, Diverged, EpisodeLog, Networks, ObsNormalizer, RewardNormalizer};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{End, Space, VecEnv};

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
    observation_space: Space,
    action_bounds: Option<(Vec<f32>, Vec<f32>)>,
    gamma: f64,
    /// Normalises what the networks read, if set.
    pub obs_normalizer: Option<ObsNormalizer>,
    /// Normalises rewards, if set.
    pub reward_normalizer: Option<RewardNormalizer>,
    rollout: Rollout,
    /// How the step before the rollout's first one ended.
    last_end: Vec<End>,
    step_action: ActionBuffer,
    clipped: ActionBuffer,
    /// Features after the last step, then those of the true successors at truncations.
    tail: Array2<f32>,
    truncated: Vec<(usize, usize)>,
    /// The features of one observation.
    one: Vec<f32>,
    tail_value: Vec<f32>,
    /// The features of observations to act greedily on.
    greedy_features: Array2<f32>,
    /// Whether the observations after the reset have been taken into account.
    started: bool,
}

impl Collector {
    /// A collector of rollouts of `num_steps` steps from environments like `env`; `gamma` only serves the reward normalisation.
    pub fn new(env: &dyn VecEnv, num_steps: usize, gamma: f64) -> Self {
        let (space, n) = (env.observation_space().clone(), env.num_envs());
        let rows = num_steps * n;
        let action_bounds = match env.action_space() {
            Space::Box { low, high } => Some((low.clone(), high.clone())),
            _ => None,
        };
        let rollout = Rollout {
            features: Array2::zeros((rows, space.features())),
            action: ActionBuffer::new(env.action_space(), rows),
            log_prob: Array2::zeros((num_steps, n)),
            reward: Array2::zeros((num_steps, n)),
            end: Array2::default((num_steps, n)),
            value: Array2::zeros((num_steps, n)),
            next_value: Array2::zeros((num_steps, n)),
        };
        Collector {
            tail: Array2::zeros((2 * n, space.features())),
            greedy_features: Array2::zeros((0, space.features())),
            one: vec![0.0; space.features()],
            observation_space: space,
            action_bounds,
            gamma,
            obs_normalizer: None,
            reward_normalizer: None,
            rollout,
            last_end: vec![End::Terminated; n],
            step_action: ActionBuffer::new(env.action_space(), n),
            clipped: ActionBuffer::new(env.action_space(), n),
            truncated: Vec::new(),
            tail_value: Vec::new(),
            started: false,
        }
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// What one observation looks like.
    pub fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    /// Clips continuous actions to the bounds of their space; discrete ones are left alone.
    pub fn clip(&self, action: &mut ActionBuffer) {
        if let (Some((low, high)), ActionBuffer::Continuous(action)) = (&self.action_bounds, action) {
            for mut row in action.rows_mut() {
                clip_row(row.as_slice_mut().expect("rows are contiguous"), low, high);
            }
        }
    }

    /// The most likely actions for the rows of `obs` `[N, D]`, within their bounds.
    pub fn act_greedy(
        &mut self,
        networks: &mut Networks,
        obs: ArrayView2<'_, f32>,
        actions: &mut ActionBuffer,
    ) {
        if self.greedy_features.nrows() != obs.nrows() {
            self.greedy_features = Array2::zeros((obs.nrows(), self.observation_space.features()));
        }
        encode(&self.observation_space, self.obs_normalizer.as_ref(), obs, &mut self.greedy_features);
        networks.greedy(&self.greedy_features, actions);
        self.clip(actions);
    }

    /// Adds how the last step ended and the state of the normalisations.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put("last_end", &self.last_end);
        checkpoint.put("obs_normalizer", &self.obs_normalizer);
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
        let obs: Option<ObsNormalizer> = checkpoint.get("obs_normalizer")?;
        if obs.as_ref().map(ObsNormalizer::len) != self.obs_normalizer.as_ref().map(ObsNormalizer::len) {
            return Err("state obs_normalizer does not fit normalize_obs".to_owned());
        }
        let reward: Option<RewardNormalizer> = checkpoint.get("reward_normalizer")?;
        let fits = reward.as_ref().is_none_or(|r| r.fits(num_envs));
        if reward.is_some() != self.reward_normalizer.is_some() || !fits {
            return Err("state reward_normalizer does not fit normalize_reward".to_owned());
        }
        (self.last_end, self.obs_normalizer, self.reward_normalizer) = (ends, obs, reward);
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
        let diverged = |term: &str| Diverged { update, term: term.to_owned() };
        self.truncated.clear();
        let mut tails = n;
        if !self.started {
            self.observe(env);
            self.started = true;
        }
        for t in 0..num_steps {
            let mut features = self.rollout.features.slice_mut(s![t * n..(t + 1) * n, ..]);
            encode(&self.observation_space, self.obs_normalizer.as_ref(), env.obs(), &mut features);
            let log_prob = &mut self.rollout.log_prob.as_slice_mut().expect("time-major")[t * n..(t + 1) * n];
            policy.act(&features, &self.last_end, &mut self.step_action, log_prob);
            self.rollout.action.copy_rows(t * n, &self.step_action);
            let mut clipped = std::mem::take(&mut self.clipped);
            clipped.copy_rows(0, &self.step_action);
            self.clip(&mut clipped);
            env.step(clipped.as_actions());
            self.clipped = clipped;
            let at = t * n..(t + 1) * n;
            let reward = &mut self.rollout.reward.as_slice_mut().expect("time-major")[at.clone()];
            reward.copy_from_slice(env.reward());
            if !reward.iter().all(|r| r.is_finite()) {
                return Err(diverged("reward"));
            }
            if !env.obs().iter().all(|x| x.is_finite()) {
                return Err(diverged("observation"));
            }
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
                    if !last.iter().all(|x| x.is_finite()) {
                        return Err(diverged("observation"));
                    }
                    let normalizer = self.obs_normalizer.as_ref();
                    encode(&self.observation_space, normalizer, last, &mut self.tail.slice_mut(row));
                    self.truncated.push((t, i));
                    tails += 1;
                }
            }
            if let Some(normalizer) = &mut self.reward_normalizer {
                normalizer.apply(reward, end, self.gamma);
            }
            self.observe(env);
        }
        let mut after = self.tail.slice_mut(s![..n, ..]);
        encode(&self.observation_space, self.obs_normalizer.as_ref(), env.obs(), &mut after);
        self.evaluate(policy, tails);
        if !self.rollout.value.iter().all(|v| v.is_finite()) {
            return Err(diverged("value"));
        }
        Ok(&self.rollout)
    }

    /// Takes the present observations into account, where normalisation is on.
    fn observe(&mut self, env: &dyn VecEnv) {
        if let Some(normalizer) = &mut self.obs_normalizer {
            for row in env.obs().rows() {
                self.observation_space.encode(row.as_slice().expect("rows are contiguous"), &mut self.one);
                normalizer.observe(&self.one);
            }
        }
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

/// Writes the features of every row of `obs` `[N, D]` to `features` `[N, F]`.
pub fn encode(
    space: &Space,
    normalizer: Option<&ObsNormalizer>,
    obs: ArrayView2<'_, f32>,
    features: &mut ArrayRef2<f32>,
) {
    for (from, mut to) in obs.rows().into_iter().zip(features.rows_mut()) {
        let to = to.as_slice_mut().expect("rows are contiguous");
        space.encode(from.as_slice().expect("rows are contiguous"), to);
        if let Some(normalizer) = normalizer {
            normalizer.apply(to);
        }
    }
}

fn clip_row(row: &mut [f32], low: &[f32], high: &[f32]) {
    for ((x, &low), &high) in row.iter_mut().zip(low).zip(high) {
        *x = x.clamp(low, high);
    }
}

/// Twice as many rows, the old ones kept.
fn grow(rows: &mut Array2<f32>) {
    let mut larger = Array2::zeros((2 * rows.nrows(), rows.ncols()));
    larger.slice_mut(s![..rows.nrows(), ..]).assign(rows);
    *rows = larger;
}
