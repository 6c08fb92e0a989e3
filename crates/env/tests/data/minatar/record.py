"""Records episodes of the package `minatar` 1.0.15, with every random number that it draws, for `tests/minatar.rs`.

Actions come from three players: one that presses keys at random, one that looks ahead by trial on copies of the game, and one
that mixes both. Random numbers are drawn here and handed to the package through the two methods that it calls: a uniform number is
(k + 1/2) / 256 for a byte k, and the byte is what is recorded.
"""

import copy
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from minatar import Environment

assert version("minatar") == "1.0.15", version("minatar")

CRITICS = {}


class Draws:
    """In the place of numpy's RandomState; `log` holds what was drawn, as bytes."""

    def __init__(self, seed, log):
        self.rng = np.random.default_rng(seed)
        self.log = log

    def _bytes(self, n, size):
        drawn = self.rng.integers(n, size=1 if size is None else size)
        self.log.extend(int(k) for k in drawn)
        return drawn[0] if size is None else drawn

    def rand(self, size=None):
        return (self._bytes(256, size) + 0.5) / 256

    def randint(self, low, high=None, size=None):
        low, high = (0, low) if high is None else (low, high)
        return self._bytes(high - low, size) + low


def critic(name):
    """Says how promising a position looks, beyond the points already won."""

    def add(function):
        CRITICS[name] = function
        return function

    return add


@critic("breakout")
def breakout(game):
    return -0.1 * abs(game.pos - game.ball_x) if game.ball_dir >= 2 else 0.0


@critic("asterix")
def asterix(game):
    gold = [abs(x[0] - game.player_x) + abs(x[1] - game.player_y) for x in game.entities if x and x[3]]
    return -0.02 * min(gold, default=10)


@critic("freeway")
def freeway(game):
    return 0.05 * (9 - game.pos)


@critic("seaquest")
def seaquest(game):
    divers = [abs(x[0] - game.sub_x) + abs(x[1] - game.sub_y) for x in game.divers]
    worth = 0.8 * game.diver_count - 0.08 * min(divers, default=10)
    enough = {5: 100, 6: 200}.get(game.diver_count, 60)
    if game.diver_count != 0 and game.oxygen <= enough:
        worth = 0.8 * game.diver_count - 0.1 * game.sub_y
    return worth + (2.0 if game.surface and game.oxygen > 150 and game.sub_y == 0 else 0.0)


@critic("space_invaders")
def space_invaders(game):
    columns = np.nonzero(game.alien_map.any(axis=0))[0]
    return -0.05 * min(abs(int(x) - game.pos) for x in columns)


def catch(game, actions, rng):
    """Goes to where the ball comes down: under it, or where it would have gone."""
    ahead = copy.deepcopy(game)
    for _ in range(40):
        if ahead.terminal or (ahead.ball_dir >= 2 and ahead.ball_y == 8):
            break
        ahead.act(0)
    if game.ball_dir < 2 or not hasattr(game, "under"):
        game.under = rng.random() < 0.6
    target = ahead.ball_x if game.under else min(max(ahead.ball_x + (1 if ahead.ball_dir == 2 else -1), 0), 9)
    return actions.index(1 if target < game.pos else 3 if target > game.pos else 0)


def player(name, env, actions, rng, skill, depth, trials):
    """The next action: with probability `skill` the one that does best in trials on copies of the game."""
    if rng.random() >= skill:
        return int(rng.integers(len(actions)))
    random, env.env.random = env.env.random, None
    if name == "breakout":
        action = catch(env.env, actions, rng)
        env.env.random = random
        return action
    scores = np.zeros(len(actions))
    for first in range(len(actions)):
        for _ in range(trials):
            game = copy.deepcopy(env.env)
            game.random = np.random.RandomState(int(rng.integers(1 << 31)))
            total, over = game.act(actions[first])
            for step in range(depth):
                if over:
                    break
                reward, over = game.act(actions[int(rng.integers(len(actions)))])
                total += reward * 0.95**step
            scores[first] += total + (-5.0 if over and name != "freeway" else CRITICS[name](game))
    env.env.random = random
    return int(np.argmax(scores + 1e-6 * rng.random(len(actions))))


def record(name, seed, episodes):
    """`episodes` lists (sticky, ramping, skill, depth, trials, at most how many steps, whether the game goes on after its
    end, how many divers are put aboard after the first frame)."""
    rng = np.random.default_rng(seed)
    log, chosen, rewards, ends, frames, lengths = [], [], [], [], [], []
    for sticky, ramping, skill, depth, trials, most, undying, aboard in episodes:
        env = Environment(name, sticky_action_prob=sticky, difficulty_ramping=ramping)
        env.random = env.env.random = Draws(rng.integers(1 << 31), log)
        env.reset()
        actions = env.minimal_action_set()
        before = np.zeros(env.state_shape(), dtype=bool)
        steps, total = 0, 0
        while True:
            state = env.state()
            frames.append(np.packbits(state ^ before))
            before = state
            if aboard and steps == 0:
                env.env.diver_count = aboard
            if steps == most or (steps and ends[-1] and not undying):
                break
            env.env.terminal = False
            chosen.append(player(name, env, actions, rng, skill, depth, trials))
            reward, end = env.act(actions[chosen[-1]])
            rewards.append(int(reward))
            ends.append(int(end))
            steps += 1
            total += int(reward)
        lengths.append(steps)
        print(f"{name}: {episodes[len(lengths) - 1]}: {steps} steps, return {total}")
    return {
        "action": np.array(chosen, dtype=np.uint8),
        "reward": np.array(rewards, dtype=np.uint8),
        "terminated": np.array(ends, dtype=np.uint8),
        "draw": np.array(log, dtype=np.uint8),
        # What changed since the frame before, bit by bit; the first frame of an episode against an empty screen.
        "change": np.array(frames, dtype=np.uint8),
        "length": np.array(lengths, dtype=np.uint32),
        "sticky_percent": np.array([round(100 * e[0]) for e in episodes], dtype=np.uint8),
        "aboard": np.array([e[7] for e in episodes], dtype=np.uint8),
        "ramping": np.array([e[1] for e in episodes], dtype=np.uint8),
    }


def plan(sticky, skill, most, depth=8, trials=3, ramping=True, undying=False, aboard=0):
    return sticky, ramping, skill, depth, trials, most, undying, aboard


RANDOM = [plan(0.1, 0.0, 600)] * 4
PLANS = {
    "breakout": RANDOM * 4
    + [plan(0.1, 0.6, 600)] * 12
    + [plan(0.1, 1.0, 1000)] * 5
    + [plan(0.0, 1.0, 1500, ramping=False), plan(0.0, 0.98, 1500), plan(0.5, 0.9, 400)],
    "asterix": RANDOM
    + [plan(0.1, 1.0, 1600, trials=4)] * 3
    + [plan(0.0, 0.5, 1300, undying=True), plan(0.0, 1.0, 600, ramping=False), plan(0.5, 0.7, 400)],
    "freeway": [plan(0.1, 0.0, 300), plan(0.1, 1.0, 2600, depth=6, trials=2), plan(0.0, 0.9, 600, depth=6, trials=2)],
    "seaquest": RANDOM
    + [plan(0.1, 1.0, 1200)] * 2
    + [plan(0.0, 1.0, 900, trials=6, ramping=False)] * 3
    + [plan(0.5, 0.7, 400)]
    + [plan(0.1, 0.3, 198, depth=4, trials=1, undying=True)] * 15
    + [plan(0.1, 0.3, 198, depth=4, trials=1, undying=True, aboard=6)] * 10,
    "space_invaders": RANDOM
    + [plan(0.1, 1.0, 1800, depth=10)] * 3
    + [plan(0.0, 0.9, 1800, depth=9, trials=2, undying=True)]
    + [plan(0.0, 1.0, 600, depth=10, ramping=False), plan(0.5, 0.7, 400)],
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PLANS:
        data = record(name, 7, PLANS[name])
        path = Path(__file__).parent / f"{name}.npz"
        np.savez_compressed(path, **data)
        print(f"{path.name}: {len(data['action'])} steps, {path.stat().st_size} bytes")
