use super::{Chance, Channel, Game, Key, LAST, SIDE, channel};
use serde::{Deserialize, Serialize};

/// Shoot the aliens above, each worth 1, before a bullet of theirs or one of themselves reaches the cannon.
///
/// Four rows of six aliens move sideways together, one row down and back at an edge. They move every 12 steps, or every `n` when
/// only `n < 12` are left. Every 10 steps the lowest alien in the column nearest to the cannon shoots. The cannon shoots every 5 steps at most.
/// When all are gone the next wave comes, which moves one step faster, down to 6.
///
/// An alien in the lowest row at an edge ends the episode, and the last picture shows its row at the top: the package's rows go round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceInvaders {
    cannon: i8,
    shot_in: u8,
    aliens: Cells,
    bullets: Cells,
    enemy_bullets: Cells,
    rightward: bool,
    wave_every: i8,
    alien_move_in: i8,
    alien_shot_in: i8,
    ramping: bool,
}

/// A set of cells: bit `x` of number `y` is column x of row y.
type Cells = [u16; SIDE];

const ROW: u16 = (1 << SIDE) - 1;
const SHOT_EVERY: u8 = 5;
const SLOWEST: i8 = 12;
const FASTEST: i8 = 6;
const ALIEN_SHOT_EVERY: i8 = 10;
/// Rows 0 to 3, columns 2 to 7.
const WAVE: Cells = [0xfc, 0xfc, 0xfc, 0xfc, 0, 0, 0, 0, 0, 0];

fn columns(cells: &Cells) -> u16 {
    cells.iter().fold(0, |all, row| all | row)
}

impl SpaceInvaders {
    /// Where the next shot comes from: the lowest alien in the column nearest to the cannon, the left one of two.
    #[inline(always)]
    fn shooter(&self) -> Option<(usize, i8)> {
        let taken = columns(&self.aliens);
        let near = |distance: i8| {
            let candidates = [self.cannon - distance, self.cannon + distance];
            candidates.into_iter().find(|x| (0..=LAST).contains(x) && taken >> x & 1 == 1)
        };
        let column = (0..=LAST).find_map(near)?;
        let row = self.aliens.iter().rposition(|row| row >> column & 1 == 1)?;
        Some((row, column))
    }
}

impl Game for SpaceInvaders {
    const CHANNELS: &'static [Channel] = &[
        channel("cannon", [120, 170, 255]),
        channel("alien", [220, 70, 60]),
        channel("alien_left", [225, 95, 170]),
        channel("alien_right", [235, 140, 60]),
        channel("friendly_bullet", [255, 255, 255]),
        channel("enemy_bullet", [240, 220, 80]),
    ];
    const KEYS: &'static [Key] = &[Key::None, Key::Left, Key::Right, Key::Fire];

    fn new(ramping: bool) -> Self {
        SpaceInvaders {
            cannon: 5,
            shot_in: 0,
            aliens: WAVE,
            bullets: [0; SIDE],
            enemy_bullets: [0; SIDE],
            rightward: false,
            wave_every: SLOWEST,
            alien_move_in: SLOWEST,
            alien_shot_in: ALIEN_SHOT_EVERY,
            ramping,
        }
    }

    fn start(&mut self, _chance: &mut impl Chance) {
        *self = SpaceInvaders::new(self.ramping);
    }

    #[inline]
    fn step(&mut self, key: Key, _chance: &mut impl Chance) -> (f32, bool) {
        match key {
            Key::Fire if self.shot_in == 0 => {
                self.bullets[SIDE - 1] |= 1 << self.cannon;
                self.shot_in = SHOT_EVERY;
            }
            Key::Left => self.cannon = (self.cannon - 1).max(0),
            Key::Right => self.cannon = (self.cannon + 1).min(LAST),
            _ => {}
        }
        self.bullets.copy_within(1.., 0);
        self.bullets[SIDE - 1] = 0;
        self.enemy_bullets.copy_within(..SIDE - 1, 1);
        self.enemy_bullets[0] = 0;
        let hits = |cells: &Cells, cannon: i8| cells[SIDE - 1] >> cannon & 1 == 1;
        let mut over = hits(&self.enemy_bullets, self.cannon) | hits(&self.aliens, self.cannon);
        if self.alien_move_in == 0 {
            let left: u32 = self.aliens.iter().map(|row| row.count_ones()).sum();
            self.alien_move_in = (left as i8).min(self.wave_every);
            let edge = if self.rightward { 1 << LAST } else { 1 };
            if columns(&self.aliens) & edge != 0 {
                self.rightward = !self.rightward;
                over |= self.aliens[SIDE - 1] != 0;
                self.aliens.rotate_right(1);
            } else {
                let rightward = self.rightward;
                self.aliens = self.aliens.map(|row| if rightward { row << 1 } else { row >> 1 });
            }
            over |= hits(&self.aliens, self.cannon);
        }
        if self.alien_shot_in == 0 {
            self.alien_shot_in = ALIEN_SHOT_EVERY;
            if let Some((row, column)) = self.shooter() {
                self.enemy_bullets[row] |= 1 << column;
            }
        }
        let mut killed = 0;
        for (aliens, bullets) in self.aliens.iter_mut().zip(&mut self.bullets) {
            let both = *aliens & *bullets;
            killed += both.count_ones();
            *aliens &= !both;
            *bullets &= !both;
        }
        self.shot_in = self.shot_in.saturating_sub(1);
        self.alien_move_in -= 1;
        self.alien_shot_in -= 1;
        if self.aliens == [0; SIDE] {
            if self.ramping {
                self.wave_every = (self.wave_every - 1).max(FASTEST);
            }
            self.aliens = WAVE;
        }
        (killed as f32, over)
    }

    #[inline(always)]
    fn show(&self, mut mark: impl FnMut(usize, usize, usize)) {
        let mut each = |cells: &Cells, channel| {
            for (row, &cells) in cells.iter().enumerate() {
                let mut left = cells;
                while left != 0 {
                    mark(row, left.trailing_zeros() as usize, channel);
                    left &= left - 1;
                }
            }
        };
        each(&self.aliens, 1);
        each(&self.aliens, if self.rightward { 3 } else { 2 });
        each(&self.bullets, 4);
        each(&self.enemy_bullets, 5);
        mark(SIDE - 1, self.cannon as usize, 0);
    }

    fn is_possible(&self) -> bool {
        let on_screen = |cells: &Cells| cells.iter().all(|&row| row <= ROW);
        (0..=LAST).contains(&self.cannon)
            && self.shot_in <= SHOT_EVERY
            && [&self.aliens, &self.bullets, &self.enemy_bullets].into_iter().all(on_screen)
            && self.aliens != [0; SIDE]
            && (FASTEST..=SLOWEST).contains(&self.wave_every)
            && (0..=SLOWEST).contains(&self.alien_move_in)
            && (0..=ALIEN_SHOT_EVERY).contains(&self.alien_shot_in)
    }
}
