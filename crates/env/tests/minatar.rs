//! MinAtar's games against recorded episodes of the package: `data/minatar/record.py` recorded them.

use rederive_env::{
    End, Env,
    minatar::{Asterix, Breakout, Chance, Freeway, Game, MinAtar, Rules, SIDE, Seaquest, SpaceInvaders},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::Read,
    path::Path,
};
use zip::ZipArchive;

/// The random numbers that the package drew, as bytes: `k` stands for the uniform number (k + 1/2) / 256 or for an integer.
struct Script(VecDeque<u8>);

impl Chance for Script {
    fn unit(&mut self) -> f64 {
        (f64::from(self.0.pop_front().expect("a further draw")) + 0.5) / 256.0
    }

    fn below(&mut self, n: u32) -> u32 {
        let k = u32::from(self.0.pop_front().expect("a further draw"));
        assert!(k < n, "the package drew {k} where a number below {n} is due");
        k
    }
}

struct Record(ZipArchive<File>);

impl Record {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/minatar/{name}.npz"));
        Record(ZipArchive::new(File::open(path).expect("a recorded file")).expect("an archive"))
    }

    /// The bytes of an array, whose type must be `descr`.
    fn bytes(&mut self, array: &str, descr: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.by_name(&format!("{array}.npy")).expect(array).read_to_end(&mut bytes).expect("its bytes");
        // The layout of an `.npy` file: six magic bytes, the version, the length of the header, the header.
        let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..data]).into_owned();
        assert!(header.contains(descr) && header.contains("'fortran_order': False"), "{array}: {header}");
        bytes.split_off(data)
    }

    fn small(&mut self, array: &str) -> Vec<u8> {
        self.bytes(array, "'|u1'")
    }
}

/// What an episode went through.
struct Episode {
    rewards: Vec<f32>,
    /// The saved state before each step, and after the last.
    states: Vec<Value>,
    end: End,
}

/// Replays all episodes of a game with the recorded keys and random numbers: every reward, every end and every pixel must be the
/// package's, and no random number may be left over.
fn replay<G: Game>(name: &str) -> Vec<Episode> {
    let mut record = Record::open(name);
    let mut draws = Script(record.small("draw").into());
    let mut actions = record.small("action").into_iter();
    let mut rewards = record.small("reward").into_iter();
    let mut ends = record.small("terminated").into_iter();
    let changes = record.small("change");
    let lengths = record.bytes("length", "'<u4'");
    let lengths = lengths.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let aboard = if name == "seaquest" { record.small("aboard") } else { vec![0; lengths.len()] };
    let rules = record.small("sticky_percent").into_iter().zip(record.small("ramping")).zip(aboard);

    let pixels = SIDE * SIDE * G::CHANNELS.len();
    let mut changes = changes.chunks_exact(pixels.div_ceil(8));
    let mut episodes = Vec::new();
    for (number, (length, ((sticky, ramping), aboard))) in lengths.zip(rules).enumerate() {
        let sticky = f64::from(sticky) / 100.0;
        let mut env = MinAtar::<G>::new(Rules { sticky, ramping: ramping == 1, ..Rules::default() });
        let (mut obs, mut frame) = (vec![0.0; pixels], vec![0u8; pixels]);
        let mut seen = Episode { rewards: Vec::new(), states: Vec::new(), end: End::No };
        for step in 0..=length {
            let what = format!("{name}, episode {number}, step {step}");
            if step == 0 {
                env.reset_with(&mut draws, &mut obs);
            } else {
                let (reward, end) =
                    env.step_with(actions.next().expect("an action").into(), &mut draws, &mut obs);
                let recorded = (rewards.next().expect("a reward"), ends.next().expect("an end"));
                assert_eq!((reward, end.done()), (f32::from(recorded.0), recorded.1 == 1), "{what}");
                assert!(!end.truncated(), "{what}");
                seen.rewards.push(reward);
                seen.end = end;
            }
            let change = changes.next().expect("a frame");
            for (k, pixel) in frame.iter_mut().enumerate() {
                *pixel ^= change[k / 8] >> (7 - k % 8) & 1;
            }
            for (k, (&ours, &theirs)) in obs.iter().zip(&frame).enumerate() {
                let (cell, channel) = (k / G::CHANNELS.len(), G::CHANNELS[k % G::CHANNELS.len()].name);
                let (row, column) = (cell / SIDE, cell % SIDE);
                assert_eq!(ours, f32::from(theirs), "{what}: {channel} at row {row}, column {column}");
            }
            seen.states.push(env.save());
            if aboard > 0 && step == 0 {
                let mut state = env.save();
                state["state"]["aboard"] = json!(aboard);
                env.load(&state).expect("a possible state");
            }
        }
        episodes.push(seen);
    }
    assert!(draws.0.is_empty(), "{name}: {} draws are left", draws.0.len());
    assert!(actions.next().is_none() && changes.next().is_none(), "{name}: steps are left");
    episodes
}

fn total(episode: &Episode) -> f32 {
    episode.rewards.iter().sum()
}

/// The values that a number in the states took in any episode.
fn values(episodes: &[Episode], field: &str) -> BTreeSet<i64> {
    let states = episodes.iter().flat_map(|episode| &episode.states);
    states.map(|state| state["state"][field].as_i64().expect(field)).collect()
}

fn any(episodes: &[Episode], holds: impl Fn(&Value) -> bool) -> bool {
    episodes.iter().any(|episode| episode.states.iter().any(|state| holds(&state["state"])))
}

fn count(list: &Value) -> usize {
    list.as_array().expect("a list").iter().filter(|x| !x.is_null()).count()
}

#[test]
fn breakout_is_the_packages() {
    let episodes = replay::<Breakout>("breakout");
    // Two walls are cleared and come back; a ball passes through bricks; both edges are starts; misses end it.
    assert!(episodes.iter().any(|episode| total(episode) > 61.0));
    assert!(any(&episodes, |state| state["struck"] == true && state["bricks"] == json!([0, 0, 0])));
    let starts: BTreeSet<i64> =
        episodes.iter().map(|e| e.states[0]["state"]["ball"][0].as_i64().unwrap()).collect();
    assert_eq!(starts, [0, 9].into());
    assert!(episodes.iter().filter(|episode| episode.end == End::Terminated).count() > 20);
}

#[test]
fn asterix_is_the_packages() {
    let episodes = replay::<Asterix>("asterix");
    // Difficulty goes up to its end, and not at all without ramping; there is gold and death; at times no row is free.
    assert_eq!(values(&episodes, "spawn_every"), (1..=10).collect());
    assert_eq!(values(&episodes, "move_every"), (1..=5).collect());
    assert!(any(&episodes, |state| count(&state["rows"]) == 8 && state["spawn_in"] == 0));
    let (calm, others): (Vec<_>, Vec<_>) =
        episodes.into_iter().partition(|episode| episode.states[0]["state"]["ramping"] == false);
    assert!(calm.iter().any(|episode| episode.rewards.len() > 204));
    assert_eq!((values(&calm, "spawn_every"), values(&calm, "move_every")), ([10].into(), [5].into()));
    assert!(others.iter().any(|episode| episode.end == End::Terminated && total(episode) > 5.0));
}

#[test]
fn freeway_is_the_packages() {
    let episodes = replay::<Freeway>("freeway");
    // A whole episode; crossings; the chicken is sent back from every lane but the last two before it.
    let whole = episodes.iter().find(|episode| episode.end == End::Terminated).expect("a whole episode");
    assert!(whole.rewards.len() == 2501 && total(whole) > 20.0);
    let rows = |episode: &Episode| {
        let rows = episode.states.iter().map(|state| state["state"]["row"].as_i64().unwrap());
        rows.collect::<Vec<_>>()
    };
    let mut hits = BTreeSet::new();
    for episode in &episodes {
        let rows = rows(episode);
        let steps = rows.windows(2).zip(&episode.rewards);
        hits.extend(steps.filter(|(pair, reward)| pair[1] == 9 && **reward == 0.0).map(|(pair, _)| pair[0]));
    }
    assert!((2..=8).all(|row| hits.contains(&row)), "{hits:?}");
    let paces: BTreeSet<i64> = episodes
        .iter()
        .flat_map(|episode| {
            episode.states.iter().flat_map(|state| state["state"]["cars"].as_array().unwrap())
        })
        .map(|car| car["pace"].as_i64().unwrap())
        .collect();
    assert_eq!(paces, (-5..=-1).chain(1..=5).collect());
}

#[test]
fn seaquest_is_the_packages() {
    let episodes = replay::<Seaquest>("seaquest");
    // From -1 divers to a full boat, and what it is paid; difficulty; all three kinds of enemies' objects.
    let aboard = values(&episodes, "aboard");
    assert!((-2..=6).all(|n| aboard.contains(&n)), "{aboard:?}");
    assert!(episodes.iter().flat_map(|episode| &episode.rewards).any(|&reward| reward > 3.0));
    assert_eq!(values(&episodes, "move_every"), (2..=5).collect());
    assert!(values(&episodes, "spawn_every").contains(&6));
    for field in ["bullets", "enemy_bullets", "fish", "subs", "divers"] {
        assert!(any(&episodes, |state| count(&state[field]) > 0), "{field}");
    }
    let lost = |holds: &dyn Fn(&Value) -> bool| {
        let ended = episodes.iter().filter(|episode| episode.end == End::Terminated);
        ended.filter(|episode| holds(&episode.states[episode.states.len() - 1]["state"])).count()
    };
    // Lost without oxygen, by coming up empty, and otherwise, which is by being hit.
    let airless = |state: &Value| state["oxygen"].as_i64().unwrap() < 0;
    let empty = |state: &Value| state["boat"][1] == 0 && state["aboard"] == 0 && state["surfaced"] == false;
    let kinds = [lost(&airless), lost(&empty), lost(&|state| !airless(state) && !empty(state))];
    assert!(kinds.iter().all(|&kind| kind > 0), "{kinds:?}");
}

#[test]
fn space_invaders_is_the_packages() {
    let episodes = replay::<SpaceInvaders>("space_invaders");
    // Waves up to the quickest; a single alien; both directions; without ramping all waves are alike; aliens that land.
    assert_eq!(values(&episodes, "wave_every"), (6..=12).collect());
    let left = |state: &Value| {
        let rows = state["aliens"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap().count_ones());
        rows.sum::<u32>()
    };
    assert!(any(&episodes, |state| left(state) == 1));
    assert!(any(&episodes, |state| state["aliens"][9] != 0));
    let (calm, ramping): (Vec<_>, Vec<_>) =
        episodes.into_iter().partition(|episode| episode.states[0]["state"]["ramping"] == false);
    assert!(calm.iter().any(|episode| total(episode) > 48.0));
    assert_eq!(values(&calm, "wave_every"), [12].into());
    assert!(ramping.iter().any(|episode| episode.end == End::Terminated && total(episode) > 24.0));
}
