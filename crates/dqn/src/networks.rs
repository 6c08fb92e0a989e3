use crate::config::Config;
use ndarray::{ArrayRef2, ArrayView2};
use rederive_env::{Space, Stream, VecEnv};
use rederive_nn::{ConvSpec, Input, Network, NetworkSpec, NetworkWorkspace};
use rederive_train::{ConfigError, Init};

/// Action values: one network with two sets of parameters, the online one and its target.
#[derive(Clone, Debug)]
pub struct QNetworks {
    network: Network,
    pub(crate) online: Vec<f32>,
    pub(crate) target: Vec<f32>,
    /// For the observations of a batch, whose activations the backward pass needs.
    batch_ws: NetworkWorkspace<f32>,
    /// For all other observations.
    ws: NetworkWorkspace<f32>,
}

/// Action values without a gradient are computed in batches of at least this size, where there are as many.
pub(crate) const ROWS: usize = 128;

impl QNetworks {
    /// Networks for environments like `env`, with weights drawn from `seed`; the target starts as a copy.
    ///
    /// # Errors
    /// If the actions are not discrete, or the layers do not fit the observations.
    pub fn new(config: &Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        let &Space::Discrete { n: outputs } = env.action_space() else {
            let fits = |id: &&str| {
                rederive_env::make(id).is_ok_and(|env| matches!(env.action_space(), Space::Discrete { .. }))
            };
            let known: Vec<_> = rederive_env::IDS.iter().map(|spec| spec.id).filter(fits).collect();
            let allowed = format!("an environment with discrete actions for dqn: {}", known.join(", "));
            return Err(ConfigError::new("env", env.id(), allowed));
        };
        let observation = env.observation_space();
        let conv =
            |&[channels, kernel, stride]: &[usize; 3]| ConvSpec { channels, kernel, stride, padding: 0 };
        let (input, conv) = match observation {
            Space::Image { shape } if !config.conv.is_empty() => {
                (Input::Image(*shape), config.conv.iter().map(conv).collect())
            }
            _ => (Input::Flat(observation.features()), Vec::new()),
        };
        let spec = NetworkSpec {
            input,
            conv,
            hidden: config.hidden.clone(),
            outputs,
            activation: config.activation,
            dueling: config.dueling,
        };
        let network = Network::new(&spec).map_err(|problem| {
            let allowed = format!("convolutions that fit the observations: {problem}");
            ConfigError::new("conv", format_args!("{:?}", config.conv), allowed)
        })?;
        let mut online = vec![0.0; network.num_params()];
        let mut rng = Stream::new(seed, "weights", 0);
        match config.init {
            Init::Orthogonal => network.init_orthogonal(&mut online, 2f64.sqrt(), 1.0, &mut rng),
            Init::Uniform => {
                network.init_uniform(&mut online, &mut rng);
                // The biases too, as PyTorch draws them: where observations are small, units that all bend at 0 could not tell
                // one state from another.
                for pair in network.layout().views().windows(2).filter(|pair| pair[1].shape.len() == 1) {
                    let (weights, biases) = (pair[0].range.len(), pair[1].range.clone());
                    let bound = (weights as f64 / biases.len() as f64).sqrt().recip();
                    online[biases].iter_mut().for_each(|b| *b = rng.uniform(-bound, bound) as f32);
                }
            }
        }
        Ok(QNetworks {
            batch_ws: network.workspace(config.batch),
            ws: network.workspace(config.batch.max(config.num_envs).max(ROWS)),
            target: online.clone(),
            online,
            network,
        })
    }

    /// The shape of both.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters that are learnt.
    pub fn online(&self) -> &[f32] {
        &self.online
    }

    /// The parameters that targets are computed with.
    pub fn target(&self) -> &[f32] {
        &self.target
    }

    /// Online action values `[B, A]` of `features` `[B, F]`.
    pub fn values(&mut self, features: &ArrayRef2<f32>) -> ArrayView2<'_, f32> {
        self.network.forward(&self.online, features, &mut self.ws)
    }

    /// Action values of the target network.
    pub fn target_values(&mut self, features: &ArrayRef2<f32>) -> ArrayView2<'_, f32> {
        self.network.forward(&self.target, features, &mut self.ws)
    }

    /// Online action values of a batch that is learnt from.
    pub(crate) fn forward(&mut self, features: &ArrayRef2<f32>) -> ArrayView2<'_, f32> {
        self.network.forward(&self.online, features, &mut self.batch_ws)
    }

    /// Adds the gradient at the `features` of the last [`forward`](Self::forward).
    pub(crate) fn backward(&mut self, features: &ArrayRef2<f32>, d_q: &ArrayRef2<f32>, grad: &mut [f32]) {
        self.network.backward(&self.online, features, d_q, &mut self.batch_ws, grad);
    }
}
