"""Records what Gymnasium's environments do, for the comparison in crates/env/tests/gymnasium.rs.

    pip install -r tests/gymnasium/requirements.txt
    python tests/gymnasium/record.py

writes one JSON file per environment to tests/gymnasium/data. Everything is seeded: a second run writes the same bytes.

Classic control: single transitions from chosen states (inside, on and just across every limit of the dynamics), the
time limit as the TimeLimit wrapper applies it, and the moments of many resets.
Toy text: the whole transition table and the distribution of the first state; two tables also as files that hold a process
by itself, in the layout of Gymnasium's `P` (NAME-P.json) and as arrays (NAME.npz, NAME-f32.npz). Blackjack has no table in
Gymnasium: it is found by playing its own code with a deck that is told which card comes next, over all sequences of cards.
"""

import json
import math
from pathlib import Path

import gymnasium as gym
import numpy as np

DATA = Path(__file__).parent / "data"
NUM_RESETS = 10_000


def write(name, record, rows=()):
    """Writes `record` one entry per line, and each of the lists named in `rows` one element per line."""
    lines = []
    for key, value in record.items():
        if key in rows:
            body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f'"{key}":[\n{body}]')
        else:
            lines.append(f'"{key}":{json.dumps(value, separators=(",", ":"))}')
    text = "{" + ",\n".join(lines) + "}\n"
    json.loads(text)
    (DATA / f"{name}.json").write_text(text)
    print(f"{name}: {len(text) / 1024:.1f} KiB")


def header(env_id):
    spec = gym.spec(env_id)
    return {
        "gymnasium": gym.__version__,
        "id": env_id,
        "max_steps": spec.max_episode_steps,
        "reward_threshold": spec.reward_threshold,
    }


def plain(x):
    """A float that JSON can hold, with whole numbers written as such."""
    x = float(x)
    return int(x) if x.is_integer() and (x != 0 or math.copysign(1, x) > 0) else x


def probability(x):
    """A probability to 12 decimals: enough to tell, and short."""
    return plain(round(float(x), 12))


def single(x):
    """The shortest decimal that reads back as the same 32-bit float."""
    return plain(np.format_float_positional(np.float32(x), unique=True, trim="-"))


# --- classic control ---


def transition(env, state, action, dtype):
    core = env.unwrapped
    env.reset(seed=0)
    core.state = np.array(state, dtype=dtype)
    if hasattr(core, "steps_beyond_terminated"):
        core.steps_beyond_terminated = None
    discrete = isinstance(env.action_space, gym.spaces.Discrete)
    given = int(action) if discrete else np.array([action], dtype=np.float32)
    obs, reward, terminated, truncated, _ = core.step(given)
    state = [plain(x) for x in np.array(state, dtype=dtype).astype(np.float64)]
    action = plain(action) if discrete else single(action)
    return [state, action, [single(x) for x in obs], plain(reward), int(terminated), int(truncated)]


def time_limit(env_id, hold):
    """Steps an environment that `hold` puts back before each step; returns when it was first truncated, and the two
    flags of a step that reaches a terminal state exactly at the limit."""
    env = gym.make(env_id)
    flags = []
    for last in (False, True):
        env.reset(seed=0)
        for step in range(1, env.spec.max_episode_steps + 1):
            action = hold(env.unwrapped, last and step == env.spec.max_episode_steps)
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                flags.append([step, int(terminated), int(truncated)])
                break
    return flags


def resets(env_id):
    env = gym.make(env_id)
    env.reset(seed=1)
    states = []
    for _ in range(NUM_RESETS):
        env.reset()
        states.append(np.array(env.unwrapped.state, dtype=np.float64))
    states = np.array(states)
    return {
        "count": NUM_RESETS,
        "min": states.min(0).tolist(),
        "max": states.max(0).tolist(),
        "mean": states.mean(0).tolist(),
        "std": states.std(0).tolist(),
    }


def classic(env_id, states, actions, hold, dtype=np.float64):
    """`actions` lists those that are tried in every state in turn."""
    env = gym.make(env_id)
    rows = [transition(env, state, actions[i % len(actions)], dtype) for i, state in enumerate(states)]
    record = header(env_id) | {"limit": time_limit(env_id, hold), "resets": resets(env_id), "transitions": rows}
    write(env_id, record, rows=("transitions", "limit"))


def around(x):
    """`x` and its neighbours as 64-bit floats."""
    return [float(np.nextafter(x, -np.inf)), float(x), float(np.nextafter(x, np.inf))]


def cart_pole(rng):
    angle = 12 * 2 * math.pi / 360
    states = [rng.uniform(-0.05, 0.05, 4) for _ in range(40)]
    states += [rng.uniform([-2.4, -3, -angle, -3], [2.4, 3, angle, 3]) for _ in range(120)]
    states += [rng.uniform([-3, -5, -math.pi, -8], [3, 5, math.pi, 8]) for _ in range(40)]
    states = [np.round(state, 6).tolist() for state in states]
    for sign in (-1.0, 1.0):
        # At rest on the limit and next to it: the position and the angle stay what they are.
        states += [[x, 0.0, 0.0, 0.0] for x in around(sign * 2.4)]
        states += [[0.0, 0.0, theta, 0.0] for theta in around(sign * angle)]
        # Just over the limit, and just back.
        for speed in (-0.5, 0.5):
            states += [[sign * 2.395, speed, 0.1, 0.2], [0.5, -0.2, sign * 0.2, speed * 2]]
    states = [state for state in states for _ in (0, 1)]

    def hold(env, end):
        env.state = np.array([5.0 if end else 0.0, 0.0, 0.0, 0.0])
        return 0

    classic("CartPole-v1", states, [0, 1], hold)


def car_states(rng, goal):
    states = [[rng.uniform(-0.6, -0.4), 0.0] for _ in range(30)]
    states += [rng.uniform([-1.2, -0.07], [0.6, 0.07]) for _ in range(90)]
    states += [rng.uniform([goal - 0.08, 0.0], [goal + 0.02, 0.07]) for _ in range(30)]
    states += [rng.uniform([-1.2, -0.07], [-1.12, 0.0]) for _ in range(20)]
    states = [np.round(state, 6).tolist() for state in states]
    states += [[-1.2, 0.0], [-1.2, -0.07], [-1.2, 0.001], [-1.199, -0.01], [0.6, 0.07], [0.6, 0.0], [0.6, -0.07]]
    states += [[goal, 0.0], [goal, -0.01], [goal, 0.003], [-0.5, 0.07], [-0.5, -0.07], [0.3, 0.0699], [-1.0, -0.0699]]
    return states


def mountain_car(rng):
    states = [state for state in car_states(rng, 0.5) for _ in range(2)]

    def hold(env, end):
        env.state = np.array([0.55 if end else -0.5, 0.0])
        return 1

    classic("MountainCar-v0", states, [0, 1, 2], hold)


def mountain_car_continuous(rng):
    states = [state for state in car_states(rng, 0.45) for _ in range(2)]
    actions = np.round(rng.uniform(-1, 1, 23), 4).tolist() + [-1.0, 0.0, 1.0, 1.5, -2.5]

    def hold(env, end):
        env.state = np.array([0.5 if end else -0.5, 0.0], dtype=np.float32)
        return np.array([0.0], dtype=np.float32)

    # From the first step on, Gymnasium keeps this state in single precision.
    classic("MountainCarContinuous-v0", states, actions, hold, dtype=np.float32)


def pendulum(rng):
    states = [rng.uniform([-math.pi, -1], [math.pi, 1]) for _ in range(60)]
    states += [rng.uniform([-math.pi, -8], [math.pi, 8]) for _ in range(120)]
    states += [rng.uniform([-80, -8], [80, 8]) for _ in range(60)]
    states = [np.round(state, 6).tolist() for state in states]
    for theta in (-math.pi, math.pi, -3 * math.pi, 3 * math.pi, 0.0, math.pi / 2, 20 * math.pi):
        states += [[theta, 0.0], [theta + 1e-9, 8.0], [theta - 1e-9, -8.0]]
    actions = np.round(rng.uniform(-2, 2, 23), 4).tolist() + [-2.0, 0.0, 2.0, 3.5, -2.5]

    def hold(env, end):
        return np.array([0.0], dtype=np.float32)

    classic("Pendulum-v1", states, actions, hold)


def acrobot(rng):
    spin = [4 * math.pi, 9 * math.pi]
    states = [np.round(rng.uniform(-0.1, 0.1, 4), 6) for _ in range(40)]
    states += [rng.uniform([-math.pi, -math.pi, -5, -8], [math.pi, math.pi, 5, 8]) for _ in range(120)]
    low, high = [-math.pi, -math.pi, -spin[0], -spin[1]], [math.pi, math.pi, spin[0], spin[1]]
    states += [rng.uniform(low, high) for _ in range(50)]
    # Near the line that the foot must cross.
    states += [rng.uniform([1.8, -0.6, -0.5, -0.5], [2.4, 0.6, 0.5, 0.5]) for _ in range(40)]
    states = [np.round(state, 6).tolist() for state in states]
    pi = math.pi
    states += [[pi, 0.0, 0.0, 0.0], [-pi, 0.0, 1.0, 1.0], [0.0, pi, -2.0, 3.0], [0.0, -pi, 2.0, -3.0]]
    states += [[pi, -pi, spin[0], spin[1]], [-pi, pi, -spin[0], -spin[1]]]
    states += [[pi / 2, 0.0, 0.0, 0.0], [2 * pi / 3, 0.0, 0.0, 0.0]]

    def hold(env, end):
        env.state = np.array([math.pi if end else 0.0, 0.0, 0.0, 0.0])
        return 1

    classic("Acrobot-v1", states, [0, 1, 2], hold)


# --- toy text ---


def table(name, env_id, **options):
    env = gym.make(env_id, **options).unwrapped
    rows = []
    for state in range(env.observation_space.n):
        for action in range(env.action_space.n):
            rows.append([plain(x) for p, s, r, t in env.P[state][action] for x in (p, s, r, t)])
    start = [[s, probability(p)] for s, p in enumerate(env.initial_state_distrib) if p > 0]
    record = header(env_id) | {
        "options": options,
        "num_states": int(env.observation_space.n),
        "num_actions": int(env.action_space.n),
        "start": start,
        "outcomes": rows,
    }
    write(name, record, rows=("outcomes",))


def item(x):
    """What `json.dumps` makes of a number of NumPy."""
    return x.item()


def process(name, env_id):
    """The transition table as Gymnasium's own `P`, and as the arrays of an .npz file."""
    env = gym.make(env_id).unwrapped
    (DATA / f"{name}-P.json").write_text(json.dumps(env.P, default=item) + "\n")
    rows = [env.P[s][a] for s in range(env.observation_space.n) for a in range(env.action_space.n)]
    entries = [outcome for row in rows for outcome in row]
    arrays = {
        "first_entry": np.cumsum([0] + [len(row) for row in rows]),
        "next": np.array([int(outcome[1]) for outcome in entries], np.int32),
        "reward": np.array([float(outcome[2]) for outcome in entries], np.float32),
        "terminated": np.array([bool(outcome[3]) for outcome in entries]),
    }
    prob = np.array([float(outcome[0]) for outcome in entries])
    actions = int(env.action_space.n)
    states = int(env.observation_space.n)
    first_pair = np.arange(states + 1, dtype=np.uint16) * np.uint16(actions)
    np.savez(DATA / f"{name}.npz", num_actions=actions, prob=prob, **arrays)
    np.savez_compressed(DATA / f"{name}-f32.npz", first_pair=first_pair, prob=prob.astype(np.float32), **arrays)


class OutOfCards(Exception):
    pass


class Deck:
    """In place of the environment's random generator: hands out the cards it was given."""

    def __init__(self, cards):
        self.cards = list(cards)

    def choice(self, options):
        if len(options) != 13:  # a suit or a face, which only the picture shows
            return options[0]
        if not self.cards:
            raise OutOfCards
        return self.cards.pop(0)


CARDS = [(card, (4 if card == 10 else 1) / 13) for card in range(1, 11)]


def outcomes(play, cards=(), prob=1.0):
    """All results of `play(deck)` with their probabilities, over all sequences of cards that it asks for."""
    try:
        return {play(Deck(cards)): prob}
    except OutOfCards:
        results = {}
        for card, p in CARDS:
            for result, q in outcomes(play, (*cards, card), prob * p).items():
                results[result] = results.get(result, 0.0) + q
        return results


def blackjack(name, **options):
    env = gym.make("Blackjack-v1", **options).unwrapped

    def deal(deck):
        env._np_random = deck
        env.reset()
        return (*(int(x) for x in env._get_obs()), int(sorted(env.player) == [1, 10]))

    start = outcomes(deal)

    def step(player, dealer, action):
        def play(deck):
            env._np_random = deck
            env.player = list(player)
            # Gymnasium has dealt the second card already; from an infinite deck it may as well come now.
            env.dealer = [dealer] + ([deck.choice([0] * 13)] if action == 0 else [2])
            obs, reward, terminated, _, _ = env.step(action)
            return (*(int(x) for x in obs), float(reward), int(terminated))

        return outcomes(play)

    rng = np.random.default_rng(7)
    hands = {}
    for _ in range(20_000):
        hand = [int(rng.choice([card for card, _ in CARDS])) for _ in range(2)]
        while True:
            total = sum(hand)
            usable = int(1 in hand and total + 10 <= 21)
            key = (total + 10 * usable, usable, int(sorted(hand) == [1, 10]))
            if key[0] > 21:
                break
            known = hands.setdefault(key, [])
            if sorted(hand) not in known and len(known) < 2:
                known.append(sorted(hand))
            hand.append(int(rng.choice([card for card, _ in CARDS])))
    rows = []
    for (total, usable, natural), known in sorted(hands.items()):
        for dealer in range(1, 11):
            for action in (0, 1):
                results = [step(hand, dealer, action) for hand in known]
                # Hands that look the same must act the same, or the recorded state is not a state.
                assert all(results[0] == other for other in results), (total, usable, natural, dealer)
                found = sorted([*key, probability(p)] for key, p in results[0].items())
                rows.append([[total, dealer, usable, natural], action, found])
    # A hit does not look at the dealer: its rows are kept for one card only.
    hits = {}
    for (total, dealer, usable, natural), action, found in rows:
        if action == 1:
            seen = [[o[0], *o[2:]] for o in found]
            assert seen == hits.setdefault((total, usable, natural), seen), (total, usable, natural, dealer)
    rows = [row for row in rows if row[1] == 0 or row[0][1] == 6]
    if options:
        rows = [row for row in rows if row[0][0] >= 20 and row[1] == 0]
    record = header("Blackjack-v1") | {
        "options": options,
        "start": [] if options else [[*key, probability(p)] for key, p in sorted(start.items())],
        "outcomes": rows,
    }
    write(name, record, rows=("outcomes",))


def main():
    DATA.mkdir(exist_ok=True)
    rng = np.random.default_rng(2)
    cart_pole(rng)
    mountain_car(rng)
    mountain_car_continuous(rng)
    pendulum(rng)
    acrobot(rng)
    process("FrozenLake-v1", "FrozenLake-v1")
    process("CliffWalking-v1", "CliffWalking-v1")
    table("FrozenLake-v1", "FrozenLake-v1")
    table("FrozenLake-v1-sure", "FrozenLake-v1", is_slippery=False)
    table("FrozenLake8x8-v1", "FrozenLake8x8-v1")
    table("FrozenLake8x8-v1-success", "FrozenLake8x8-v1", success_rate=0.75)
    table("CliffWalking-v1", "CliffWalking-v1")
    table("CliffWalking-v1-slippery", "CliffWalking-v1", is_slippery=True)
    table("Taxi-v4", "Taxi-v4")
    blackjack("Blackjack-v1")
    blackjack("Blackjack-v1-natural", natural=True, sab=False)
    blackjack("Blackjack-v1-plain", natural=False, sab=False)
    total = sum(path.stat().st_size for path in DATA.glob("*.json"))
    print(f"together: {total / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
