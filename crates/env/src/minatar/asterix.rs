use super::{Chance, Channel, Game, Key, LAST, channel};
use serde::{Deserialize, Serialize};

/// Collect gold, worth 1, and keep out of the enemies' way.
///
/// Rows 1 to 8 each hold at most one enemy or piece of gold (with probability 1/3), which comes in at the left or right edge of
/// a free row and crosses the screen. At first one appears every 10 steps and all move every 5. Every 102 steps the time between two
/// appearances falls by 1, and every other time also that between two moves, both down to 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asterix {
    /// Column and row.
    player: [i8; 2],
    /// What is in rows 1 to 8.
    rows: [Option<Thing>; 8],
    spawn_every: u8,
    spawn_in: u8,
    move_every: u8,
    move_in: u8,
    ramping: bool,
    /// How often the game has become harder, modulo 2.
    harder_odd: bool,
    harder_in: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    column: i8,
    rightward: bool,
    gold: bool,
}

const SPAWN_EVERY: u8 = 10;
const MOVE_EVERY: u8 = 5;
const HARDER_EVERY: i8 = 100;

impl Asterix {
    /// What happens where the player meets what is in `row`: the reward, and whether it was an enemy.
    #[inline(always)]
    fn meet(&mut self, row: usize) -> (f32, bool) {
        match self.rows[row] {
            Some(thing) if [thing.column, row as i8 + 1] == self.player => {
                if thing.gold {
                    self.rows[row] = None;
                    (1.0, false)
                } else {
                    (0.0, true)
                }
            }
            _ => (0.0, false),
        }
    }

    fn spawn(&mut self, chance: &mut impl Chance) {
        let rightward = chance.unit() < 1.0 / 2.0;
        let gold = chance.unit() < 1.0 / 3.0;
        let free = self.rows.iter().filter(|row| row.is_none()).count();
        if free == 0 {
            return;
        }
        let chosen = chance.below(free as u32) as usize;
        let slot = self.rows.iter_mut().filter(|row| row.is_none()).nth(chosen);
        let column = if rightward { 0 } else { LAST };
        *slot.expect("a free row") = Some(Thing { column, rightward, gold });
    }
}

impl Game for Asterix {
    const CHANNELS: &'static [Channel] = &[
        channel("player", [120, 170, 255]),
        channel("enemy", [220, 70, 60]),
        channel("trail", [110, 110, 110]),
        channel("gold", [240, 200, 60]),
    ];
    const KEYS: &'static [Key] = &[Key::None, Key::Left, Key::Up, Key::Right, Key::Down];

    fn new(ramping: bool) -> Self {
        Asterix {
            player: [5, 5],
            rows: [None; 8],
            spawn_every: SPAWN_EVERY,
            spawn_in: SPAWN_EVERY,
            move_every: MOVE_EVERY,
            move_in: MOVE_EVERY,
            ramping,
            harder_odd: false,
            harder_in: HARDER_EVERY,
        }
    }

    fn start(&mut self, _chance: &mut impl Chance) {
        *self = Asterix::new(self.ramping);
    }

    #[inline]
    fn step(&mut self, key: Key, chance: &mut impl Chance) -> (f32, bool) {
        if self.spawn_in == 0 {
            self.spawn(chance);
            self.spawn_in = self.spawn_every;
        }
        let [x, y] = &mut self.player;
        match key {
            Key::Left => *x = (*x - 1).max(0),
            Key::Right => *x = (*x + 1).min(LAST),
            Key::Up => *y = (*y - 1).max(1),
            Key::Down => *y = (*y + 1).min(LAST - 1),
            Key::None | Key::Fire => {}
        }
        let (mut reward, mut over) = (0.0, false);
        let mut meet = |game: &mut Self, row| {
            let (gained, lost) = game.meet(row);
            reward += gained;
            over |= lost;
        };
        for row in 0..self.rows.len() {
            meet(self, row);
        }
        if self.move_in == 0 {
            self.move_in = self.move_every;
            for row in 0..self.rows.len() {
                if let Some(thing) = &mut self.rows[row] {
                    thing.column += if thing.rightward { 1 } else { -1 };
                    if !(0..=LAST).contains(&thing.column) {
                        self.rows[row] = None;
                    }
                    meet(self, row);
                }
            }
        }
        self.spawn_in -= 1;
        self.move_in -= 1;
        if self.ramping && (self.spawn_every > 1 || self.move_every > 1) {
            self.harder_in -= 1;
            if self.harder_in < -1 {
                if self.harder_odd {
                    self.move_every = (self.move_every - 1).max(1);
                }
                self.spawn_every = (self.spawn_every - 1).max(1);
                self.harder_odd = !self.harder_odd;
                self.harder_in = HARDER_EVERY;
            }
        }
        (reward, over)
    }

    #[inline(always)]
    fn show(&self, mut mark: impl FnMut(usize, usize, usize)) {
        for (row, thing) in self.rows.iter().enumerate() {
            if let Some(Thing { column, rightward, gold }) = *thing {
                let behind = if rightward { column - 1 } else { column + 1 };
                if (0..=LAST).contains(&behind) {
                    mark(row + 1, behind as usize, 2);
                }
                mark(row + 1, column as usize, if gold { 3 } else { 1 });
            }
        }
        mark(self.player[1] as usize, self.player[0] as usize, 0);
    }

    fn is_possible(&self) -> bool {
        let [x, y] = self.player;
        (0..=LAST).contains(&x)
            && (1..LAST).contains(&y)
            && self.rows.iter().flatten().all(|thing| (0..=LAST).contains(&thing.column))
            && (1..=SPAWN_EVERY).contains(&self.spawn_every)
            && (1..=MOVE_EVERY).contains(&self.move_every)
            && self.spawn_in <= SPAWN_EVERY
            && self.move_in <= MOVE_EVERY
            && (-1..=HARDER_EVERY).contains(&self.harder_in)
    }
}
