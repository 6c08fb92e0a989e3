use super::{Chance, Channel, Game, Key, LAST, SIDE, channel};
use serde::{Deserialize, Serialize};

/// Bring a chicken across eight lanes, from row 9 to row 0 in column 4, worth 1; it then starts again from below.
///
/// The chicken moves at most every third step. A car moves every second to sixth step, and goes round from one edge to the
/// other; one that hits the chicken sends it back to row 9. Speeds and directions of the cars are drawn at the start and after every crossing. The episode ends
/// with step 2501, which the package calls a termination.
///
/// A car's trail is in the channel of its speed: `speed1` moves every second step, `speed5` every sixth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeway {
    row: i8,
    move_in: u8,
    /// The cars in rows 1 to 8.
    cars: [Car; 8],
    steps_left: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Car {
    column: i8,
    /// Steps until it moves.
    move_in: i8,
    /// Steps between two moves; negative to the left.
    pace: i8,
}

const COLUMN: i8 = 4;
const MOVE_EVERY: u8 = 3;
const STEPS: i16 = 2500;
const SLOWEST: i8 = 5;

impl Freeway {
    fn draw_paces(&mut self, chance: &mut impl Chance) {
        let mut paces = [0; 8];
        for pace in &mut paces {
            *pace = 1 + chance.below(SLOWEST as u32) as i8;
        }
        for (car, pace) in self.cars.iter_mut().zip(paces) {
            car.move_in = pace;
            car.pace = if chance.unit() < 0.5 { -pace } else { pace };
        }
    }
}

impl Game for Freeway {
    const CHANNELS: &'static [Channel] = &[
        channel("chicken", [120, 170, 255]),
        channel("car", [220, 70, 60]),
        channel("speed1", [250, 200, 120]),
        channel("speed2", [210, 165, 100]),
        channel("speed3", [170, 130, 80]),
        channel("speed4", [130, 100, 60]),
        channel("speed5", [90, 70, 45]),
    ];
    const KEYS: &'static [Key] = &[Key::None, Key::Up, Key::Down];

    fn new(_ramping: bool) -> Self {
        let car = Car { column: 0, move_in: 1, pace: 1 };
        Freeway { row: LAST, move_in: MOVE_EVERY, cars: [car; 8], steps_left: STEPS }
    }

    fn start(&mut self, chance: &mut impl Chance) {
        *self = Freeway::new(false);
        self.draw_paces(chance);
    }

    #[inline]
    fn step(&mut self, key: Key, chance: &mut impl Chance) -> (f32, bool) {
        if self.move_in == 0 && matches!(key, Key::Up | Key::Down) {
            self.move_in = MOVE_EVERY;
            self.row = if key == Key::Up { (self.row - 1).max(0) } else { (self.row + 1).min(LAST) };
        }
        let mut reward = 0.0;
        if self.row == 0 {
            reward = 1.0;
            self.draw_paces(chance);
            self.row = LAST;
        }
        for (lane, car) in (1..).zip(&mut self.cars) {
            let mut hit = car.column == COLUMN;
            if car.move_in == 0 {
                car.move_in = car.pace.abs();
                car.column = match car.column + car.pace.signum() {
                    -1 => LAST,
                    column if column > LAST => 0,
                    column => column,
                };
                hit |= car.column == COLUMN;
            } else {
                car.move_in -= 1;
            }
            if hit && self.row == lane {
                self.row = LAST;
            }
        }
        self.move_in = self.move_in.saturating_sub(1);
        self.steps_left = self.steps_left.saturating_sub(1);
        (reward, self.steps_left < 0)
    }

    #[inline(always)]
    fn show(&self, mut mark: impl FnMut(usize, usize, usize)) {
        for (lane, car) in (1..).zip(&self.cars) {
            let behind = match car.column - car.pace.signum() {
                -1 => SIDE - 1,
                column if column > LAST => 0,
                column => column as usize,
            };
            mark(lane, behind, 1 + usize::from(car.pace.unsigned_abs()));
        }
        for (lane, car) in (1..).zip(&self.cars) {
            mark(lane, car.column as usize, 1);
        }
        mark(self.row as usize, COLUMN as usize, 0);
    }

    fn is_possible(&self) -> bool {
        let drives = |car: &Car| {
            (0..=LAST).contains(&car.column)
                && (1..=SLOWEST).contains(&car.pace.abs())
                && (0..=SLOWEST).contains(&car.move_in)
        };
        (1..=LAST).contains(&self.row)
            && self.move_in <= MOVE_EVERY
            && self.cars.iter().all(drives)
            && self.steps_left <= STEPS
    }
}
