use super::{Chance, Channel, Game, Key, LAST, SIDE, channel};
use serde::{Deserialize, Serialize};

/// Bounce a ball off a paddle into three rows of bricks; every brick is worth 1.
///
/// The ball moves diagonally, one cell a step, from the left or the right edge of row 3 at the start. It turns round at walls, at
/// the ceiling and at bricks; off the paddle it bounces to where it came from if the paddle stood under it, and on in its
/// horizontal direction if the paddle stands where it would have gone. Missing the paddle ends the episode. When no brick is left, three rows
/// come back as the ball reaches the paddle's row. A ball that has just hit a brick passes through the next one unharmed:
/// it hits again only after a step without any brick in its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakout {
    paddle: i8,
    /// Column and row.
    ball: [i8; 2],
    /// Where the ball was.
    trail: [i8; 2],
    /// How it moves: -1 or 1 columns and rows.
    heading: [i8; 2],
    /// Bit `x` of `bricks[y - 1]`: a brick in column x of row y.
    bricks: [u16; 3],
    struck: bool,
}

const FULL: [u16; 3] = [(1 << SIDE) - 1; 3];

impl Game for Breakout {
    const CHANNELS: &'static [Channel] = &[
        channel("paddle", [120, 170, 255]),
        channel("ball", [255, 255, 255]),
        channel("trail", [110, 110, 110]),
        channel("brick", [210, 90, 60]),
    ];
    const KEYS: &'static [Key] = &[Key::None, Key::Left, Key::Right];

    fn new(_ramping: bool) -> Self {
        Breakout { paddle: 4, ball: [0, 3], trail: [0, 3], heading: [1, 1], bricks: FULL, struck: false }
    }

    fn start(&mut self, chance: &mut impl Chance) {
        let (column, across) = if chance.below(2) == 0 { (0, 1) } else { (LAST, -1) };
        let at = [column, 3];
        *self =
            Breakout { paddle: 4, ball: at, trail: at, heading: [across, 1], bricks: FULL, struck: false };
    }

    #[inline]
    fn step(&mut self, key: Key, _chance: &mut impl Chance) -> (f32, bool) {
        match key {
            Key::Left => self.paddle = (self.paddle - 1).max(0),
            Key::Right => self.paddle = (self.paddle + 1).min(LAST),
            _ => {}
        }
        let [from_x, from_y] = self.ball;
        let [mut x, mut y] = [from_x + self.heading[0], from_y + self.heading[1]];
        if !(0..=LAST).contains(&x) {
            x = from_x;
            self.heading[0] = -self.heading[0];
        }
        let (mut reward, mut over, mut at_brick) = (0.0, false, false);
        if y < 0 {
            y = 0;
            self.heading[1] = -self.heading[1];
        } else if (1..=3).contains(&y) && self.bricks[y as usize - 1] >> x & 1 == 1 {
            at_brick = true;
            if !self.struck {
                reward = 1.0;
                self.bricks[y as usize - 1] &= !(1 << x);
                y = from_y;
                self.heading[1] = -self.heading[1];
            }
        } else if y >= LAST {
            if self.bricks == [0; 3] {
                self.bricks = FULL;
            }
            if from_x == self.paddle {
                y = from_y;
                self.heading[1] = -self.heading[1];
            } else if x == self.paddle {
                y = from_y;
                self.heading = self.heading.map(|step| -step);
            } else {
                y = LAST;
                over = true;
            }
        }
        self.struck = at_brick;
        (self.trail, self.ball) = ([from_x, from_y], [x, y]);
        (reward, over)
    }

    #[inline(always)]
    fn show(&self, mut mark: impl FnMut(usize, usize, usize)) {
        mark(self.trail[1] as usize, self.trail[0] as usize, 2);
        for (row, &bricks) in self.bricks.iter().enumerate() {
            for column in 0..SIDE {
                if bricks >> column & 1 == 1 {
                    mark(row + 1, column, 3);
                }
            }
        }
        mark(SIDE - 1, self.paddle as usize, 0);
        mark(self.ball[1] as usize, self.ball[0] as usize, 1);
    }

    fn is_possible(&self) -> bool {
        let on_screen = |at: [i8; 2]| at.iter().all(|x| (0..=LAST).contains(x));
        (0..=LAST).contains(&self.paddle)
            && on_screen(self.ball)
            && on_screen(self.trail)
            && self.heading.iter().all(|step| step.abs() == 1)
            && self.bricks.iter().all(|&row| row <= FULL[0])
    }
}
