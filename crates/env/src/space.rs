use serde::{Deserialize, Serialize};

/// What observations or actions look like.
///
/// In an observation buffer a `Discrete` or `MultiDiscrete` component is stored as its number in an `f32`;
/// [`Space::encode`] turns it into the one-hot features that a network reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Space {
    /// One of `n` values, `0..n`.
    Discrete {
        /// How many values there are.
        n: usize,
    },
    /// Several independent discrete components.
    MultiDiscrete {
        /// How many values each component has.
        n: Vec<usize>,
    },
    /// A vector of reals, each in its closed interval (possibly infinite).
    Box {
        /// Lower bounds.
        low: Vec<f32>,
        /// Upper bounds.
        high: Vec<f32>,
    },
    /// An image: `[height, width, channels]` numbers in [0, 1], channels innermost.
    Image {
        /// Height, width and channels.
        shape: [usize; 3],
    },
}

impl Space {
    /// How many `f32` one element takes in a buffer.
    pub fn len(&self) -> usize {
        match self {
            Space::Discrete { .. } => 1,
            Space::MultiDiscrete { n } => n.len(),
            Space::Box { low, .. } => low.len(),
            Space::Image { shape } => shape.iter().product(),
        }
    }

    /// Whether an element has no component at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many features a network reads: one-hot for discrete components, the numbers themselves for a box or an image.
    pub fn features(&self) -> usize {
        match self {
            Space::Discrete { n } => *n,
            Space::MultiDiscrete { n } => n.iter().sum(),
            Space::Box { low, .. } => low.len(),
            Space::Image { shape } => shape.iter().product(),
        }
    }

    /// Writes the features of `element` (length [`len`](Self::len)) to `features` (length [`features`](Self::features)).
    pub fn encode(&self, element: &[f32], features: &mut [f32]) {
        assert_eq!(element.len(), self.len(), "element against the space's length");
        assert_eq!(features.len(), self.features(), "features against the space's features");
        match self {
            Space::Box { .. } | Space::Image { .. } => features.copy_from_slice(element),
            Space::Discrete { .. } => {
                features.fill(0.0);
                features[element[0] as usize] = 1.0;
            }
            Space::MultiDiscrete { n } => {
                features.fill(0.0);
                let mut offset = 0;
                for (&value, &size) in element.iter().zip(n) {
                    features[offset + value as usize] = 1.0;
                    offset += size;
                }
            }
        }
    }
}
