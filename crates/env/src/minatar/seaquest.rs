use super::{Chance, Channel, Game, Key, LAST, SIDE, channel};
use serde::{Deserialize, Serialize};

/// Dive for people, shoot fish and submarines, each worth 1, and come up for air in time.
///
/// The submarine has oxygen for 200 steps under water. It may surface with at least one diver aboard, gives one up and has
/// fresh oxygen; with all six aboard it is paid a tenth of a point per percent of oxygen left, rounded down. Without a diver, without oxygen, or hit by
/// anything, it is lost. The gun fires in the direction of the last move, every 5 steps at most. An enemy comes every 20 steps (a submarine with
/// probability 1/3, a fish otherwise; none if it would swim towards another enemy in its row), a diver every 30; enemies move every sixth
/// step, and submarines shoot every eleventh. With every surfacing enemies come one step earlier, and at every second one they move one step
/// earlier, down to every step and every third.
///
/// As in the package, the full boat gives up one diver too many and is left with -1. Since only 0 is fatal, it may then surface
/// without a diver, each time with one less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seaquest {
    /// Column and row.
    boat: [i8; 2],
    rightward: bool,
    shot_in: u8,
    oxygen: i16,
    aboard: i32,
    surfaced: bool,
    bullets: Vec<Mover>,
    enemy_bullets: Vec<Mover>,
    fish: Vec<Swimmer>,
    subs: Vec<Sub>,
    divers: Vec<Swimmer>,
    spawn_every: u8,
    spawn_in: u8,
    diver_in: u8,
    move_every: u8,
    ramping: bool,
    /// How often the game has become harder, modulo 2.
    harder_odd: bool,
}

/// What is in a cell and goes in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mover {
    column: i8,
    row: i8,
    rightward: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Swimmer {
    at: Mover,
    move_in: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sub {
    at: Mover,
    move_in: u8,
    shot_in: u8,
}

const OXYGEN: i16 = 200;
const MAX_ABOARD: i32 = 6;
const SPAWN_EVERY: u8 = 20;
const DIVER_EVERY: u8 = 30;
const DIVER_MOVE_EVERY: u8 = 5;
const MOVE_EVERY: u8 = 5;
const FASTEST: u8 = 2;
const SHOT_EVERY: u8 = 5;
const ENEMY_SHOT_EVERY: u8 = 10;
/// More than there ever are of one kind, since at most one comes per step and the slowest crosses the screen in 60 steps.
const ROOM: usize = 80;

impl Mover {
    #[inline(always)]
    fn is_at(self, cell: [i8; 2]) -> bool {
        [self.column, self.row] == cell
    }

    #[inline(always)]
    fn cell(self) -> [i8; 2] {
        [self.column, self.row]
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.column += if self.rightward { 1 } else { -1 };
    }

    #[inline(always)]
    fn is_on_screen(self) -> bool {
        (0..=LAST).contains(&self.column)
    }

    #[inline(always)]
    fn behind(self) -> Option<usize> {
        let column = if self.rightward { self.column - 1 } else { self.column + 1 };
        (0..=LAST).contains(&column).then_some(column as usize)
    }
}

/// Takes away the first bullet in `cell`, if there is one.
#[inline(always)]
fn stop_bullet(bullets: &mut Vec<Mover>, cell: [i8; 2]) -> bool {
    let hit = bullets.iter().position(|bullet| bullet.is_at(cell));
    hit.map(|bullet| bullets.remove(bullet)).is_some()
}

impl Seaquest {
    fn spawn_enemy(&mut self, chance: &mut impl Chance) {
        let rightward = chance.unit() < 1.0 / 2.0;
        let is_sub = chance.unit() < 1.0 / 3.0;
        let at = self.newcomer(rightward, chance);
        let opposes = |other: Mover| other.row == at.row && other.rightward != rightward;
        if self.subs.iter().any(|sub| opposes(sub.at)) || self.fish.iter().any(|fish| opposes(fish.at)) {
            return;
        }
        if is_sub {
            self.subs.push(Sub { at, move_in: self.move_every, shot_in: ENEMY_SHOT_EVERY });
        } else {
            self.fish.push(Swimmer { at, move_in: self.move_every });
        }
    }

    fn spawn_diver(&mut self, chance: &mut impl Chance) {
        let rightward = chance.unit() < 1.0 / 2.0;
        let at = self.newcomer(rightward, chance);
        self.divers.push(Swimmer { at, move_in: DIVER_MOVE_EVERY });
    }

    /// At the edge of one of rows 1 to 8.
    fn newcomer(&self, rightward: bool, chance: &mut impl Chance) -> Mover {
        let column = if rightward { 0 } else { LAST };
        Mover { column, row: 1 + chance.below(8) as i8, rightward }
    }

    fn act(&mut self, key: Key) {
        let [x, y] = &mut self.boat;
        match key {
            Key::Fire if self.shot_in == 0 => {
                self.bullets.push(Mover { column: *x, row: *y, rightward: self.rightward });
                self.shot_in = SHOT_EVERY;
            }
            Key::Left => (*x, self.rightward) = ((*x - 1).max(0), false),
            Key::Right => (*x, self.rightward) = ((*x + 1).min(LAST), true),
            Key::Up => *y = (*y - 1).max(0),
            Key::Down => *y = (*y + 1).min(LAST - 1),
            Key::None | Key::Fire => {}
        }
    }

    // Each list is gone through from its end, so that an entry that is removed leaves the places of those to come.

    fn move_bullets(&mut self) -> f32 {
        let mut reward = 0.0;
        for i in (0..self.bullets.len()).rev() {
            self.bullets[i].advance();
            let bullet = self.bullets[i];
            if !bullet.is_on_screen() {
                self.bullets.remove(i);
            } else if let Some(fish) = self.fish.iter().position(|fish| fish.at.is_at(bullet.cell())) {
                self.fish.remove(fish);
                self.bullets.remove(i);
                reward += 1.0;
            } else if let Some(sub) = self.subs.iter().position(|sub| sub.at.is_at(bullet.cell())) {
                self.subs.remove(sub);
                self.bullets.remove(i);
                reward += 1.0;
            }
        }
        reward
    }

    fn move_divers(&mut self) {
        for i in (0..self.divers.len()).rev() {
            let diver = &mut self.divers[i];
            let mut met = diver.at.is_at(self.boat) && self.aboard < MAX_ABOARD;
            if !met && diver.move_in == 0 {
                diver.move_in = DIVER_MOVE_EVERY;
                diver.at.advance();
                met = diver.at.is_at(self.boat) && self.aboard < MAX_ABOARD;
            } else if !met {
                diver.move_in -= 1;
            }
            let gone = !diver.at.is_on_screen();
            self.aboard += i32::from(met);
            if met || gone {
                self.divers.remove(i);
            }
        }
    }

    /// The reward, and whether the boat is hit.
    fn move_subs(&mut self) -> (f32, bool) {
        let (mut reward, mut hit) = (0.0, false);
        for i in (0..self.subs.len()).rev() {
            let mut sub = self.subs[i];
            hit |= sub.at.is_at(self.boat);
            let mut gone = false;
            if sub.move_in == 0 {
                sub.move_in = self.move_every;
                sub.at.advance();
                if !sub.at.is_on_screen() {
                    gone = true;
                } else if sub.at.is_at(self.boat) {
                    hit = true;
                } else if stop_bullet(&mut self.bullets, sub.at.cell()) {
                    gone = true;
                    reward += 1.0;
                }
            } else {
                sub.move_in -= 1;
            }
            // Even one that is gone shoots a last time.
            if sub.shot_in == 0 {
                sub.shot_in = ENEMY_SHOT_EVERY;
                self.enemy_bullets.push(sub.at);
            } else {
                sub.shot_in -= 1;
            }
            if gone {
                self.subs.remove(i);
            } else {
                self.subs[i] = sub;
            }
        }
        (reward, hit)
    }

    fn move_enemy_bullets(&mut self) -> bool {
        let (boat, mut hit) = (self.boat, false);
        self.enemy_bullets.retain_mut(|bullet| {
            hit |= bullet.is_at(boat);
            bullet.advance();
            hit |= bullet.is_at(boat);
            bullet.is_on_screen()
        });
        hit
    }

    /// The reward, and whether the boat is hit.
    fn move_fish(&mut self) -> (f32, bool) {
        let (mut reward, mut hit) = (0.0, false);
        for i in (0..self.fish.len()).rev() {
            let fish = &mut self.fish[i];
            hit |= fish.at.is_at(self.boat);
            if fish.move_in == 0 {
                fish.move_in = self.move_every;
                fish.at.advance();
                let at = fish.at;
                if !at.is_on_screen() {
                    self.fish.remove(i);
                } else if at.is_at(self.boat) {
                    hit = true;
                } else if stop_bullet(&mut self.bullets, at.cell()) {
                    self.fish.remove(i);
                    reward += 1.0;
                }
            } else {
                fish.move_in -= 1;
            }
        }
        (reward, hit)
    }

    /// Tenths of the oxygen, rounded down.
    #[inline(always)]
    fn gauge(&self) -> i16 {
        self.oxygen.max(0) * 10 / OXYGEN
    }

    fn surface(&mut self) -> f32 {
        self.surfaced = true;
        let mut reward = 0.0;
        if self.aboard == MAX_ABOARD {
            self.aboard = 0;
            reward = f32::from(self.gauge());
        }
        self.oxygen = OXYGEN;
        self.aboard = self.aboard.saturating_sub(1);
        if self.ramping && (self.spawn_every > 1 || self.move_every > FASTEST) {
            if self.harder_odd {
                self.move_every = (self.move_every - 1).max(FASTEST);
            }
            self.spawn_every = (self.spawn_every - 1).max(1);
            self.harder_odd = !self.harder_odd;
        }
        reward
    }
}

impl Game for Seaquest {
    const CHANNELS: &'static [Channel] = &[
        channel("sub_front", [120, 170, 255]),
        channel("sub_back", [60, 95, 170]),
        channel("friendly_bullet", [255, 255, 255]),
        channel("trail", [90, 90, 90]),
        channel("enemy_bullet", [240, 220, 80]),
        channel("enemy_fish", [220, 70, 60]),
        channel("enemy_sub", [225, 95, 170]),
        channel("oxygen_gauge", [90, 200, 220]),
        channel("diver_gauge", [60, 150, 80]),
        channel("diver", [110, 210, 120]),
    ];
    const KEYS: &'static [Key] = Key::ALL;

    fn new(ramping: bool) -> Self {
        Seaquest {
            boat: [5, 0],
            rightward: false,
            shot_in: 0,
            oxygen: OXYGEN,
            aboard: 0,
            surfaced: true,
            bullets: Vec::with_capacity(SIDE),
            enemy_bullets: Vec::with_capacity(ROOM),
            fish: Vec::with_capacity(ROOM),
            subs: Vec::with_capacity(ROOM),
            divers: Vec::with_capacity(SIDE),
            spawn_every: SPAWN_EVERY,
            spawn_in: SPAWN_EVERY,
            diver_in: DIVER_EVERY,
            move_every: MOVE_EVERY,
            ramping,
            harder_odd: false,
        }
    }

    fn start(&mut self, _chance: &mut impl Chance) {
        self.bullets.clear();
        self.enemy_bullets.clear();
        self.fish.clear();
        self.subs.clear();
        self.divers.clear();
        // The lists stay where they are, so that a new episode allocates nothing.
        *self = Seaquest {
            boat: [5, 0],
            rightward: false,
            shot_in: 0,
            oxygen: OXYGEN,
            aboard: 0,
            surfaced: true,
            bullets: std::mem::take(&mut self.bullets),
            enemy_bullets: std::mem::take(&mut self.enemy_bullets),
            fish: std::mem::take(&mut self.fish),
            subs: std::mem::take(&mut self.subs),
            divers: std::mem::take(&mut self.divers),
            spawn_every: SPAWN_EVERY,
            spawn_in: SPAWN_EVERY,
            diver_in: DIVER_EVERY,
            move_every: MOVE_EVERY,
            ramping: self.ramping,
            harder_odd: false,
        };
    }

    #[inline]
    fn step(&mut self, key: Key, chance: &mut impl Chance) -> (f32, bool) {
        if self.spawn_in == 0 {
            self.spawn_enemy(chance);
            self.spawn_in = self.spawn_every;
        }
        if self.diver_in == 0 {
            self.spawn_diver(chance);
            self.diver_in = DIVER_EVERY;
        }
        self.act(key);
        let mut reward = self.move_bullets();
        self.move_divers();
        let (from_subs, hit_by_sub) = self.move_subs();
        let hit_by_bullet = self.move_enemy_bullets();
        let (from_fish, hit_by_fish) = self.move_fish();
        reward += from_subs + from_fish;
        let mut over = hit_by_sub | hit_by_bullet | hit_by_fish;
        self.spawn_in = self.spawn_in.saturating_sub(1);
        self.diver_in = self.diver_in.saturating_sub(1);
        self.shot_in = self.shot_in.saturating_sub(1);
        over |= self.oxygen <= 0;
        if self.boat[1] > 0 {
            self.oxygen = (self.oxygen - 1).max(-1);
            self.surfaced = false;
        } else if !self.surfaced {
            if self.aboard == 0 {
                over = true;
            } else {
                reward += self.surface();
            }
        }
        (reward, over)
    }

    #[inline(always)]
    fn show(&self, mut mark: impl FnMut(usize, usize, usize)) {
        for at in self
            .fish
            .iter()
            .map(|x| x.at)
            .chain(self.subs.iter().map(|x| x.at))
            .chain(self.divers.iter().map(|x| x.at))
        {
            if let Some(column) = at.behind() {
                mark(at.row as usize, column, 3);
            }
        }
        let mut each = |at: Mover, channel| mark(at.row as usize, at.column as usize, channel);
        self.divers.iter().for_each(|diver| each(diver.at, 9));
        self.fish.iter().for_each(|fish| each(fish.at, 5));
        self.subs.iter().for_each(|sub| each(sub.at, 6));
        self.enemy_bullets.iter().for_each(|&bullet| each(bullet, 4));
        self.bullets.iter().for_each(|&bullet| each(bullet, 2));
        let [x, y] = self.boat;
        let behind = if self.rightward { x - 1 } else { x + 1 };
        mark(y as usize, behind as usize, 1);
        mark(y as usize, x as usize, 0);
        for column in 0..self.gauge() as usize {
            mark(SIDE - 1, column, 7);
        }
        for column in (LAST as usize - self.aboard.max(0) as usize)..LAST as usize {
            mark(SIDE - 1, column, 8);
        }
    }

    fn is_possible(&self) -> bool {
        let [x, y] = self.boat;
        let behind = if self.rightward { x - 1 } else { x + 1 };
        let on_screen = |at: Mover| at.is_on_screen() && (0..LAST).contains(&at.row);
        (0..=LAST).contains(&x)
            && (0..=LAST).contains(&behind)
            && (0..LAST).contains(&y)
            && self.shot_in <= SHOT_EVERY
            && (-1..=OXYGEN).contains(&self.oxygen)
            && self.aboard <= MAX_ABOARD
            && self.bullets.iter().chain(&self.enemy_bullets).all(|&bullet| on_screen(bullet))
            && self.divers.iter().all(|diver| on_screen(diver.at) && diver.move_in <= DIVER_MOVE_EVERY)
            && self.fish.iter().all(|fish| on_screen(fish.at) && fish.move_in <= MOVE_EVERY)
            && self
                .subs
                .iter()
                .all(|sub| on_screen(sub.at) && sub.move_in <= MOVE_EVERY && sub.shot_in <= ENEMY_SHOT_EVERY)
            && (1..=SPAWN_EVERY).contains(&self.spawn_every)
            && self.spawn_in <= SPAWN_EVERY
            && self.diver_in <= DIVER_EVERY
            && (FASTEST..=MOVE_EVERY).contains(&self.move_every)
    }
}
