//! `Blackjack-v1`: get closer to 21 than the dealer, without going over.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome, Space,
    grid::{Board, Move, Tile, TileKind},
    scene::{BLACK, GREEN, Scene},
};

/// The observation's components: the player's sum below 32, the dealer's card below 11, a usable ace or not.
const SIZES: [usize; 3] = [32, 11, 2];
/// States up to here are observations; the ten after it are the player's naturals, one per dealer's card.
const NATURAL: usize = SIZES[0] * SIZES[1] * SIZES[2];
const STICK: usize = 0;

/// Blackjack against a dealer who draws to 17, with an infinite deck: every card is one of 13 ranks with equal probability,
/// 10, jack, queen and king count 10, an ace counts 11 while that does not bust the hand (it is then *usable*), and 1 otherwise.
///
/// | | |
/// |---|---|
/// | observation | the player's sum (4 to 31), the dealer's open card (1 to 10), whether the player has a usable ace |
/// | action | 0: stick, 1: hit |
/// | reward | 1 for a win, 0 for a draw, -1 for a loss, 0 for a hit that does not bust |
/// | start | two cards for the player, one open card for the dealer |
/// | terminated | on sticking, or on a sum above 21 |
/// | truncated | never |
///
/// A *natural* is an ace and a ten on the first two cards. With `sab` (the default, as in Sutton and Barto's example 5.1)
/// it beats everything but the dealer's natural; without `sab` but with `natural`, winning with it pays 1.5.
///
/// The reward of sticking on a natural differs from that on any other soft 21, so the table tells them apart although the
/// observation does not: states below 704 are `(sum * 11 + card) * 2 + usable`, and state `704 + card - 1` is a natural against
/// `card`. Combinations that can't occur lead to themselves with reward 0.
///
/// The dealer's second card is drawn when the player sticks; with an infinite deck that changes nothing.
///
/// R. Sutton, A. Barto (2018), *Reinforcement learning: an introduction*, example 5.1.
pub struct Blackjack {
    table: FiniteTable,
}

/// A hand as far as the rules see it: its total with every ace as 1, and whether there is an ace.
#[derive(Clone, Copy)]
struct Hand {
    hard: usize,
    ace: bool,
}

impl Hand {
    fn with(self, card: usize) -> Hand {
        Hand { hard: self.hard + card, ace: self.ace | (card == 1) }
    }

    fn usable(self) -> bool {
        self.ace && self.hard + 10 <= 21
    }

    fn sum(self) -> usize {
        self.hard + if self.usable() { 10 } else { 0 }
    }
}

const NO_CARDS: Hand = Hand { hard: 0, ace: false };

/// The ten values of a card with their probabilities.
fn cards() -> impl Iterator<Item = (usize, f64)> {
    (1..=10).map(|card| (card, if card == 10 { 4.0 / 13.0 } else { 1.0 / 13.0 }))
}

/// How the dealer can end: the probabilities of every sum (0 for a bust), and of 21 by a natural, which is not in `sum[21]`.
#[derive(Default)]
struct Dealer {
    sum: [f64; 22],
    natural: f64,
}

impl Dealer {
    fn from(card: usize) -> Self {
        let mut dealer = Dealer::default();
        for (hole, prob) in cards() {
            let hand = NO_CARDS.with(card).with(hole);
            if hand.sum() == 21 {
                dealer.natural += prob;
            } else {
                dealer.play(hand, prob);
            }
        }
        dealer
    }

    fn play(&mut self, hand: Hand, prob: f64) {
        match hand.sum() {
            sum if sum > 21 => self.sum[0] += prob,
            sum if sum >= 17 => self.sum[sum] += prob,
            _ => cards().for_each(|(card, p)| self.play(hand.with(card), prob * p)),
        }
    }
}

fn encode(sum: usize, card: usize, usable: bool) -> usize {
    (sum * SIZES[1] + card) * SIZES[2] + usize::from(usable)
}

/// Sum, dealer's card, usable ace (0 or 1), and whether it is a natural.
fn decode(state: usize) -> ([usize; 3], bool) {
    if state < NATURAL {
        ([state / (SIZES[1] * SIZES[2]), state / SIZES[2] % SIZES[1], state % SIZES[2]], false)
    } else {
        ([21, state - NATURAL + 1, 1], true)
    }
}

impl Blackjack {
    /// The table under the rules `sab` and `natural`.
    pub fn new(sab: bool, natural: bool) -> Self {
        let dealers: Vec<Dealer> = (0..=10).map(|card| Dealer::from(card.max(1))).collect();
        let row = |state: usize, action: usize| {
            let ([sum, card, usable], is_natural) = decode(state);
            let usable = usable == 1;
            let possible = (1..=10).contains(&card) && sum <= 21 && sum >= if usable { 12 } else { 4 };
            let to =
                |next: usize, prob, reward| Outcome { prob, next: next as u32, reward, terminated: true };
            if !possible {
                return vec![to(state, 1.0, 0.0)];
            }
            if action == STICK {
                let dealer = &dealers[card];
                let mut win: f64 = dealer.sum[..sum].iter().sum();
                let mut draw = dealer.sum.get(sum).copied().unwrap_or(0.0);
                let mut loss: f64 = dealer.sum[sum + 1..].iter().sum();
                match (sum, is_natural && sab) {
                    (21, true) => (win, draw) = (win + draw, dealer.natural),
                    (21, false) => draw += dealer.natural,
                    _ => loss += dealer.natural,
                }
                let prize = if is_natural && natural && !sab { 1.5 } else { 1.0 };
                let outcomes = [(loss, -1.0), (draw, 0.0), (win, prize)];
                let sure = outcomes.into_iter().filter(|&(prob, _)| prob > 0.0);
                return sure.map(|(prob, reward)| to(state, prob, reward)).collect();
            }
            let hand = Hand { hard: if usable { sum - 10 } else { sum }, ace: usable };
            let drawn = cards().map(|(drawn, prob)| {
                let hand = hand.with(drawn);
                let next = encode(hand.sum(), card, hand.usable());
                let bust = hand.sum() > 21;
                let reward = if bust { -1.0 } else { 0.0 };
                Outcome { prob, next: next as u32, reward, terminated: bust }
            });
            drawn.collect()
        };
        let mut start = vec![0.0; NATURAL + 10];
        for ((first, p), (second, q)) in cards().flat_map(|a| cards().map(move |b| (a, b))) {
            let hand = NO_CARDS.with(first).with(second);
            for (card, r) in cards() {
                let state = match hand.sum() {
                    21 => NATURAL + card - 1,
                    sum => encode(sum, card, hand.usable()),
                };
                start[state] += p * q * r;
            }
        }
        Blackjack { table: FiniteTable::new(NATURAL + 10, 2, row, start) }
    }

    /// The observation (sum, dealer's card, usable ace) of a state of the table.
    pub fn observation(&self, state: u32) -> [usize; 3] {
        decode(state as usize).0
    }
}

impl FiniteModel for Blackjack {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn observation_space(&self) -> Space {
        Space::MultiDiscrete { n: SIZES.to_vec() }
    }

    #[inline(always)]
    fn observe(&self, state: u32, obs: &mut [f32]) {
        let parts = decode(state as usize).0;
        for (x, part) in obs.iter_mut().zip(parts) {
            *x = part as f32;
        }
    }

    fn scene(&self, state: u32) -> Scene {
        let ([sum, card, usable], natural) = decode(state as usize);
        let card = if card == 1 { "an ace".to_owned() } else { card.to_string() };
        let kind = match (natural, usable) {
            (true, _) => " (natural)",
            (false, 1) => " (usable ace)",
            _ => "",
        };
        let mut scene = Scene::new([0.0, 0.0, 6.0, 3.0]);
        scene.rectangle([0.0, 0.0, 6.0, 3.0], GREEN.map(|c| 160 + c / 3));
        scene.text([3.0, 2.0], format!("dealer shows {card}"), BLACK);
        scene.text([3.0, 1.0], format!("player has {sum}{kind}"), BLACK);
        scene
    }

    /// The chart of the game's textbooks: rows are the player's sum from 21 down to 12, below which hitting can't bust, and
    /// columns are the dealer's card from ace to 10.
    fn grid(&self) -> Option<Grid> {
        let board = |usable: bool| {
            let tile = |i: usize| Tile {
                state: encode(21 - i / 10, 1 + i % 10, usable) as u32,
                kind: TileKind::Open,
                sign: ' ',
            };
            let title = if usable { "usable ace" } else { "no usable ace" };
            Board { title: title.to_owned(), tiles: (0..100).map(tile).collect() }
        };
        Some(Grid {
            rows: 10,
            columns: 10,
            actions: vec![Move::Other('S'), Move::Other('H')],
            boards: vec![board(false), board(true)],
        })
    }
}
