use crate::config::{Baseline, Config, Returns};
use crate::episodes::Episodes;
use crate::loss::{self, Batch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rederive_env::VecEnv;
use rederive_math::policy_gradient::baselines::{self, TimeBaseline};
use rederive_math::policy_gradient::weights;
use rederive_math::{normalise, value_loss};
use rederive_nn::{Optimizer, clip_global_norm};
use rederive_train::normalize::ADVANTAGE_EPSILON;
use rederive_train::{
    ActionBuffer, ActorCritic, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Networks,
    PolicyBatch, Report, network_config, range,
};

/// What [`Reinforce`] reports after each batch of episodes.
pub const METRICS: &[Metric] = &[
    Metric { name: "policy_loss", meaning: "surrogate loss; its value is not the objective" },
    Metric {
        name: "value_loss",
        meaning: "half the mean squared error of the critic, before its last step; 0 without one",
    },
    Metric { name: "entropy", meaning: "mean entropy of the policy, nats" },
    Metric { name: "return_discounted", meaning: "mean discounted return of the batch's episodes" },
    Metric { name: "explained_variance", meaning: "1 - Var(return - baseline) / Var(return)" },
    Metric { name: "grad_norm", meaning: "Euclidean norm of the policy's gradient before clipping" },
    Metric { name: "samples", meaning: "steps that were learnt from" },
    Metric { name: "lr", meaning: "step size of the policy" },
    Metric { name: "std", meaning: "mean standard deviation of a Gaussian policy, 0 for others" },
];

/// Steps pass through the networks in blocks of this size.
const BLOCK: usize = 512;

/// REINFORCE (Williams, 1992, *Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning*): plays
/// whole episodes, and moves the policy once along the sum of its scores, weighted with returns.
///
/// Where a limit cuts an episode the value of its last state follows if there is a critic (`baseline = "value"`), and nothing
/// otherwise: the return is then that of the episode as it was cut.
///
/// A batch ends with its last episode, so that a run takes a few steps more than it was asked for.
///
/// ```
/// use rederive_reinforce::{Config, Reinforce};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("CartPole-v1", 1).unwrap();
/// let mut agent = Reinforce::new(Config::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut log, mut report) = (EpisodeLog::new(1), Report::default());
/// agent.iterate(env.as_mut(), 0.0, &mut log, &mut report).unwrap();
/// assert_eq!(log.drain().count(), 8);
/// ```
#[derive(Clone, Debug)]
pub struct Reinforce {
    config: Config,
    networks: Networks,
    policy_optimizer: Optimizer<f32>,
    critic_optimizer: Optimizer<f32>,
    episodes: Episodes,
    /// The constant baseline before its bias correction, and the weight that it has gathered.
    running_return: (f64, f64),
    steps: u64,
    updates: u64,
    next_value: Vec<f32>,
    return_: Vec<f32>,
    weight: Vec<f32>,
    baseline: Vec<f32>,
    value: Vec<f32>,
    time: Vec<usize>,
    by_time: TimeBaseline<f32>,
    grad: Vec<f32>,
    batch: PolicyBatch,
    block_action: ActionBuffer,
    d_value: Array2<f32>,
}

impl Reinforce {
    /// An agent for environments like `env`, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range, differs from the environment, or the action space does not fit.
    pub fn new(config: Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let (observation, action) = (env.observation_space(), env.action_space());
        let sizes = network_config!(config);
        let networks = Networks::new(&sizes, observation, action, config.num_envs, BLOCK, seed)?;
        let rule = config.optimizer.config(config.optimizer_eps);
        Ok(Reinforce {
            policy_optimizer: Optimizer::new(rule, networks.policy_range().len()),
            critic_optimizer: Optimizer::new(rule, networks.critic_range().len()),
            episodes: Episodes::new(env, &config, seed),
            running_return: (0.0, 0.0),
            steps: 0,
            updates: 0,
            next_value: Vec::new(),
            return_: Vec::new(),
            weight: Vec::new(),
            baseline: Vec::new(),
            value: Vec::new(),
            time: Vec::new(),
            by_time: TimeBaseline::default(),
            grad: vec![0.0; networks.params().len()],
            batch: networks.batch(BLOCK),
            block_action: ActionBuffer::new(action, BLOCK),
            d_value: Array2::zeros((BLOCK, 1)),
            networks,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Actor and critic.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The same, to start from other weights.
    pub fn networks_mut(&mut self) -> &mut Networks {
        &mut self.networks
    }

    /// The returns and the weights of the last batch's steps `[B]`.
    pub fn weights(&self) -> (&[f32], &[f32]) {
        (&self.return_, &self.weight)
    }

    /// Returns, baselines and weights of the batch; the mean discounted return of its episodes.
    fn credit(&mut self) -> f64 {
        let (episodes, config) = (&self.episodes, &self.config);
        let (rows, gamma) = (episodes.len(), config.gamma as f32);
        for v in [&mut self.return_, &mut self.weight, &mut self.baseline, &mut self.value] {
            v.resize(rows, 0.0);
        }
        self.time.resize(rows, 0);
        self.next_value.clear();
        self.next_value.resize(rows, 0.0);
        if config.baseline == Baseline::Value {
            self.networks.values(&episodes.features(0, rows), &mut self.value);
            let cut = &episodes.rows.cut;
            // The baseline's room serves for a moment.
            self.networks.values(&episodes.cut_features(), &mut self.baseline[..cut.len()]);
            for (&row, &v) in cut.iter().zip(&self.baseline) {
                self.next_value[row] = v;
            }
        }
        // One column: the episodes follow one another.
        let reward = column(&episodes.rows.reward);
        let (next_value, end) = (column(&self.next_value), column(&episodes.rows.end));
        weights::reward_to_go(&reward, &next_value, &end, gamma, &mut column_mut(&mut self.return_));
        weights::episode_step(&end, &mut [0], &mut column_mut(&mut self.time));
        match config.returns {
            Returns::RewardToGo => self.weight.copy_from_slice(&self.return_),
            Returns::Total => {
                weights::total_return(&reward, &next_value, &end, gamma, &mut column_mut(&mut self.weight));
            }
        }
        match config.baseline {
            Baseline::None => self.baseline.fill(0.0),
            Baseline::Constant => {
                let (sum, gathered) = self.running_return;
                self.baseline.fill(if gathered > 0.0 { (sum / gathered) as f32 } else { 0.0 });
                let rate = config.baseline_rate;
                let mean = self.weight.iter().map(|&w| f64::from(w)).sum::<f64>() / rows as f64;
                self.running_return = ((1.0 - rate) * sum + rate * mean, (1.0 - rate) * gathered + rate);
            }
            Baseline::Time => self.by_time.leave_one_out(&self.time, &self.weight, &mut self.baseline),
            Baseline::Value => self.baseline.copy_from_slice(&self.value),
        }
        baselines::subtract(&mut column_mut(&mut self.weight), &column(&self.baseline));
        if config.normalize_advantage {
            normalise::advantages(&mut self.weight, ADVANTAGE_EPSILON);
        }
        if config.discount_weights {
            weights::discount_by_time(&end, gamma, &mut [1.0], &mut column_mut(&mut self.weight));
        }
        let starts = self.time.iter().zip(&self.return_).filter(|(t, _)| **t == 0);
        starts.map(|(_, &g)| f64::from(g)).sum::<f64>() / episodes.count() as f64
    }

    /// One step of the policy along the gradient of the whole batch; the loss, the mean entropy and the gradient's norm.
    fn improve_policy(&mut self, lr: f32) -> Result<(f64, f64, f32), Diverged> {
        let rows = self.episodes.len();
        let share = self.config.aggregation.share(self.episodes.count(), rows);
        let range = self.networks.policy_range();
        self.grad[range.clone()].fill(0.0);
        let (mut total, mut entropy) = (0.0, 0.0);
        for from in (0..rows).step_by(BLOCK) {
            let to = (from + BLOCK).min(rows);
            let (n, features) = (to - from, self.episodes.features(from, to));
            self.episodes.copy_actions(from, to, &mut self.block_action);
            self.networks.evaluate(&features, &self.block_action, &mut self.batch);
            let b = &mut self.batch;
            let block = Batch {
                log_prob: &b.log_prob[..n],
                weight: &self.weight[from..to],
                entropy: &b.entropy[..n],
                value: &[],
                return_: &[],
            };
            let (d_log_prob, d_entropy) = (&mut b.d_log_prob[..n], &mut b.d_entropy[..n]);
            let (policy, h) = loss::policy(&block, share, self.config.ent_coef as f32, d_log_prob, d_entropy);
            total += f64::from(policy);
            entropy += f64::from(h);
            self.networks.policy_backward(&features, &self.block_action, b, &mut self.grad);
        }
        let grad = &mut self.grad[range.clone()];
        let norm = clip_global_norm(grad, self.config.max_grad_norm as f32);
        Diverged::check(self.updates, "policy loss", &[total as f32])?;
        Diverged::check(self.updates, "gradient", &[norm])?;
        let grad = &self.grad[range.clone()];
        self.policy_optimizer.step(&mut self.networks.params_mut()[range], grad, lr);
        Ok((total, entropy / (f64::from(share) * rows as f64), norm))
    }

    /// Fits the critic to the returns of the batch; the loss before the last step.
    fn improve_critic(&mut self, lr: f32) -> Result<f64, Diverged> {
        let rows = self.episodes.len();
        let range = self.networks.critic_range();
        let mut last = 0.0;
        for _ in 0..self.config.vf_updates {
            self.grad[range.clone()].fill(0.0);
            last = 0.0;
            for from in (0..rows).step_by(BLOCK) {
                let to = (from + BLOCK).min(rows);
                let (n, features) = (to - from, self.episodes.features(from, to));
                let mut d_value = self.d_value.slice_mut(s![..n, ..]);
                let d = d_value.as_slice_mut().expect("contiguous");
                self.networks.critic_forward(&features, &mut self.value[from..to]);
                let share = n as f32 / rows as f32;
                let mse = value_loss::mse(&self.value[from..to], &self.return_[from..to], d);
                last += f64::from(share * mse);
                d.iter_mut().for_each(|d| *d *= share);
                self.networks.critic_backward(&features, &d_value, &mut self.grad);
            }
            let norm = clip_global_norm(&mut self.grad[range.clone()], self.config.max_grad_norm as f32);
            Diverged::check(self.updates, "value loss", &[last as f32])?;
            Diverged::check(self.updates, "gradient", &[norm])?;
            let grad = &self.grad[range.clone()];
            self.critic_optimizer.step(&mut self.networks.params_mut()[range.clone()], grad, lr);
        }
        Ok(last)
    }
}

/// A vector as an array of one column.
fn column<T>(x: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((x.len(), 1), x).expect("one column")
}

fn column_mut<T>(x: &mut [T]) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((x.len(), 1), x).expect("one column")
}

impl Learner for Reinforce {
    fn algo(&self) -> &'static str {
        "reinforce"
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
    }

    fn steps_per_iteration(&self) -> u64 {
        // An iteration takes as long as its episodes do.
        1
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        self.updates += 1;
        report.steps = self.episodes.play(env, &mut self.networks, episodes, self.steps, self.updates)?;
        self.steps += report.steps;
        let return_discounted = self.credit();
        let explained = normalise::explained_variance(&self.baseline, &self.return_);
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        let (policy_loss, entropy, norm) = self.improve_policy(lr as f32)?;
        let value_loss = if self.config.baseline == Baseline::Value {
            self.improve_critic(self.config.lr_schedule.at(self.config.vf_lr, progress) as f32)?
        } else {
            0.0
        };
        report.values.clear();
        report.values.extend([
            policy_loss,
            value_loss,
            entropy,
            return_discounted,
            f64::from(explained),
            f64::from(norm),
            self.episodes.len() as f64,
            lr,
            self.networks.mean_std(),
        ]);
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.episodes.interface.act_greedy(&mut self.networks, obs, actions);
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.networks.save(checkpoint);
        checkpoint.put_optimizer("policy", &self.policy_optimizer);
        checkpoint.put_optimizer("critic", &self.critic_optimizer);
        self.episodes.save(checkpoint);
        checkpoint.put("running_return", &self.running_return);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            next.networks.load(checkpoint)?;
            checkpoint.get_optimizer("policy", &mut next.policy_optimizer)?;
            checkpoint.get_optimizer("critic", &mut next.critic_optimizer)?;
            next.episodes.load(checkpoint)?;
            next.running_return = checkpoint.get("running_return")?;
            next.steps = checkpoint.get("steps")?;
            next.updates = checkpoint.get("updates")?;
            Ok(())
        })
    }
}
