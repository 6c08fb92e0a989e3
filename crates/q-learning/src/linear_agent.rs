//! An agent whose action values are linear in features.

use crate::behaviour::{Behaviour, EpsilonGreedy};
use crate::config::{LinearConfig, Target};
use crate::features::Features;
use crate::world::{Lane, NONE};
use ndarray::{ArrayView2, aview1};
use rederive_env::{Actions, VecEnv};
use rederive_math::{linear, td};
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Report, range,
};

/// What [`LinearQ`] reports after each iteration.
pub const LINEAR_METRICS: &[Metric] = &[
    Metric { name: "td_error", meaning: "mean size of target minus value over the iteration's steps" },
    Metric { name: "epsilon", meaning: "share of random actions in this iteration" },
    Metric { name: "value", meaning: "mean value of the actions taken, before they were learnt from" },
];

/// Q-learning or SARSA with `Q_w(s, a) = phi(s) . w_a` (`fa.linear-q`), epsilon-greedy.
///
/// `phi` is binary: one-hot for discrete observations, where the agent is [`QLearning`](crate::QLearning) bit for bit, and
/// tile coding for boxes (R. S. Sutton, A. G. Barto, 2018, Reinforcement Learning, sections 9.5.4 and 10.1). A target is
/// the value of the true next state where an episode is cut off, and the reward alone where it terminates.
///
/// ```
/// use rederive_q_learning::{LinearConfig, LinearQ};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("MountainCar-v0", 1).unwrap();
/// let mut agent = LinearQ::new(LinearConfig::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
/// agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// assert_eq!((report.steps, agent.weights().dim()), (1000, (8 * 9 * 9, 3)));
/// ```
#[derive(Clone, Debug)]
pub struct LinearQ {
    config: LinearConfig,
    features: Features,
    actions: usize,
    /// Per feature, one for each action `[D, A]`.
    weights: Vec<f32>,
    lanes: Vec<Lane>,
    steps: u64,
    updates: u64,
    room: Room,
}

/// Room for what a round of steps needs.
#[derive(Clone, Debug, Default)]
struct Room {
    /// Active features before and after the step `[N, K]`.
    before: Vec<u32>,
    after: Vec<u32>,
    actions: Vec<u32>,
    values: Vec<f32>,
}

impl LinearQ {
    /// An agent for environments like `env`, whose actions are drawn from streams under `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range or differs from the environment, or actions are not discrete.
    pub fn new(config: LinearConfig, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        let num_envs = config.num_envs;
        range::same_num_envs(num_envs, env)?;
        let (features, actions) = Features::of(env, &config)?;
        let (len, active) = (features.len().expect("checked above"), features.active());
        Ok(LinearQ {
            weights: vec![(config.init / active as f64) as f32; len * actions],
            lanes: (0..num_envs).map(|n| Lane::new(seed, n)).collect(),
            steps: 0,
            updates: 0,
            room: Room {
                before: vec![0; num_envs * active],
                after: vec![0; num_envs * active],
                actions: Vec::with_capacity(num_envs),
                values: vec![0.0; actions],
            },
            features,
            actions,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &LinearConfig {
        &self.config
    }

    /// The weights `[D, A]`: of one-hot features, the table of action values.
    pub fn weights(&self) -> ArrayView2<'_, f32> {
        let shape = (self.weights.len() / self.actions, self.actions);
        aview1(&self.weights).into_shape_with_order(shape).expect("as many values as the shape has")
    }
}

impl Learner for LinearQ {
    fn algo(&self) -> &'static str {
        "linear-q"
    }

    fn metrics(&self) -> &'static [Metric] {
        LINEAR_METRICS
    }

    fn steps_per_iteration(&self) -> u64 {
        (self.config.num_steps * self.config.num_envs) as u64
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        let LinearConfig { epsilon, epsilon_schedule, epsilon_final, epsilon_decay, target, .. } =
            self.config;
        let epsilon = epsilon_schedule.at(epsilon, epsilon_final, epsilon_decay, progress, episodes.count());
        let (policy, gamma) = (EpsilonGreedy::new(epsilon), self.config.gamma as f32);
        let LinearQ { features, weights, lanes, room, .. } = self;
        let Room { before, after, actions, values } = room;
        let active = features.active();
        let alpha = (self.config.alpha / active as f64) as f32;
        let (mut errors, mut taken_values) = (0.0, 0.0);
        let mut step = self.steps;
        for _ in 0..self.config.num_steps {
            let obs = env.obs();
            actions.clear();
            for ((lane, before), obs) in lanes.iter_mut().zip(before.chunks_exact_mut(active)).zip(obs.rows())
            {
                features.find(obs.to_slice().expect("rows of observations are contiguous"), before);
                lane.action = if target == Target::Sarsa && lane.pending != NONE {
                    lane.pending
                } else {
                    linear::binary_values(before, weights, values);
                    policy.act(0, values, &[], &mut lane.explore, &mut []) as u32
                };
                actions.push(lane.action);
            }
            env.step(Actions::Discrete(actions));
            let (obs, final_obs) = (env.obs(), env.final_obs());
            for (n, (lane, after)) in lanes.iter_mut().zip(after.chunks_exact_mut(active)).enumerate() {
                let seen = if env.end()[n].done() { final_obs.row(n) } else { obs.row(n) };
                features.find(seen.to_slice().expect("rows of observations are contiguous"), after);
                if target == Target::Sarsa {
                    lane.pending = if env.end()[n].terminated() {
                        NONE
                    } else {
                        linear::binary_values(after, weights, values);
                        policy.act(0, values, &[], &mut lane.explore, &mut []) as u32
                    };
                }
            }
            for (n, lane) in lanes.iter_mut().enumerate() {
                let (reward, end) = (env.reward()[n], env.end()[n]);
                let (before, after) = (&before[n * active..][..active], &after[n * active..][..active]);
                // An earlier environment may have moved the weights since the actions were chosen.
                linear::binary_values(before, weights, values);
                let value = values[lane.action as usize];
                linear::binary_values(after, weights, values);
                let wanted = match target {
                    Target::QLearning => td::q_target(reward, end.terminated(), values, gamma),
                    Target::Sarsa => {
                        let next = if end.terminated() { 0.0 } else { values[lane.pending as usize] };
                        td::sarsa_target(reward, end.terminated(), next, gamma)
                    }
                };
                let delta = wanted - value;
                linear::binary_step(weights, before, lane.action as usize, values.len(), delta, alpha);
                errors += f64::from(delta.abs());
                taken_values += f64::from(value);
                if end.done() {
                    // The action drawn for a truncated state was only for its value.
                    lane.pending = NONE;
                }
                step += 1;
                episodes.record(n, reward, end.done(), step);
            }
        }
        self.updates += 1;
        report.steps = self.steps_per_iteration();
        self.steps += report.steps;
        for (term, x) in [("TD error", errors), ("action value", taken_values)] {
            if !x.is_finite() {
                return Err(Diverged { update: self.updates, term: term.to_owned() });
            }
        }
        let count = report.steps as f64;
        report.values.clear();
        report.values.extend([errors / count, epsilon, taken_values / count]);
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        let ActionBuffer::Discrete(actions) = actions else {
            panic!("continuous actions for values of discrete ones")
        };
        let (mut found, mut values) = (vec![0; self.features.active()], vec![0.0; self.actions]);
        for (obs, action) in obs.rows().into_iter().zip(actions) {
            self.features.find(obs.to_slice().expect("rows of observations are contiguous"), &mut found);
            linear::binary_values(&found, &self.weights, &mut values);
            *action = td::argmax(&values) as u32;
        }
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensor("w", &self.weights);
        checkpoint.put("lanes", &self.lanes);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            checkpoint.get_tensor("w", &mut next.weights)?;
            next.lanes = checkpoint.get("lanes")?;
            let (found, expected) = (next.lanes.len(), next.config.num_envs);
            if found != expected {
                return Err(format!("state lanes has {found} entries, expected {expected}"));
            }
            let actions = next.actions as u32;
            if next.lanes.iter().any(|lane| lane.pending != NONE && lane.pending >= actions) {
                return Err(format!("state lanes has an action that is not below {actions}"));
            }
            next.steps = checkpoint.get("steps")?;
            next.updates = checkpoint.get("updates")?;
            Ok(())
        })
    }
}
