//! Observations as a few active binary features.

use crate::config::LinearConfig;
use rederive_env::{Space, VecEnv};
use rederive_train::ConfigError;

/// More weights than this are no features but a mistake.
const MAX_WEIGHTS: usize = 1 << 26;

/// Which binary features of an observation are 1; always the same number of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Features {
    /// Each component one-hot, side by side; the sizes of the components.
    OneHot(Vec<usize>),
    /// Several grids over a box, each shifted, of which an observation is in one tile each.
    Tiles(Tiles),
}

/// J. S. Albus (1975), A New Approach to Manipulator Control: the Cerebellar Model Articulation Controller (CMAC).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tiles {
    low: Vec<f32>,
    /// Tiles per unit, by dimension.
    scale: Vec<f32>,
    tiles: usize,
    tilings: usize,
    /// By how much of a tile each tiling is shifted in each dimension, `[T, D]`.
    shift: Vec<f32>,
}

impl Features {
    /// Features for environments like `env`, and how many actions they have.
    ///
    /// # Errors
    /// If actions are not discrete, a bound is missing or does not fit, or there would be too many weights.
    pub fn of(env: &dyn VecEnv, config: &LinearConfig) -> Result<(Self, usize), ConfigError> {
        let Space::Discrete { n: actions } = *env.action_space() else {
            let fits = |id: &&str| {
                rederive_env::make(id).is_ok_and(|env| matches!(env.action_space(), Space::Discrete { .. }))
            };
            let known: Vec<_> = rederive_env::IDS.iter().map(|spec| spec.id).filter(fits).collect();
            let allowed = format!("an environment with discrete actions for linear-q: {}", known.join(", "));
            return Err(ConfigError::new("env", env.id(), allowed));
        };
        let features = match env.observation_space() {
            Space::Discrete { n } => Features::OneHot(vec![*n]),
            Space::MultiDiscrete { n } => Features::OneHot(n.clone()),
            Space::Box { low, high } => Features::Tiles(Tiles::new(low, high, config)?),
            Space::Image { .. } => {
                let allowed =
                    "an environment whose observations are not images for linear-q; dqn takes those";
                return Err(ConfigError::new("env", env.id(), allowed));
            }
        };
        let weights = features.len().and_then(|n| n.checked_mul(actions));
        if weights.is_none_or(|n| n > MAX_WEIGHTS) {
            let (field, value) = match &features {
                Features::OneHot(_) => ("env", env.id().to_owned()),
                Features::Tiles(tiles) => ("tiles", tiles.tiles.to_string()),
            };
            let allowed = format!("small enough for at most {MAX_WEIGHTS} weights on {}", env.id());
            return Err(ConfigError::new(field, value, allowed));
        }
        Ok((features, actions))
    }

    /// How many there are; none if too many to count.
    pub fn len(&self) -> Option<usize> {
        match self {
            Features::OneHot(sizes) => sizes.iter().try_fold(0, |sum: usize, &n| sum.checked_add(n)),
            Features::Tiles(t) => {
                (t.tiles + 1).checked_pow(t.low.len() as u32).and_then(|n| n.checked_mul(t.tilings))
            }
        }
    }

    /// How many are active at a time.
    pub fn active(&self) -> usize {
        match self {
            Features::OneHot(sizes) => sizes.len(),
            Features::Tiles(tiles) => tiles.tilings,
        }
    }

    /// Writes the active ones of an observation `[D]` to `out`, of length [`active`](Self::active).
    pub fn find(&self, obs: &[f32], out: &mut [u32]) {
        match self {
            Features::OneHot(sizes) => {
                let mut first = 0;
                for ((out, &value), &size) in out.iter_mut().zip(obs).zip(sizes) {
                    *out = first + value as u32;
                    first += size as u32;
                }
            }
            Features::Tiles(tiles) => tiles.find(obs, out),
        }
    }
}

impl Tiles {
    fn new(low: &[f32], high: &[f32], config: &LinearConfig) -> Result<Self, ConfigError> {
        let dims = low.len();
        let given = |field: &str, own: &[f32], given: &[f64]| {
            if given.is_empty() {
                return Ok(own.to_vec());
            }
            let fits = given.len() == dims && given.iter().all(|x| (*x as f32).is_finite());
            let allowed =
                format!("empty for the environment's own bounds, or {dims} numbers, one per dimension");
            let found = format!("{given:?}");
            fits.then(|| given.iter().map(|&x| x as f32).collect())
                .ok_or_else(|| ConfigError::new(field, found, allowed))
        };
        let (low, high) = (given("low", low, &config.low)?, given("high", high, &config.high)?);
        for (d, (&l, &h)) in low.iter().zip(&high).enumerate() {
            for (field, x) in [("low", l), ("high", h)] {
                if !x.is_finite() {
                    let allowed = format!("{dims} finite numbers: dimension {d} has no bound of its own");
                    return Err(ConfigError::new(field, "[]", allowed));
                }
            }
            let width = h - l;
            if width.is_nan() || width <= 0.0 || width.is_infinite() {
                let allowed = format!("greater than low = {l} in dimension {d}");
                return Err(ConfigError::new("high", h, allowed));
            }
        }
        let (tiles, tilings) = (config.tiles, config.tilings);
        // Odd multiples that differ between dimensions: equal ones would line the tilings up along the diagonal.
        let shift = (0..tilings)
            .flat_map(|t| (0..dims).map(move |d| ((2 * d + 1) * t % tilings) as f32 / tilings as f32));
        Ok(Tiles {
            scale: low.iter().zip(&high).map(|(l, h)| tiles as f32 / (h - l)).collect(),
            shift: shift.collect(),
            low,
            tiles,
            tilings,
        })
    }

    fn find(&self, obs: &[f32], out: &mut [u32]) {
        let side = self.tiles + 1;
        for (t, (out, shift)) in out.iter_mut().zip(self.shift.chunks_exact(self.low.len())).enumerate() {
            let mut tile = t;
            for (((&x, &low), &scale), &shift) in obs.iter().zip(&self.low).zip(&self.scale).zip(shift) {
                let place = ((x - low) * scale).clamp(0.0, self.tiles as f32) + shift;
                tile = tile * side + (place as usize).min(self.tiles);
            }
            *out = tile as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_tiles_and_strangers_none() {
        let config = LinearConfig { tiles: 4, tilings: 8, ..LinearConfig::default() };
        let tiles = Features::Tiles(Tiles::new(&[-1.0, 0.0], &[1.0, 10.0], &config).unwrap());
        assert_eq!((tiles.len(), tiles.active()), (Some(8 * 25), 8));
        let find = |obs: [f32; 2]| {
            let mut out = vec![0; 8];
            tiles.find(&obs, &mut out);
            out
        };
        let shared = |a: [f32; 2], b: [f32; 2]| find(a).iter().filter(|i| find(b).contains(i)).count();
        // A tile is 0.5 wide: a quarter of it further, six of eight tilings have the same one.
        assert_eq!(shared([0.01, 5.01], [0.01 + 0.125, 5.01]), 6);
        assert_eq!(shared([0.01, 5.01], [0.6, 5.01]), 0);
        // Outside, the nearest place inside.
        assert_eq!(find([-7.0, 99.0]), find([-1.0, 10.0]));
        // No tile belongs to two tilings.
        let all: Vec<_> = [[-1.0, 0.0], [1.0, 10.0], [0.3, 4.0]].into_iter().map(find).collect();
        for found in all {
            assert!(found.iter().enumerate().all(|(t, &i)| i as usize / 25 == t), "{found:?}");
        }
    }

    #[test]
    fn components_have_features_of_their_own() {
        let features = Features::OneHot(vec![32, 11, 2]);
        let mut out = [0; 3];
        features.find(&[31.0, 0.0, 1.0], &mut out);
        assert_eq!((features.len(), out), (Some(45), [31, 32, 44]));
    }
}
