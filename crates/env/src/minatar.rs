//! MinAtar's five games: `MinAtar/Breakout-v1` and its siblings.
//!
//! | | |
//! |---|---|
//! | observation | a 10 x 10 image of 0 and 1 whose channels are the kinds of objects, see each game's [`Game::CHANNELS`] |
//! | action | the keys that the game knows ([`Game::KEYS`]), or under `-v0` all six of [`Key`] in their order |
//! | reward | points; most are worth 1 |
//! | terminated | when the player is lost; Freeway: after 2501 steps |
//! | truncated | never, unless the ID says `max_steps` |
//!
//! With probability 0.1 (`?sticky=0.1`) a step repeats the key of the step before, whatever key is pressed. Asterix, Seaquest and
//! SpaceInvaders become harder the longer they go well; `?ramping=false` keeps them as they begin.
//!
//! The rules are those of version 1.0.15 of the package `minatar`, its oddities included (they are told with each game). There is one
//! difference: an episode here begins with no key before it, where the package's first step may repeat the last key of the
//! episode before.
//!
//! K. Young, T. Tian (2019), *MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement Learning Experiments*.

mod asterix;
mod breakout;
mod freeway;
mod seaquest;
mod space_invaders;

use crate::{
    Action, End, Env, Space, StateError, Stream, dynamics, saved,
    scene::{BLACK, GREY, Scene},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use asterix::Asterix;
pub use breakout::Breakout;
pub use freeway::Freeway;
pub use seaquest::Seaquest;
pub use space_invaders::SpaceInvaders;

/// Rows of the screen, and columns.
pub const SIDE: usize = 10;
const LAST: i8 = SIDE as i8 - 1;

/// What a player can press.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// Nothing.
    None,
    /// One cell to the left.
    Left,
    /// One cell up.
    Up,
    /// One cell to the right.
    Right,
    /// One cell down.
    Down,
    /// Shoot.
    Fire,
}

impl Key {
    /// All keys, in the package's order.
    pub const ALL: &'static [Key] = &[Key::None, Key::Left, Key::Up, Key::Right, Key::Down, Key::Fire];
}

/// Where a game's random numbers come from: a [`Stream`], or a list of what was once drawn elsewhere.
pub trait Chance {
    /// A uniform number in `[0, 1)`.
    fn unit(&mut self) -> f64;

    /// A uniform integer in `0..n`.
    fn below(&mut self, n: u32) -> u32;
}

impl Chance for Stream {
    #[inline(always)]
    fn unit(&mut self) -> f64 {
        Stream::unit(self)
    }

    #[inline(always)]
    fn below(&mut self, n: u32) -> u32 {
        Stream::below(self, n)
    }
}

/// One channel of the observation: a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What it shows.
    pub name: &'static str,
    /// In which colour a drawing shows it, RGB.
    pub color: [u8; 3],
}

const fn channel(name: &'static str, color: [u8; 3]) -> Channel {
    Channel { name, color }
}

/// The rules of a game; its value is the state. [`MinAtar`] makes an [`Env`] of it.
pub trait Game: Serialize + DeserializeOwned + Send + 'static {
    /// The channels of the observation, in order.
    const CHANNELS: &'static [Channel];

    /// The keys that do something, in the package's order.
    const KEYS: &'static [Key];

    /// A game that has not begun; it becomes harder in time if `ramping`, unless it never does.
    fn new(ramping: bool) -> Self;

    /// Begins an episode.
    fn start(&mut self, chance: &mut impl Chance);

    /// Takes one step and returns the reward and whether the episode is over.
    fn step(&mut self, key: Key, chance: &mut impl Chance) -> (f32, bool);

    /// Calls `mark(row, column, channel)` for every object on the screen, those at the back first.
    fn show(&self, mark: impl FnMut(usize, usize, usize));

    /// Whether all objects are where the rules allow, so that neither `step` nor `show` panics.
    fn is_possible(&self) -> bool;
}

/// The game `G` as an environment: sticky keys, the observation, the time limit.
pub struct MinAtar<G> {
    game: G,
    keys: &'static [Key],
    sticky: f64,
    limit: u32,
    held: Key,
    elapsed: u32,
}

/// What can be set for every game.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Whether all six keys are actions (`-v0`) or only those of [`Game::KEYS`] (`-v1`).
    pub all_keys: bool,
    /// The probability that a step repeats the key before, in [0, 1].
    pub sticky: f64,
    /// Whether the game becomes harder in time; Breakout and Freeway never do.
    pub ramping: bool,
    /// After how many steps an episode is truncated, if ever.
    pub max_steps: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { all_keys: false, sticky: 0.1, ramping: true, max_steps: None }
    }
}

impl<G: Game> MinAtar<G> {
    /// The game under `rules`; [`reset`](Env::reset) it first.
    pub fn new(rules: Rules) -> Self {
        MinAtar {
            game: G::new(rules.ramping),
            keys: if rules.all_keys { Key::ALL } else { G::KEYS },
            sticky: rules.sticky,
            limit: rules.max_steps.unwrap_or(u32::MAX),
            held: Key::None,
            elapsed: 0,
        }
    }

    /// [`Env::reset`] with random numbers from anywhere.
    #[inline]
    pub fn reset_with(&mut self, chance: &mut impl Chance, obs: &mut [f32]) {
        self.game.start(chance);
        (self.held, self.elapsed) = (Key::None, 0);
        self.observe(obs);
    }

    /// [`Env::step`] with random numbers from anywhere.
    #[inline]
    pub fn step_with(&mut self, action: u32, chance: &mut impl Chance, obs: &mut [f32]) -> (f32, End) {
        let pressed = *self.keys.get(action as usize).unwrap_or_else(|| {
            panic!("an action outside the action space of {} actions", self.keys.len());
        });
        if chance.unit() >= self.sticky {
            self.held = pressed;
        }
        let (reward, terminated) = self.game.step(self.held, chance);
        self.elapsed = self.elapsed.saturating_add(1);
        self.observe(obs);
        (reward, dynamics::end(terminated, self.elapsed, self.limit))
    }

    #[inline(always)]
    fn observe(&self, obs: &mut [f32]) {
        let channels = G::CHANNELS.len();
        assert_eq!(obs.len(), SIDE * SIDE * channels, "length of `obs` against the image");
        obs.fill(0.0);
        self.game.show(|row, column, channel| obs[(row * SIDE + column) * channels + channel] = 1.0);
    }
}

impl<G: Game> Env for MinAtar<G> {
    fn observation_space(&self) -> Space {
        Space::Image { shape: [SIDE, SIDE, G::CHANNELS.len()] }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: self.keys.len() }
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.reset_with(rng, obs);
    }

    #[inline]
    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let Action::Discrete(action) = action else {
            panic!("a continuous action for a discrete action space");
        };
        self.step_with(action, rng, obs)
    }

    fn save(&self) -> Value {
        json!({ "state": self.game, "held": self.held, "elapsed": self.elapsed })
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let game = state.get("state").and_then(|game| G::deserialize(game).ok()).filter(G::is_possible);
        let game = game.ok_or_else(|| StateError("`state` is not a state of the game".to_owned()))?;
        let held = state.get("held").and_then(|key| Key::deserialize(key).ok());
        let held = held.ok_or_else(|| StateError("`held` is not the name of a key".to_owned()))?;
        self.elapsed = saved::read_elapsed(state, self.limit)?;
        (self.game, self.held) = (game, held);
        Ok(())
    }

    /// The screen, each cell in the colour of what is in front, and beside it what the colours mean.
    fn scene(&self) -> Option<Scene> {
        let side = SIDE as f32;
        let mut cells = [[BLACK; SIDE]; SIDE];
        self.game.show(|row, column, channel| cells[row][column] = G::CHANNELS[channel].color);
        let mut scene = Scene::new([0.0, 0.0, 1.4 * side, side]);
        for (row, line) in cells.into_iter().enumerate() {
            for (column, color) in line.into_iter().enumerate() {
                let (left, top) = (column as f32, side - row as f32);
                scene.rectangle([left, top - 1.0, left + 1.0, top], color);
            }
        }
        for (k, channel) in G::CHANNELS.iter().enumerate() {
            let y = side - (k as f32 + 0.5);
            scene.rectangle([side + 0.2, y - 0.3, side + 0.8, y + 0.3], channel.color);
            scene.text([side + 2.4, y], channel.name, GREY);
        }
        Some(scene)
    }
}
