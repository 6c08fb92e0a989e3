use crate::{ActionBuffer, ActorCritic, Checkpoint, ConfigError, range};
use ndarray::{Array2, ArrayRef2, s};
use rederive_env::{End, Space, Stream};
use rederive_math::beta::{self, Interval};
use rederive_math::{categorical, gaussian};
use rederive_nn::{Activation, Mlp, Workspace};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What decides about the networks of an agent with a policy; [`network_config!`](crate::network_config) takes it from an
/// algorithm's configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkConfig<'a> {
    /// Hidden layers of actor and critic.
    pub hidden: &'a [usize],
    /// Between layers.
    pub activation: Activation,
    /// Starting weights.
    pub init: Init,
    /// The distribution of continuous actions.
    pub policy: Policy,
    /// Initial log standard deviation of a Gaussian policy.
    pub log_std: f64,
    /// Correlation of successive noise of a Gaussian policy.
    pub noise_correlation: f64,
}

/// The [`NetworkConfig`] of a configuration that has all its fields under the same names.
#[macro_export]
macro_rules! network_config {
    ($config:expr) => {
        $crate::NetworkConfig {
            hidden: &$config.hidden,
            activation: $config.activation,
            init: $config.init,
            policy: $config.policy,
            log_std: $config.log_std,
            noise_correlation: $config.noise_correlation,
        }
    };
}

/// Starting weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Orthogonal with gain sqrt(2), 0.01 for the policy's output and 1 for the value's.
    #[default]
    Orthogonal,
    /// Uniform in `±1/sqrt(inputs)`.
    Uniform,
}

/// The distribution of continuous actions; discrete ones are always categorical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Means from the network, one log standard deviation per dimension (`policy.gaussian`).
    #[default]
    Gaussian,
    /// Both shapes from the network, on the bounds of the action space (`policy.beta-density`).
    Beta,
}

impl NetworkConfig<'_> {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.hidden.len() > 8 {
            return Err(ConfigError::new("hidden", self.hidden.len(), "at most 8 layers"));
        }
        for &units in self.hidden {
            range::count("hidden", units, 4096)?;
        }
        let (log_std, correlation) = (self.log_std, self.noise_correlation);
        range::number("log_std", log_std, (-10.0..=2.0).contains(&log_std), "in [-10, 2]")?;
        range::number("noise_correlation", correlation, (0.0..1.0).contains(&correlation), "in [0, 1)")?;
        if self.policy == Policy::Beta && self.noise_correlation != 0.0 {
            let allowed = "0 when policy = \"beta\", whose samples have no noise to correlate";
            return Err(ConfigError::new("noise_correlation", self.noise_correlation, allowed));
        }
        Ok(())
    }
}

/// Actor and critic in one flat array `[actor | log_std | critic]`: separate networks that share no parameter.
#[derive(Clone, Debug)]
pub struct Networks {
    actor: Mlp,
    critic: Mlp,
    log_std: Range<usize>,
    critic_range: Range<usize>,
    params: Vec<f32>,
    head: Head,
    streams: Vec<Stream>,
    actor_ws: Workspace<f32>,
    critic_ws: Workspace<f32>,
}

/// The distribution over actions, with what it needs to sample for N environments.
#[derive(Clone, Debug)]
enum Head {
    /// Logits.
    Categorical { num_actions: usize },
    /// Means from the network, and the present noise `[N, D]`.
    Gaussian { correlation: f32, noise: Array2<f32> },
    /// Pre-activations of both shapes from the network; room for the shapes of one pass `[N * D]`.
    Beta { interval: Vec<Interval<f32>>, a: Vec<f32>, b: Vec<f32> },
}

/// The actor on a batch: what [`Networks::evaluate`] leaves for [`Networks::policy_backward`], and its results. A batch of fewer
/// rows than there is room for uses the first ones.
#[derive(Clone, Debug)]
pub struct PolicyBatch {
    /// Log-probabilities of the actions `[B]`.
    pub log_prob: Vec<f32>,
    /// Entropies of the policy `[B]`, nats.
    pub entropy: Vec<f32>,
    /// The loss's gradient at `log_prob`, to be filled in before the backward pass.
    pub d_log_prob: Vec<f32>,
    /// The loss's gradient at `entropy`, to be filled in before the backward pass.
    pub d_entropy: Vec<f32>,
    out: Array2<f32>,
    d_out: Array2<f32>,
    categorical: categorical::Evaluation<f32>,
    beta: Option<Box<BetaBatch>>,
}

/// Shapes of a Beta policy and their gradients, `[B, D]` each.
#[derive(Clone, Debug, Default)]
struct BetaBatch {
    a: Vec<f32>,
    b: Vec<f32>,
    d_a: Vec<f32>,
    d_b: Vec<f32>,
    evaluation: beta::Evaluation<f32>,
}

/// Values are computed in batches of this size.
const VALUE_BATCH: usize = 512;
/// Greedy actions are computed in batches of this size.
const EVALUATION_BATCH: usize = 128;

impl Networks {
    /// Networks for these spaces, for `num_envs` environments and learning batches of up to `batch` rows, with weights drawn
    /// from `seed`.
    ///
    /// # Errors
    /// If there is no distribution for the action space, or a field of `config` is out of range.
    pub fn new(
        config: &NetworkConfig<'_>,
        observation: &Space,
        action: &Space,
        num_envs: usize,
        batch: usize,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let (outputs, log_stds, head) = match action {
            Space::Discrete { n } => (*n, 0, Head::Categorical { num_actions: *n }),
            Space::Box { low, high } => match config.policy {
                Policy::Gaussian => {
                    let noise = Array2::zeros((num_envs, low.len()));
                    let correlation = config.noise_correlation as f32;
                    (low.len(), low.len(), Head::Gaussian { correlation, noise })
                }
                Policy::Beta => {
                    let interval = intervals(low, high)?;
                    let room = vec![0.0; num_envs * low.len()];
                    (2 * low.len(), 0, Head::Beta { interval, a: room.clone(), b: room })
                }
            },
            Space::MultiDiscrete { .. } | Space::Image { .. } => {
                let value = format!("{action:?} actions");
                return Err(ConfigError::new("env", value, "one with Discrete or Box actions"));
            }
        };
        let sizes = |outputs: usize| {
            let mut sizes = vec![observation.features()];
            sizes.extend(config.hidden);
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
        Ok(Networks {
            actor_ws: actor.workspace(batch.max(num_envs).max(EVALUATION_BATCH)),
            critic_ws: critic.workspace(batch.max(VALUE_BATCH)),
            actor,
            critic,
            log_std,
            critic_range,
            params,
            head,
            streams: (0..num_envs as u64).map(|n| Stream::new(seed, "action", n)).collect(),
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

    /// Where the policy's parameters lie in the flat array: the actor's, then the log standard deviations.
    pub fn policy_range(&self) -> Range<usize> {
        0..self.log_std.end
    }

    /// Where the log standard deviations lie in the flat array; empty unless the policy is Gaussian.
    pub fn log_std_range(&self) -> Range<usize> {
        self.log_std.clone()
    }

    /// Where the critic's parameters lie in the flat array.
    pub fn critic_range(&self) -> Range<usize> {
        self.critic_range.clone()
    }

    /// The log standard deviations `[D]`; empty unless the policy is Gaussian.
    pub fn log_std(&self) -> &[f32] {
        &self.params[self.log_std.clone()]
    }

    /// The mean standard deviation of a Gaussian policy, 0 for the others.
    pub fn mean_std(&self) -> f64 {
        let log_std = self.log_std();
        log_std.iter().fold(0.0, |sum, s| sum + f64::from(s.exp())) / log_std.len().max(1) as f64
    }

    /// How many values the actor puts out per row: logits, means, or the pre-activations of both shapes (all of `a`, then all
    /// of `b`).
    pub fn actor_outputs(&self) -> usize {
        self.actor.outputs()
    }

    /// The intervals of a Beta policy's actions `[D]`; `None` for the other policies.
    pub fn beta_intervals(&self) -> Option<&[Interval<f32>]> {
        match &self.head {
            Head::Beta { interval, .. } => Some(interval),
            _ => None,
        }
    }

    /// Room for a batch of up to `rows` rows.
    pub fn batch(&self, rows: usize) -> PolicyBatch {
        let outputs = self.actor_outputs();
        PolicyBatch {
            log_prob: vec![0.0; rows],
            entropy: vec![0.0; rows],
            d_log_prob: vec![0.0; rows],
            d_entropy: vec![0.0; rows],
            out: Array2::zeros((rows, outputs)),
            d_out: Array2::zeros((rows, outputs)),
            categorical: categorical::Evaluation::new(rows, outputs),
            beta: self.beta_intervals().map(|interval| Box::new(BetaBatch::new(rows, interval.len()))),
        }
    }

    /// Log-probabilities and entropies of the first rows of `action` in the states `features` `[B, F]`.
    ///
    /// # Panics
    /// If a shape or the kind of actions does not fit.
    pub fn evaluate(&mut self, features: &ArrayRef2<f32>, action: &ActionBuffer, batch: &mut PolicyBatch) {
        let n = features.nrows();
        let mut out = batch.out.slice_mut(s![..n, ..]);
        self.actor_forward(features, &mut out);
        let out = out.as_slice().expect("contiguous");
        match (&self.head, action) {
            (Head::Categorical { .. }, ActionBuffer::Discrete(action)) => {
                categorical::evaluate(out, &action[..n], &mut batch.categorical);
                batch.log_prob[..n].copy_from_slice(&batch.categorical.log_prob);
                batch.entropy[..n].copy_from_slice(&batch.categorical.entropy);
            }
            (Head::Gaussian { .. }, ActionBuffer::Continuous(action)) => {
                let log_std = &self.params[self.log_std.clone()];
                gaussian::evaluate(out, log_std, rows(action, n), &mut batch.log_prob[..n]);
                batch.entropy[..n].fill(gaussian::entropy(log_std));
            }
            (Head::Beta { interval, .. }, ActionBuffer::Continuous(action)) => {
                let beta = batch.beta.as_mut().expect("a batch of these networks");
                beta.resize(n, interval.len());
                shapes(out, interval.len(), &mut beta.a, &mut beta.b);
                beta::evaluate(&beta.a, &beta.b, interval, rows(action, n), &mut beta.evaluation);
                batch.log_prob[..n].copy_from_slice(&beta.evaluation.log_prob);
                batch.entropy[..n].copy_from_slice(&beta.evaluation.entropy);
            }
            _ => panic!("actions of the other kind"),
        }
    }

    /// Adds the policy's part of the gradient of a loss whose gradients at the log-probabilities and entropies are in
    /// `batch`, after [`evaluate`](Self::evaluate) on the same states and actions.
    ///
    /// # Panics
    /// If a shape or the kind of actions does not fit.
    pub fn policy_backward(
        &mut self,
        features: &ArrayRef2<f32>,
        action: &ActionBuffer,
        batch: &mut PolicyBatch,
        grad: &mut [f32],
    ) {
        let n = features.nrows();
        let out = batch.out.slice(s![..n, ..]);
        let out = out.as_slice().expect("contiguous");
        let mut d_out = batch.d_out.slice_mut(s![..n, ..]);
        let d = d_out.as_slice_mut().expect("contiguous");
        let (d_log_prob, d_entropy) = (&batch.d_log_prob[..n], &batch.d_entropy[..n]);
        match (&self.head, action) {
            (Head::Categorical { .. }, ActionBuffer::Discrete(action)) => {
                categorical::backward(&batch.categorical, &action[..n], d_log_prob, d_entropy, d);
            }
            (Head::Gaussian { .. }, ActionBuffer::Continuous(action)) => {
                let log_std = &self.params[self.log_std.clone()];
                let d_log_std = &mut grad[self.log_std.clone()];
                let d_entropy = d_entropy.iter().sum();
                gaussian::backward(out, log_std, rows(action, n), d_log_prob, d_entropy, d, d_log_std);
            }
            (Head::Beta { interval, .. }, ActionBuffer::Continuous(_)) => {
                let beta = batch.beta.as_mut().expect("a batch of these networks");
                let BetaBatch { a, b, d_a, d_b, evaluation } = &mut **beta;
                beta::backward(evaluation, a, b, d_log_prob, d_entropy, d_a, d_b);
                let dims = interval.len();
                for (i, row) in d.chunks_exact_mut(2 * dims).enumerate() {
                    let (d_z, d_y) = row.split_at_mut(dims);
                    d_z.copy_from_slice(&d_a[i * dims..(i + 1) * dims]);
                    d_y.copy_from_slice(&d_b[i * dims..(i + 1) * dims]);
                }
                beta::backward_shapes(out, d);
            }
            _ => panic!("actions of the other kind"),
        }
        self.actor_backward(features, &d_out, grad);
    }

    /// Runs the actor on `features` `[B, F]` and copies its outputs to `out` `[B, A]`.
    pub fn actor_forward(&mut self, features: &ArrayRef2<f32>, out: &mut ArrayRef2<f32>) {
        let params = &self.params[..self.actor.num_params()];
        out.assign(&self.actor.forward(params, features, &mut self.actor_ws));
    }

    /// Adds the actor's part of the gradient, given the gradient at its outputs `[B, A]`, after the last
    /// [`actor_forward`](Self::actor_forward) or [`evaluate`](Self::evaluate).
    pub fn actor_backward(&mut self, features: &ArrayRef2<f32>, d_out: &ArrayRef2<f32>, grad: &mut [f32]) {
        let range = 0..self.actor.num_params();
        let params = &self.params[range.clone()];
        self.actor.backward(params, features, d_out, &mut self.actor_ws, &mut grad[range]);
    }

    /// The directional derivative of the actor's outputs `[B, A]` along `tangent`, whose first entries are the actor's, after
    /// the last [`actor_forward`](Self::actor_forward) or [`evaluate`](Self::evaluate).
    pub fn actor_jvp(&mut self, features: &ArrayRef2<f32>, tangent: &[f32], out: &mut ArrayRef2<f32>) {
        let range = 0..self.actor.num_params();
        let params = &self.params[range.clone()];
        self.actor.jvp(params, features, &tangent[range], &mut self.actor_ws, out);
    }

    /// Runs the critic on `features` `[B, F]` and copies the values to `out` `[B]`.
    pub fn critic_forward(&mut self, features: &ArrayRef2<f32>, out: &mut [f32]) {
        let params = &self.params[self.critic_range.clone()];
        let values = self.critic.forward(params, features, &mut self.critic_ws);
        out.copy_from_slice(values.as_slice().expect("the output is contiguous"));
    }

    /// Adds the critic's part of the gradient, given the gradient at its values `[B, 1]`.
    pub fn critic_backward(&mut self, features: &ArrayRef2<f32>, d_value: &ArrayRef2<f32>, grad: &mut [f32]) {
        let range = self.critic_range.clone();
        let params = &self.params[range.clone()];
        self.critic.backward(params, features, d_value, &mut self.critic_ws, &mut grad[range]);
    }

    /// The most likely action for each row of `features` `[B, F]`; the mean for a Gaussian or Beta policy.
    pub fn greedy(&mut self, features: &ArrayRef2<f32>, action: &mut ActionBuffer) {
        let params = &self.params[..self.actor.num_params()];
        for start in (0..features.nrows()).step_by(EVALUATION_BATCH) {
            let end = (start + EVALUATION_BATCH).min(features.nrows());
            let rows = features.slice(s![start..end, ..]);
            let out = self.actor.forward(params, &rows, &mut self.actor_ws);
            match (&self.head, &mut *action) {
                (Head::Categorical { .. }, ActionBuffer::Discrete(action)) => {
                    for (a, logits) in action[start..end].iter_mut().zip(out.rows()) {
                        *a = categorical::mode(logits.as_slice().expect("rows are contiguous")) as u32;
                    }
                }
                (Head::Gaussian { .. }, ActionBuffer::Continuous(action)) => {
                    action.slice_mut(s![start..end, ..]).assign(&out);
                }
                (Head::Beta { interval, .. }, ActionBuffer::Continuous(action)) => {
                    let dims = interval.len();
                    for (mut to, z) in action.rows_mut().into_iter().skip(start).zip(out.rows()) {
                        for (d, &interval) in interval.iter().enumerate() {
                            let (a, b) = (beta::shape(z[d]), beta::shape(z[dims + d]));
                            to[d] = beta::mean(a, b, interval);
                        }
                    }
                }
                _ => panic!("an action buffer of the other kind"),
            }
        }
    }

    /// Adds the parameters and the state of the noise.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensor("params", &self.params);
        checkpoint.put("streams", &self.streams);
        if let Head::Gaussian { noise, .. } = &self.head {
            checkpoint.put_tensor("noise", noise.as_slice().expect("contiguous"));
        }
    }

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit, in which case some of it may already be
    /// restored.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        checkpoint.get_tensor("params", &mut self.params)?;
        let streams: Vec<Stream> = checkpoint.get("streams")?;
        if streams.len() != self.streams.len() {
            let (found, wanted) = (streams.len(), self.streams.len());
            return Err(format!("state streams has {found} streams, expected {wanted}"));
        }
        self.streams = streams;
        if let Head::Gaussian { noise, .. } = &mut self.head {
            checkpoint.get_tensor("noise", noise.as_slice_mut().expect("contiguous"))?;
        }
        Ok(())
    }
}

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
            (Head::Categorical { num_actions }, ActionBuffer::Discrete(action)) => {
                categorical::sample_rows(out, *num_actions, &mut self.streams, action, log_prob);
            }
            (Head::Gaussian { correlation, noise }, ActionBuffer::Continuous(action)) => {
                let log_std = &self.params[self.log_std.clone()];
                let fresh = (1.0 - *correlation * *correlation).sqrt();
                for (n, stream) in self.streams.iter_mut().enumerate() {
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
            (Head::Beta { interval, a, b }, ActionBuffer::Continuous(action)) => {
                shapes(out, interval.len(), a, b);
                let action = action.as_slice_mut().expect("contiguous");
                beta::sample_rows(a, b, interval, &mut self.streams, action, log_prob);
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

impl PolicyBatch {
    /// The actor's outputs on the last batch `[B, A]`, in the first rows.
    pub fn outputs(&self) -> &ArrayRef2<f32> {
        &self.out
    }
}

impl BetaBatch {
    fn new(rows: usize, dims: usize) -> Self {
        let mut room = BetaBatch { evaluation: beta::Evaluation::new(rows, dims), ..Default::default() };
        room.resize(rows, dims);
        room
    }

    /// Makes room for exactly `rows` rows; allocates only if there never was as much.
    fn resize(&mut self, rows: usize, dims: usize) {
        for v in [&mut self.a, &mut self.b, &mut self.d_a, &mut self.d_b] {
            v.resize(rows * dims, 0.0);
        }
    }
}

/// Splits rows of pre-activations `[B, 2 D]` into the shapes `a` and `b` `[B, D]`.
fn shapes(z: &[f32], dims: usize, a: &mut [f32], b: &mut [f32]) {
    for (i, row) in z.chunks_exact(2 * dims).enumerate() {
        let at = i * dims..(i + 1) * dims;
        beta::shapes(&row[..dims], &mut a[at.clone()]);
        beta::shapes(&row[dims..], &mut b[at]);
    }
}

/// The first `n` rows of continuous actions.
fn rows(action: &ArrayRef2<f32>, n: usize) -> &[f32] {
    &action.as_slice().expect("contiguous")[..n * action.ncols()]
}

/// The intervals of a Beta policy: the bounds of the action space.
fn intervals(low: &[f32], high: &[f32]) -> Result<Vec<Interval<f32>>, ConfigError> {
    let interval = |(&low, &high): (&f32, &f32)| {
        if low.is_finite() && high.is_finite() && low < high {
            Ok(Interval::new(low, high))
        } else {
            let allowed = "\"gaussian\" for actions without bounds";
            Err(ConfigError::new("policy", format_args!("beta on [{low}, {high}]"), allowed))
        }
    };
    low.iter().zip(high).map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: usize = 3;
    const BATCH: usize = 5;

    fn boxed(low: [f32; 2], high: [f32; 2]) -> Space {
        Space::Box { low: low.to_vec(), high: high.to_vec() }
    }

    /// `sum_i w_i log pi(action_i) + u_i H_i` in `f64`, from the row functions.
    fn objective(
        params: &[f64],
        mlp: &Mlp,
        policy: Option<Policy>,
        x: &Array2<f64>,
        action: &[Vec<f64>],
        w: &[[f64; 2]],
    ) -> f64 {
        let mut ws = mlp.workspace(BATCH);
        let out = mlp.forward(&params[..mlp.num_params()], x, &mut ws);
        let mut total = 0.0;
        for ((out, action), [w, u]) in out.rows().into_iter().zip(action).zip(w) {
            let out = out.to_vec();
            let (log_prob, entropy) = match policy {
                None => (categorical::log_prob(&out, action[0] as usize), categorical::entropy(&out)),
                Some(Policy::Gaussian) => {
                    let log_std = &params[mlp.num_params()..mlp.num_params() + 2];
                    (gaussian::log_prob(&out, log_std, action), gaussian::entropy(log_std))
                }
                Some(Policy::Beta) => {
                    let interval = [Interval::new(-1.0, 3.0), Interval::new(0.5, 1.0)];
                    let a: Vec<f64> = out[..2].iter().map(|&z| beta::shape(z)).collect();
                    let b: Vec<f64> = out[2..].iter().map(|&z| beta::shape(z)).collect();
                    (beta::log_prob(&a, &b, &interval, action), beta::entropy(&a, &b, &interval))
                }
            };
            total += w * log_prob + u * entropy;
        }
        total
    }

    #[test]
    fn the_gradient_of_every_head_is_that_of_the_row_functions() {
        let cases = [
            (Space::Discrete { n: 4 }, None, 4),
            (boxed([-9.0; 2], [9.0; 2]), Some(Policy::Gaussian), 2),
            (boxed([-1.0, 0.5], [3.0, 1.0]), Some(Policy::Beta), 4),
        ];
        for (space, policy, outputs) in cases {
            let config = NetworkConfig {
                hidden: &[6],
                activation: Activation::Tanh,
                init: Init::Uniform,
                policy: policy.unwrap_or_default(),
                log_std: -0.3,
                noise_correlation: 0.0,
            };
            let observation = Space::Box { low: vec![-1.0; FEATURES], high: vec![1.0; FEATURES] };
            let mut networks = Networks::new(&config, &observation, &space, BATCH, BATCH, 7).unwrap();
            let mut rng = Stream::new(5, "test", 0);
            let x = Array2::from_shape_simple_fn((BATCH, FEATURES), || rng.normal() as f32);
            let mut action = ActionBuffer::new(&space, BATCH);
            let mut sampled = vec![0.0; BATCH];
            networks.act(&x, &[End::No; BATCH], &mut action, &mut sampled);
            let mut batch = networks.batch(BATCH + 2);
            networks.evaluate(&x, &action, &mut batch);
            for (a, b) in sampled.iter().zip(&batch.log_prob) {
                assert!((a - b).abs() < 1e-5, "{policy:?}: sampled with {a}, evaluated {b}");
            }
            let weights: Vec<[f64; 2]> = (0..BATCH).map(|_| [rng.normal(), rng.normal()]).collect();
            for (i, [w, u]) in weights.iter().enumerate() {
                (batch.d_log_prob[i], batch.d_entropy[i]) = (*w as f32, *u as f32);
            }
            let mut grad = vec![0.0; networks.params().len()];
            networks.policy_backward(&x, &action, &mut batch, &mut grad);

            let mlp = Mlp::new(&[FEATURES, 6, outputs], Activation::Tanh);
            let action: Vec<Vec<f64>> = match &action {
                ActionBuffer::Discrete(a) => a.iter().map(|&a| vec![f64::from(a)]).collect(),
                ActionBuffer::Continuous(a) => {
                    a.rows().into_iter().map(|r| r.mapv(f64::from).to_vec()).collect()
                }
            };
            let x = x.mapv(f64::from);
            let mut params: Vec<f64> = networks.params().iter().map(|&p| f64::from(p)).collect();
            for i in networks.policy_range() {
                let h = 1e-5;
                let mut at = |shift: f64| {
                    let kept = params[i];
                    params[i] = kept + shift;
                    let value = objective(&params, &mlp, policy, &x, &action, &weights);
                    params[i] = kept;
                    value
                };
                let want = (at(h) - at(-h)) / (2.0 * h);
                let got = f64::from(grad[i]);
                assert!(
                    (got - want).abs() <= 1e-4 * (1.0 + want.abs()),
                    "{policy:?}, parameter {i}: {got} against {want}"
                );
            }
            assert!(grad[networks.policy_range().end..].iter().all(|&g| g == 0.0));
        }
    }

    #[test]
    fn a_beta_policy_stays_within_its_bounds_and_needs_some() {
        let config = NetworkConfig {
            hidden: &[4],
            activation: Activation::Tanh,
            init: Init::Orthogonal,
            policy: Policy::Beta,
            log_std: 0.0,
            noise_correlation: 0.0,
        };
        let observation = boxed([-1.0; 2], [1.0; 2]);
        let space = boxed([-1.0, 0.5], [3.0, 1.0]);
        let mut networks = Networks::new(&config, &observation, &space, 64, 64, 1).unwrap();
        let mut action = ActionBuffer::new(&space, 64);
        let features = Array2::from_elem((64, 2), 0.1);
        networks.act(&features, &[End::No; 64], &mut action, &mut [0.0; 64]);
        let ActionBuffer::Continuous(drawn) = &action else { panic!("continuous actions") };
        assert!(
            drawn.rows().into_iter().all(|r| (-1.0..=3.0).contains(&r[0]) && (0.5..=1.0).contains(&r[1]))
        );
        // Untrained, both shapes are nearly equal, and the mean is the middle.
        networks.greedy(&features, &mut action);
        let ActionBuffer::Continuous(mean) = &action else { panic!("continuous actions") };
        assert!(mean.rows().into_iter().all(|r| (r[0] - 1.0).abs() < 0.1 && (r[1] - 0.75).abs() < 0.02));

        let endless = boxed([f32::NEG_INFINITY; 2], [f32::INFINITY; 2]);
        let error = Networks::new(&config, &observation, &endless, 1, 1, 1).expect_err("no bounds");
        assert_eq!(error.field, "policy");
    }
}
