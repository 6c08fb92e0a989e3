use crate::conjugate_gradient::{ConjugateGradient, Limits, Solved, dot};
use crate::fisher::{self, Jacobian};
use crate::line_search::{Backtracking, Trial, line_search};
use crate::{Config, Law, Method, loss, step};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{Space, Stream, VecEnv};
use rederive_math::{normalise, value_loss};
use rederive_nn::{Optimizer, OptimizerConfig};
use rederive_train::normalize::ADVANTAGE_EPSILON;
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Minibatches, Networks,
    OnPolicy, Policy, PolicyBatch, Report, Rollout, on_policy_config,
};

/// What [`Trpo`] reports after each rollout.
pub const METRICS: &[Metric] = &[
    Metric { name: "surrogate_gain", meaning: "mean of (ratio - 1) times advantage after the policy's step" },
    Metric { name: "kl", meaning: "true mean KL(old || new) of the policy's step, nats" },
    Metric {
        name: "model_kl",
        meaning: "quadratic model of that divergence at the whole step, before backtracking",
    },
    Metric {
        name: "step_share",
        meaning: "share of the whole step that was taken; 0 if the old policy stayed",
    },
    Metric { name: "line_search_trials", meaning: "candidates of the line search" },
    Metric { name: "cg_iterations", meaning: "conjugate gradient steps" },
    Metric { name: "cg_residual", meaning: "their last residual relative to the gradient" },
    Metric { name: "grad_norm", meaning: "Euclidean norm of the surrogate's gradient" },
    Metric { name: "entropy", meaning: "mean entropy of the policy before its step, nats" },
    Metric {
        name: "value_loss",
        meaning: "half the mean squared error of the critic, mean over its minibatches",
    },
    Metric { name: "explained_variance", meaning: "1 - Var(return - value) / Var(return), before learning" },
    Metric { name: "lr", meaning: "the critic's step size in this rollout" },
    Metric { name: "std", meaning: "mean standard deviation of a Gaussian policy, 0 for the others" },
];

/// Rows per sample of the preconditioner's diagonal.
const DIAGONAL_BLOCK: usize = 64;

/// An agent that takes one natural-gradient step of its policy per rollout, with everything it needs to learn, and to go on after
/// a stop.
///
/// ```
/// use rederive_train::{EpisodeLog, Learner, Report};
/// use rederive_trpo::{Config, Method, Trpo};
///
/// let mut env = rederive_env::make_vec("CartPole-v1", 2).unwrap();
/// let mut trpo = Trpo::new(Method::Trpo, Config::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(2), Report::default());
/// trpo.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// let kl = report.values[trpo.metrics().iter().position(|m| m.name == "kl").unwrap()];
/// assert!(kl > 0.0 && kl <= 0.01);
/// ```
#[derive(Clone, Debug)]
pub struct Trpo {
    method: Method,
    config: Config,
    core: OnPolicy,
    /// Of the critic's parameters alone.
    optimizer: Optimizer<f32>,
    minibatches: Minibatches,
    shuffle: Stream,
    /// Draws the scores for the preconditioner.
    probe: Stream,
    policy: PolicyUpdate,
    critic: CriticUpdate,
}

/// Room for the policy's step.
#[derive(Clone, Debug)]
struct PolicyUpdate {
    batch: PolicyBatch,
    old_log_prob: Vec<f32>,
    /// The policy before the step, in all states.
    old: Law<f32>,
    fisher: FisherBatch,
    solver: ConjugateGradient<f32>,
    /// Gradient of the surrogate, natural gradient and then step, candidate, old parameters: `[P]`.
    grad: Vec<f32>,
    step: Vec<f32>,
    candidate: Vec<f32>,
    saved: Vec<f32>,
}

/// The states in the Fisher matrix, where they are not all.
#[derive(Clone, Debug)]
struct FisherBatch {
    stride: usize,
    /// Every `stride`-th state `[B, F]`; empty for a stride of 1.
    features: Array2<f32>,
    law: Law<f32>,
    /// `[B, A]`
    tangent: Array2<f32>,
    /// The diagonal, its inverse, and room `[P]`; empty without preconditioner.
    inverse_diagonal: Vec<f32>,
    probe: Vec<f32>,
    block: Array2<f32>,
}

/// One minibatch of the critic.
#[derive(Clone, Debug)]
struct CriticUpdate {
    features: Array2<f32>,
    return_: Vec<f32>,
    value: Vec<f32>,
    d_value: Array2<f32>,
    /// Of all parameters; only the critic's part is used.
    grad: Vec<f32>,
}

/// What the policy's step came to.
#[derive(Clone, Copy, Debug)]
struct PolicyReport {
    trial: Trial,
    model_kl: f64,
    share: f64,
    trials: usize,
    solved: Solved,
    grad_norm: f64,
    entropy: f64,
}

/// The actor's derivatives at the batch of its last forward pass.
struct Actor<'a> {
    networks: &'a mut Networks,
    features: &'a ArrayRef2<f32>,
}

impl Jacobian<f32> for Actor<'_> {
    fn jvp(&mut self, v: &[f32], out: &mut ArrayRef2<f32>) {
        self.networks.actor_jvp(self.features, v, out);
    }

    fn vjp(&mut self, d_out: &ArrayRef2<f32>, grad: &mut [f32]) {
        self.networks.actor_backward(self.features, d_out, grad);
    }
}

impl Trpo {
    /// An agent for environments like `env`, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range, differs from the environment, or the action space does not fit.
    pub fn new(method: Method, config: Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        if let (Method::Trpo, Some(lr)) = (method, config.policy_lr) {
            return Err(ConfigError::new("policy_lr", lr, "\"none\" for trpo, whose step is target_kl's"));
        }
        let rows = config.num_envs * config.num_steps;
        let core = OnPolicy::new(&on_policy_config!(config), env, rows, seed)?;
        let (networks, minibatches) = (&core.networks, Minibatches::new(rows, config.minibatch));
        let (features, largest) = (env.observation_space().features(), minibatches.largest());
        let adam = OptimizerConfig::adam(config.adam_eps);
        Ok(Trpo {
            optimizer: Optimizer::new(adam, networks.critic_range().len()),
            minibatches,
            shuffle: Stream::new(seed, "shuffle", 0),
            probe: Stream::new(seed, "probe", 0),
            policy: PolicyUpdate::new(&config, networks, env.action_space(), features),
            critic: CriticUpdate {
                features: Array2::zeros((largest, features)),
                return_: vec![0.0; largest],
                value: vec![0.0; largest],
                d_value: Array2::zeros((largest, 1)),
                grad: vec![0.0; networks.params().len()],
            },
            core,
            method,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Actor and critic.
    pub fn networks(&self) -> &Networks {
        &self.core.networks
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        self.core.collector.rollout()
    }

    /// The advantages, normalised where that is on, and returns of the last rollout `[T, N]`.
    pub fn targets(&self) -> (&ArrayRef2<f32>, &ArrayRef2<f32>) {
        (&self.core.advantage, &self.core.return_)
    }

    /// One step of the policy and some epochs of the critic on the last rollout.
    fn learn(&mut self, progress: f64, report: &mut Report) -> Result<(), Diverged> {
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        if self.config.normalize_advantage {
            normalise::advantages(self.core.advantage.as_slice_mut().expect("time-major"), ADVANTAGE_EPSILON);
        }
        let policy = self.learn_policy()?;
        let value_loss = self.learn_critic(lr as f32)?;
        report.values.clear();
        report.values.extend([
            policy.trial.gain,
            policy.trial.kl,
            policy.model_kl,
            policy.share,
            policy.trials as f64,
            policy.solved.iterations as f64,
            policy.solved.residual,
            policy.grad_norm,
            policy.entropy,
            value_loss,
            self.core.explained_variance(),
            lr,
            self.core.networks.mean_std(),
        ]);
        Ok(())
    }

    /// Gradient, natural gradient, step, line search.
    fn learn_policy(&mut self) -> Result<PolicyReport, Diverged> {
        let number = self.core.update();
        let (networks, config, update) = (&mut self.core.networks, &self.config, &mut self.policy);
        let rollout = self.core.collector.rollout();
        let (features, action) = (rollout.features(), rollout.action());
        let advantage = self.core.advantage.as_slice().expect("time-major");
        let range = networks.policy_range();

        networks.evaluate(features, action, &mut update.batch);
        update.old.set(outputs(&update.batch), networks.log_std());
        update.old_log_prob.copy_from_slice(&update.batch.log_prob);
        let entropy =
            update.batch.entropy.iter().map(|&h| f64::from(h)).sum::<f64>() / advantage.len() as f64;
        loss::gradient(advantage, &mut update.batch.d_log_prob);
        update.batch.d_entropy.fill(0.0);
        update.grad.fill(0.0);
        networks.policy_backward(features, action, &mut update.batch, &mut update.grad);
        let grad_norm = dot(&update.grad, &update.grad).sqrt();
        Diverged::check(number, "policy gradient", &[grad_norm])?;

        let (solved, curvature, damping) =
            update.natural_gradient(networks, features, config, &mut self.probe);
        let factor = match config.policy_lr {
            Some(lr) => Some(lr),
            None => step::scale(curvature + damping, config.target_kl),
        };
        let mut report = PolicyReport {
            trial: Trial::default(),
            model_kl: 0.0,
            share: 0.0,
            trials: 0,
            solved,
            grad_norm,
            entropy,
        };
        // A singular Fisher matrix that leaves no direction of positive curvature: the old policy is the safe one.
        let Some(factor) = factor else { return Ok(report) };
        report.model_kl = step::model_kl(curvature, factor);
        update.step.iter_mut().for_each(|d| *d *= factor as f32);

        update.candidate.copy_from_slice(&networks.params()[range.clone()]);
        let PolicyUpdate { batch, old, old_log_prob, .. } = update;
        let mut trial = |candidate: &[f32]| {
            networks.params_mut()[range.clone()].copy_from_slice(candidate);
            networks.evaluate(features, action, batch);
            Trial {
                kl: old.mean_kl(outputs(batch), networks.log_std()),
                gain: loss::gain(&batch.log_prob, old_log_prob, advantage),
            }
        };
        match self.method {
            Method::Trpo => {
                let rule = Backtracking {
                    target_kl: config.target_kl,
                    shrink: config.backtrack,
                    max_trials: config.max_backtracks,
                };
                let found =
                    line_search(&mut update.candidate, &update.step, &mut update.saved, rule, &mut trial);
                networks.params_mut()[range].copy_from_slice(&update.candidate);
                report.trials = found.trials;
                if let Some(share) = found.share {
                    (report.trial, report.share) = (found.last, share);
                }
            }
            Method::Npg => {
                for (p, &d) in update.candidate.iter_mut().zip(&update.step) {
                    *p += d;
                }
                (report.trial, report.share) = (trial(&update.candidate), 1.0);
                Diverged::check(number, "divergence of the policy's step", &[report.trial.kl])?;
            }
        }
        Ok(report)
    }

    /// Passes of Adam over the rollout in random minibatches, with the returns held fixed; the mean loss.
    fn learn_critic(&mut self, lr: f32) -> Result<f64, Diverged> {
        let number = self.core.update();
        let (networks, lists, c) = (&mut self.core.networks, &mut self.minibatches, &mut self.critic);
        let range = networks.critic_range();
        let features = self.core.collector.rollout().features();
        let return_ = self.core.return_.as_slice().expect("time-major");
        let (mut total, mut samples) = (0.0, 0.0);
        for _ in 0..self.config.critic_epochs {
            lists.shuffle(&mut self.shuffle);
            for list in 0..lists.count() {
                let n = lists.get(list).len();
                lists.gather_rows(list, features, &mut c.features);
                lists.gather(list, return_, &mut c.return_);
                let rows = c.features.slice(s![..n, ..]);
                networks.critic_forward(&rows, &mut c.value[..n]);
                let mut d_value = c.d_value.slice_mut(s![..n, ..]);
                let d = d_value.as_slice_mut().expect("contiguous");
                let loss = value_loss::mse(&c.value[..n], &c.return_[..n], d);
                Diverged::check(number, "value loss", &[loss])?;
                c.grad[range.clone()].fill(0.0);
                networks.critic_backward(&rows, &d_value, &mut c.grad);
                let params = &mut networks.params_mut()[range.clone()];
                self.optimizer.step(params, &c.grad[range.clone()], lr);
                total += n as f64 * f64::from(loss);
                samples += n as f64;
            }
        }
        Ok(total / samples)
    }
}

impl PolicyUpdate {
    fn new(config: &Config, networks: &Networks, action: &Space, features: usize) -> Self {
        let (rows, params) = (config.num_envs * config.num_steps, networks.policy_range().len());
        let law = match (action, config.policy) {
            (Space::Discrete { n }, _) => Law::categorical(*n),
            (_, Policy::Gaussian) => Law::gaussian(),
            (_, Policy::Beta) => Law::beta(networks.actor_outputs() / 2),
        };
        let (stride, outputs) = (config.fisher_stride(), networks.actor_outputs());
        let fisher_rows = rows.div_ceil(stride);
        let own = if stride > 1 { fisher_rows } else { 0 };
        let probe = if config.cg_precondition { params } else { 0 };
        PolicyUpdate {
            batch: networks.batch(rows),
            old_log_prob: vec![0.0; rows],
            fisher: FisherBatch {
                stride,
                features: Array2::zeros((own, features)),
                law: law.clone(),
                tangent: Array2::zeros((fisher_rows, outputs)),
                inverse_diagonal: vec![0.0; probe],
                probe: vec![0.0; probe],
                block: Array2::zeros((DIAGONAL_BLOCK, outputs)),
            },
            old: law,
            solver: ConjugateGradient::new(params),
            grad: vec![0.0; params],
            step: vec![0.0; params],
            candidate: vec![0.0; params],
            saved: vec![0.0; params],
        }
    }

    /// Solves `(F + damping) x = g` into `step`; returns how that went, `x^T F x`, and `damping x^T x`.
    fn natural_gradient(
        &mut self,
        networks: &mut Networks,
        features: &ArrayRef2<f32>,
        config: &Config,
        rng: &mut Stream,
    ) -> (Solved, f64, f64) {
        let f = &mut self.fisher;
        let damping = config.cg_damping;
        let (features, law): (&ArrayRef2<f32>, _) = if f.stride > 1 {
            f.features.assign(&features.slice(s![..;f.stride, ..]));
            networks.actor_forward(&f.features, &mut f.tangent);
            f.law.set(f.tangent.as_slice().expect("contiguous"), networks.log_std());
            (&f.features, &f.law)
        } else {
            (features, &self.old)
        };
        let inverse_diagonal = config.cg_precondition.then(|| {
            let vjp = |rows: std::ops::Range<usize>, d_out: &ArrayRef2<f32>, grad: &mut [f32]| {
                let rows = features.slice(s![rows, ..]);
                networks.actor_forward(&rows, &mut f.tangent.slice_mut(s![..rows.nrows(), ..]));
                networks.actor_backward(&rows, d_out, grad);
            };
            let rows = features.nrows();
            fisher::diagonal(law, rows, vjp, rng, &mut f.block, &mut f.probe, &mut f.inverse_diagonal);
            invert(&mut f.inverse_diagonal, damping as f32);
            // The workspace has to hold the whole batch again.
            networks.actor_forward(features, &mut f.tangent);
            &*f.inverse_diagonal
        });
        let mut actor = Actor { networks, features };
        let tangent = &mut f.tangent;
        let mut product = |v: &[f32], out: &mut [f32]| {
            fisher::product(law, &mut actor, v, damping as f32, tangent, out);
        };
        let limits = Limits { max_iterations: config.cg_iterations, tolerance: config.cg_tolerance };
        let solved = self.solver.solve(&mut product, &self.grad, inverse_diagonal, limits, &mut self.step);
        // Measured, not taken from the recurrence: the step's length hangs on it.
        product(&self.step, &mut self.candidate);
        let damped = dot(&self.step, &self.candidate);
        let from_damping = damping * dot(&self.step, &self.step);
        (solved, damped - from_damping, from_damping)
    }
}

/// Replaces a diagonal by the inverse of itself plus `damping`; entries far below the mean are taken for it times a thousandth, as
/// the estimate is noisy.
fn invert(diagonal: &mut [f32], damping: f32) {
    let mean = diagonal.iter().sum::<f32>() / diagonal.len() as f32;
    let floor = if mean > 0.0 { 1e-3 * mean } else { 1.0 };
    for d in diagonal {
        *d = 1.0 / (d.max(floor) + damping);
    }
}

/// The actor's outputs on the whole rollout.
fn outputs(batch: &PolicyBatch) -> &[f32] {
    batch.outputs().as_slice().expect("contiguous")
}

impl Learner for Trpo {
    fn algo(&self) -> &'static str {
        self.method.name()
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
    }

    fn steps_per_iteration(&self) -> u64 {
        self.core.samples() as u64
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        self.core.collect(env, episodes, report)?;
        self.core.estimate(self.config.gamma, self.config.gae_lambda);
        self.learn(progress, report)
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.core.act_greedy(obs, actions);
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.core.save(checkpoint);
        checkpoint.put_optimizer("adam", &self.optimizer);
        checkpoint.put("shuffle", &self.shuffle);
        checkpoint.put("probe", &self.probe);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            next.core.load(checkpoint)?;
            checkpoint.get_optimizer("adam", &mut next.optimizer)?;
            next.shuffle = checkpoint.get("shuffle")?;
            next.probe = checkpoint.get("probe")?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preconditioner_is_the_inverse_of_a_diagonal_that_is_not_too_small() {
        // The mean is 2, so that nothing counts for less than 0.002.
        let mut diagonal = [4.0, 0.0, 2.0];
        invert(&mut diagonal, 0.5);
        assert_eq!(diagonal, [1.0 / 4.5, 1.0 / 0.502, 1.0 / 2.5]);
        let mut nothing = [0.0; 2];
        invert(&mut nothing, 0.25);
        assert_eq!(nothing, [1.0 / 1.25; 2]);
    }
}
