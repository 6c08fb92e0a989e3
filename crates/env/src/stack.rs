//! The last few observations side by side, for environments in which one alone does not show everything.

use crate::{Action, End, Env, Space, StateError, Stream, saved, scene::Scene};
use serde_json::{Value, json};

/// `dqn.frame-stack`: the last `m` observations, oldest to newest, those before the first one being the first one itself:
///
/// `s_t = (o_max(0, t-m+1), ..., o_t)`, with `t` counted from the start of the episode.
///
/// The stack is a Markov state if the next observation depends on the last `m` observations and the action alone. That is so with `m = 2`
/// for things that move at one known speed; it is not with several possible speeds where they bounce, nor where something out of sight
/// lasts longer than `m` steps.
///
/// An observation of `channels` numbers per pixel stays an image: pixel by pixel the channels of the `m` frames lie one
/// after the other, `[H, W, m * C]`. A vector is an image of one pixel.
///
/// V. Mnih, K. Kavukcuoglu, D. Silver et al. (2015), *Human-level control through deep reinforcement learning*.
///
/// ```
/// use rederive_env::FrameStack;
///
/// // Two pixels of two channels, three frames.
/// let mut stack = FrameStack::new(3, 4, 2);
/// stack.start(&[1, 2, 3, 4]);
/// stack.push(&[5, 6, 7, 8]);
/// assert_eq!(stack.values(), [1, 2, 1, 2, 5, 6, /* second pixel */ 3, 4, 3, 4, 7, 8]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FrameStack<T> {
    values: Vec<T>,
    frame: usize,
    channels: usize,
}

impl<T: Copy + Default> FrameStack<T> {
    /// A stack of `depth` frames of length `frame`, which have `channels` numbers per pixel.
    ///
    /// # Panics
    /// If one of them is 0, or `frame` is no multiple of `channels`.
    pub fn new(depth: usize, frame: usize, channels: usize) -> Self {
        assert!(
            depth > 0 && frame > 0 && channels > 0,
            "a stack of {depth} x {frame} numbers, {channels} each"
        );
        assert_eq!(frame % channels, 0, "length of a frame against its channels");
        FrameStack { values: vec![T::default(); depth * frame], frame, channels }
    }

    // ANCHOR: dqn.frame-stack
    /// The first frame of an episode `[frame]`, in all places.
    ///
    /// # Panics
    /// If its length is not that of a frame.
    pub fn start(&mut self, frame: &[T]) {
        assert_eq!(frame.len(), self.frame, "length of `frame` against that of the stack's frames");
        let depth = self.values.len() / self.frame;
        let pixels = self.values.chunks_exact_mut(depth * self.channels);
        for (pixel, new) in pixels.zip(frame.chunks_exact(self.channels)) {
            pixel.chunks_exact_mut(self.channels).for_each(|place| place.copy_from_slice(new));
        }
    }

    /// The next frame of the episode `[frame]`: the oldest one goes.
    ///
    /// # Panics
    /// If its length is not that of a frame.
    pub fn push(&mut self, frame: &[T]) {
        assert_eq!(frame.len(), self.frame, "length of `frame` against that of the stack's frames");
        let depth = self.values.len() / self.frame;
        // All at once, one frame towards the old end; what this takes across the border of two pixels is then overwritten.
        self.values.copy_within(self.channels.., 0);
        let pixels = self.values.chunks_exact_mut(depth * self.channels);
        for (pixel, new) in pixels.zip(frame.chunks_exact(self.channels)) {
            pixel[(depth - 1) * self.channels..].copy_from_slice(new);
        }
    }
    // ANCHOR_END: dqn.frame-stack

    /// The stack `[H, W, depth * C]`, flat.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// An environment that shows its last observations in a [`FrameStack`]; `?stack=4` in an ID makes one.
pub struct Stacked<E> {
    env: E,
    depth: usize,
    frame: Vec<f32>,
    stack: FrameStack<f32>,
}

impl<E: Env> Stacked<E> {
    /// The last `depth` observations of `env`.
    ///
    /// # Panics
    /// If `depth` is 0, or the observations are neither a box nor an image.
    pub fn new(env: E, depth: usize) -> Self {
        let space = env.observation_space();
        let channels = match &space {
            Space::Box { low, .. } => low.len(),
            Space::Image { shape: [_, _, channels] } => *channels,
            other => panic!("a stack of {other:?}: the observations must be a box or an image"),
        };
        let stack = FrameStack::new(depth, space.len(), channels);
        Stacked { env, depth, frame: vec![0.0; space.len()], stack }
    }
}

impl<E: Env> Env for Stacked<E> {
    fn observation_space(&self) -> Space {
        match self.env.observation_space() {
            Space::Image { shape: [height, width, channels] } => {
                Space::Image { shape: [height, width, self.depth * channels] }
            }
            Space::Box { low, high } => {
                Space::Box { low: low.repeat(self.depth), high: high.repeat(self.depth) }
            }
            other => other,
        }
    }

    fn action_space(&self) -> Space {
        self.env.action_space()
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.env.reset(rng, &mut self.frame);
        self.stack.start(&self.frame);
        obs.copy_from_slice(self.stack.values());
    }

    #[inline]
    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let outcome = self.env.step(action, rng, &mut self.frame);
        self.stack.push(&self.frame);
        obs.copy_from_slice(self.stack.values());
        outcome
    }

    fn save(&self) -> Value {
        let stack: Vec<Value> = self.stack.values().iter().map(|&x| saved::number(f64::from(x))).collect();
        json!({ "env": self.env.save(), "stack": stack })
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let length = self.stack.values.len();
        let list = state.get("stack").and_then(Value::as_array).filter(|list| list.len() == length);
        let list = list.ok_or_else(|| StateError(format!("`stack` is not a list of {length} numbers")))?;
        let stack = list.iter().map(|x| saved::read_number("stack", x).map(|x| x as f32));
        let stack = stack.collect::<Result<Vec<_>, _>>()?;
        self.env.load(state.get("env").unwrap_or(&Value::Null))?;
        self.stack.values = stack;
        Ok(())
    }

    fn scene(&self) -> Option<Scene> {
        self.env.scene()
    }
}
