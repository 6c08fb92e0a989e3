use crate::config::{Config, Init};
use ndarray::{Array2, ArrayRef2, s};
use rederive_env::{End, Space, Stream};
use rederive_math::{categorical, gaussian};
use rederive_nn::{Mlp, Workspace};
use rederive_train::{ActionBuffer, ActorCritic, ConfigError};
use std::ops::Range;

/// Actor and critic in one flat array `[actor | log_std | critic]`: separate networks that share no parameter.
#[derive(Clone, Debug)]
pub struct Networks {
    actor: Mlp,
    critic: Mlp,
    log_std: Range<usize>,
    critic_range: Range<usize>,
    params: Vec<f32>,
    head: Head,
    actor_ws: Workspace<f32>,
    critic_ws: Workspace<f32>,
}

/// The distribution over actions.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    /// Logits, one stream of random numbers per environment.
    Categorical { num_actions: usize, streams: Vec<Stream> },
    /// Means from the network, one log standard deviation per dimension, and the present noise `[N, D]`.
    Gaussian { correlation: f32, noise: Array2<f32>, streams: Vec<Stream> },
}

/// Values are computed in batches of this size.
const VALUE_BATCH: usize = 512;

impl Networks {
    /// Networks for these spaces, with weights drawn from `seed`.
    ///
    /// # Errors
    /// If PPO has no distribution for the action space.
    pub fn new(config: &Config, observation: &Space, action: &Space, seed: u64) -> Result<Self, ConfigError> {
        let streams = (0..config.num_envs as u64).map(|n| Stream::new(seed, "action", n)).collect();
        let (outputs, log_stds, head) = match action {
            Space::Discrete { n } => (*n, 0, Head::Categorical { num_actions: *n, streams }),
            Space::Box { low, .. } => {
                let noise = Array2::zeros((config.num_envs, low.len()));
                let correlation = config.noise_correlation as f32;
                (low.len(), low.len(), Head::Gaussian { correlation, noise, streams })
            }
            Space::MultiDiscrete { .. } | Space::Image { .. } => {
                return Err(ConfigError::new(
                    "env",
                    format_args!("{action:?} actions"),
                    "one with Discrete or Box actions",
                ));
            }
        };
        let sizes = |outputs: usize| {
            let mut sizes = vec![observation.features()];
            sizes.extend(&config.hidden);
            sizes.push(outputs);
            sizes
        };
        let actor = Mlp::new(&sizes(outputs), config.activation);
        let critic = Mlp::new(&sizes(1), config.activation);
        let log_std = actor.num_params()..actor.num_params() + log_stds;
        // The critic starts on a cache line of its own.
        let critic_start = log_std.end.next_multiple_of(16);
        let critic_range = critic_start..critic_start + critic.num_params();
        let mut params = vec![0.0; critic_range.end];
        let mut rng = Stream::new(seed, "weights", 0);
        let (actor_params, critic_params) = params.split_at_mut(critic_start);
        let actor_params = &mut actor_params[..actor.num_params()];
        match config.init {
            Init::Orthogonal => {
                actor.init_orthogonal(actor_params, 2f64.sqrt(), 0.01, &mut rng);
                critic.init_orthogonal(critic_params, 2f64.sqrt(), 1.0, &mut rng);
            }
            Init::Uniform => {
                actor.init_uniform(actor_params, &mut rng);
                critic.init_uniform(critic_params, &mut rng);
            }
        }
        params[log_std.clone()].fill(config.log_std as f32);
        let batch = config.minibatch.min(config.num_envs * config.num_steps);
        Ok(Networks {
            actor_ws: actor.workspace(batch.max(config.num_envs).max(EVALUATION_BATCH)),
            critic_ws: critic.workspace(batch.max(VALUE_BATCH)),
            actor,
            critic,
            log_std,
            critic_range,
            params,
            head,
        })
    }

    /// All parameters, flat.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// All parameters, flat, to change.
    pub fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    /// The log standard deviations `[D]`; empty for discrete actions.
    pub fn log_std(&self) -> &[f32] {
        &self.params[self.log_std.clone()]
    }

    /// Runs the actor on `features` `[B, F]` and copies its outputs (logits or means) to `out` `[B, A]`.
    pub(crate) fn actor_forward(&mut self, features: &ArrayRef2<f32>, out: &mut ArrayRef2<f32>) {
        let params = &self.params[..self.actor.num_params()];
        out.assign(&self.actor.forward(params, features, &mut self.actor_ws));
    }

    /// Adds the actor's part of the gradient.
    pub(crate) fn actor_backward(
        &mut self,
        features: &ArrayRef2<f32>,
        d_out: &ArrayRef2<f32>,
        grad: &mut [f32],
    ) {
        let range = 0..self.actor.num_params();
        let params = &self.params[range.clone()];
        self.actor.backward(params, features, d_out, &mut self.actor_ws, &mut grad[range]);
    }

    /// Runs the critic on `features` `[B, F]` and copies the values to `out` `[B]`.
    pub(crate) fn critic_forward(&mut self, features: &ArrayRef2<f32>, out: &mut [f32]) {
        let params = &self.params[self.critic_range.clone()];
        let values = self.critic.forward(params, features, &mut self.critic_ws);
        out.copy_from_slice(values.as_slice().expect("the output is contiguous"));
    }

    /// Adds the critic's part of the gradient.
    pub(crate) fn critic_backward(
        &mut self,
        features: &ArrayRef2<f32>,
        d_value: &ArrayRef2<f32>,
        grad: &mut [f32],
    ) {
        let range = self.critic_range.clone();
        let params = &self.params[range.clone()];
        self.critic.backward(params, features, d_value, &mut self.critic_ws, &mut grad[range]);
    }

    /// Where the log standard deviations lie in the flat array.
    pub(crate) fn log_std_range(&self) -> Range<usize> {
        self.log_std.clone()
    }

    /// How many values the actor puts out per row.
    pub(crate) fn actor_outputs(&self) -> usize {
        self.actor.outputs()
    }

    /// The most likely action for each row of `features` `[B, F]`.
    pub(crate) fn greedy(&mut self, features: &ArrayRef2<f32>, action: &mut ActionBuffer) {
        let params = &self.params[..self.actor.num_params()];
        for start in (0..features.nrows()).step_by(EVALUATION_BATCH) {
            let end = (start + EVALUATION_BATCH).min(features.nrows());
            let rows = features.slice(s![start..end, ..]);
            let out = self.actor.forward(params, &rows, &mut self.actor_ws);
            match action {
                ActionBuffer::Discrete(action) => {
                    for (a, logits) in action[start..end].iter_mut().zip(out.rows()) {
                        *a = categorical::mode(logits.as_slice().expect("rows are contiguous")) as u32;
                    }
                }
                ActionBuffer::Continuous(action) => action.slice_mut(s![start..end, ..]).assign(&out),
            }
        }
    }
}

/// Greedy actions are computed in batches of this size.
const EVALUATION_BATCH: usize = 128;

impl ActorCritic for Networks {
    fn act(
        &mut self,
        features: &ArrayRef2<f32>,
        ended: &[End],
        action: &mut ActionBuffer,
        log_prob: &mut [f32],
    ) {
        let params = &self.params[..self.actor.num_params()];
        let out = self.actor.forward(params, features, &mut self.actor_ws);
        let out = out.as_slice().expect("the output is contiguous");
        match (&mut self.head, action) {
            (Head::Categorical { num_actions, streams }, ActionBuffer::Discrete(action)) => {
                categorical::sample_rows(out, *num_actions, streams, action, log_prob);
            }
            (Head::Gaussian { correlation, noise, streams }, ActionBuffer::Continuous(action)) => {
                let log_std = &self.params[self.log_std.clone()];
                let fresh = (1.0 - *correlation * *correlation).sqrt();
                for (n, stream) in streams.iter_mut().enumerate() {
                    // An AR(1) process: each component stays standard normal, and a new episode starts from fresh noise.
                    let (keep, add) = if ended[n].done() { (0.0, 1.0) } else { (*correlation, fresh) };
                    let mut noise = noise.row_mut(n);
                    noise.mapv_inplace(|e| keep * e + add * stream.normal() as f32);
                    let mut row = action.row_mut(n);
                    let dims = log_std.len();
                    let mean = &out[n * dims..(n + 1) * dims];
                    let noise = noise.as_slice().expect("rows are contiguous");
                    let row = row.as_slice_mut().expect("rows are contiguous");
                    log_prob[n] = gaussian::sample(mean, log_std, noise, row);
                }
            }
            _ => panic!("an action buffer of the other kind"),
        }
    }

    fn values(&mut self, features: &ArrayRef2<f32>, out: &mut [f32]) {
        assert_eq!(features.nrows(), out.len(), "features against out");
        for (b, out) in out.chunks_mut(VALUE_BATCH).enumerate() {
            let rows = features.slice(s![b * VALUE_BATCH..b * VALUE_BATCH + out.len(), ..]);
            self.critic_forward(&rows, out);
        }
    }
}
