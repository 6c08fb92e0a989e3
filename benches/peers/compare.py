#!/usr/bin/env python3
"""Runs rederive and other libraries on the same job, in turn, one thread on one core, and prints a table of ratios.

    python3 benches/peers/compare.py [--job ppo|dqn|trpo|gae|conv|env|q|dp] [--steps N] [--repeat 3] [--out FILE.json]

Standard library only; the peers run in the Python given with --python (README.md says how to set it up). Every
contender runs once per round, each round starts with another one, and a ratio is taken between two runs of the same
round. A peer that is not installed is listed as missing, with the reason.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import job

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PEERS = {
    "ppo": ["ppo_purejaxrl.py", "ppo_cleanrl.py", "ppo_sb3.py", "ppo_pufferlib.py"],
    "dqn": ["dqn_purejaxrl.py", "dqn_cleanrl.py", "dqn_sb3.py"],
    "trpo": ["trpo_sb3.py"],
    "gae": ["gae_c.py", "gae_jax.py", "gae_numpy.py", "gae_torch.py"],
    "conv": ["conv_torch.py", "conv_jax.py"],
    "env": ["env_gymnasium.py", "env_gymnax.py"],
    "q": ["q_numba.py", "q_gymnasium.py"],
    "dp": ["dp_quantecon.py", "dp_numba.py", "dp_mdpsolver.py"],
}
ONE_THREAD = {name: "1" for name in (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")}
# What the means of a case are means of, by their number.
WHAT = {0: (), 1: ("value",), 2: ("advantage", "return"), 3: ("output", "squared output", "squared gradient")}
# The outputs of all contenders agree to this much, relative to 1 + |mean|.
CHECK_TOLERANCE = 1e-4


def program(name):
    """An absolute path, unless it is a bare name to be looked up."""
    return os.path.abspath(name) if os.sep in name else name


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--job", choices=PEERS, default="ppo")
    parser.add_argument("--steps", type=int, help="environment steps of a training run (default 500000, trpo 100000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="R", help="rounds (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; the next rounds count up")
    parser.add_argument("--only", default="", metavar="A,B", help="only peers whose script is named like one of these")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="write everything measured as JSON")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    parser.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="limit of one run")
    # A path without its links resolved: the link is what makes it the Python of a virtual environment.
    parser.add_argument("--python", type=program, default=os.environ.get("PEERS_PYTHON", sys.executable),
                        help="the Python that has requirements.txt (PEERS_PYTHON)")
    parser.add_argument("--pufferlib-python", type=program, default=os.environ.get("PUFFERLIB_PYTHON"),
                        help="the Python that has requirements-pufferlib.txt (PUFFERLIB_PYTHON)")
    parser.add_argument("--pufferlib", default=os.environ.get("PUFFERLIB"), metavar="DIR", help="checkout (PUFFERLIB)")
    parser.add_argument("--purejaxrl", default=os.environ.get("PUREJAXRL"), metavar="DIR", help="checkout (PUREJAXRL)")
    parser.add_argument("--bin", type=pathlib.Path, metavar="DIR",
                        help="folder with the built programs (default: build them with cargo)")
    args = parser.parse_args()
    if args.steps is None:
        args.steps = job.TRAINING[args.job][2] if args.job in job.TRAINING else 0
    least = {"ppo": job.PPO["num_envs"] * job.PPO["num_steps"], "trpo": job.TRPO["n_steps"],
             "dqn": 2 * job.DQN["learning_starts"]}.get(args.job, 0)
    if args.repeat < 1 or args.steps < least:
        parser.error(f"--repeat must be at least 1, and --steps at least {least}")
    return args


def built(args):
    """The folder with `rederive` and `rederive-peer`, built in release mode unless it is given."""
    if args.bin:
        return args.bin.resolve()
    what = ["-p", "rederive"] if args.job in job.TRAINING else ["-p", "rederive-benches", "--bin", "rederive-peer"]
    subprocess.run(["cargo", "build", "--release", *what], cwd=ROOT, check=True, stdout=sys.stderr)
    target = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    return pathlib.Path(json.loads(target)["target_directory"]) / "release"


def command(name, args, folder, seed, scratch):
    """The command line of a contender: "rederive" or a script's name."""
    if name == "rederive":
        if args.job == "dp":
            return [str(folder / "rederive-peer"), args.job, str(args.data)]
        if args.job not in job.TRAINING:
            return [str(folder / "rederive-peer"), args.job]
        settings, preset, _ = job.TRAINING[args.job]
        return [str(folder / "rederive"), "train", args.job, settings["env"], "--preset", preset, "--threads", "1",
                "--json", "--seed", str(seed), "--steps", str(args.steps), "--out", str(scratch / "run")]
    python = args.pufferlib_python or args.python if name == "ppo_pufferlib.py" else args.python
    line = [python, str(HERE / name), "--seed", str(seed), "--steps", str(args.steps)]
    if args.job == "dp":
        line += ["--data", str(args.data)]
    for script, checkout in (("ppo_purejaxrl.py", args.purejaxrl), ("dqn_purejaxrl.py", args.purejaxrl),
                             ("ppo_pufferlib.py", args.pufferlib)):
        if name == script and checkout:
            line += ["--checkout", str(pathlib.Path(checkout).resolve())]
    return line


def peak_memory(pid):
    """The largest resident set of a running process in MB, or 0 when it can't be read (any more)."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return max((int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:")), default=0.0)
    except OSError:
        return 0.0


def run(name, args, folder, seed):
    """One run of a contender, alone on its core: its report with what is seen from outside added."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as out, \
            tempfile.TemporaryFile("w+") as err:
        scratch = pathlib.Path(scratch)
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command(name, args, folder, seed, scratch), stdout=out, stderr=err, cwd=scratch,
                env={**os.environ, **ONE_THREAD}, preexec_fn=lambda: os.sched_setaffinity(0, {args.cpu}))
        except OSError as error:
            return {"missing": f"can't be started: {error}"}
        # The kernel forgets the peak with the process, so it is read while the process runs; it only ever grows.
        peak, ended = 0.0, 0
        while not ended:
            peak = max(peak, peak_memory(process.pid))
            if time.perf_counter() - start > args.timeout:
                process.kill()
            time.sleep(0.02)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        process_seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text, complaint = out.read().strip(), err.read().strip()
    try:
        report = json.loads(text.splitlines()[-1] if name != "rederive" else text)
    except (ValueError, IndexError):
        report = {}
    if not report or (process.returncode != 0 and not {"missing", "failed"} & set(report)):
        reason = complaint.splitlines()[-1] if complaint else "no output"
        report = {"failed": f"exit status {process.returncode}: {reason}"}
    return {**report, "process_seconds": process_seconds, "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_memory_mb": max(peak, report.get("peak_memory_mb") or 0.0) or None}


def machine():
    """What the runs ran on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform(), "load_average": os.getloadavg()}


def speeds(report, job_name):
    """{case: items per second} of a report."""
    if job_name in job.TRAINING:
        return {job.TRAINING[job_name][0]["env"]: report["steps_per_second"]}
    return {case["case"]: case["items_per_second"] for case in report["cases"]}


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rounds, names, job_name):
    """One row per case and contender: its speed, and how many times faster rederive was in the same round."""
    rows = []
    complete = {name: [r[name] for r in rounds if not {"missing", "failed"} & set(r[name])] for name in names}
    cases = next((list(speeds(reports[0], job_name)) for reports in complete.values() if reports), [])
    for case in cases:
        for name in names:
            # A contender may leave out a case that it has no memory for.
            if not complete[name] or case not in speeds(complete[name][0], job_name):
                continue
            row = {"case": case, "name": name, "runs": len(complete[name]),
                   "items_per_second": spread([speeds(report, job_name)[case] for report in complete[name]])}
            ratios = [speeds(r["rederive"], job_name)[case] / speeds(r[name], job_name)[case] for r in rounds
                      if not {"missing", "failed"} & (set(r["rederive"]) | set(r[name]))]
            if ratios:
                row["rederive_is_times_faster"] = spread(ratios)
            for key in ("compile_seconds", "process_seconds", "cpu_seconds", "peak_memory_mb", "final_return_mean",
                        "first_step_at_threshold"):
                values = [report[key] for report in complete[name] if report.get(key) is not None]
                if values:
                    row[key] = spread(values)
            if job_name in job.TRAINING:
                row["reached_threshold"] = sum(
                    report.get("first_step_at_threshold") is not None for report in complete[name])
            rows.append(row)
    return rows


def disagreements(rounds):
    """Contenders whose outputs are not everyone's."""
    means = {}
    for reports in rounds:
        for name, report in reports.items():
            for case in report.get("cases", []):
                for which, mean in zip(WHAT[len(case.get("check", []))], case.get("check", [])):
                    means.setdefault((case["case"], which), {})[name] = mean
    found = []
    for (case, which), by_name in means.items():
        middle = statistics.median(by_name.values())
        for name, mean in by_name.items():
            if not abs(mean - middle) <= CHECK_TOLERANCE * (1 + abs(middle)):
                found.append(f"{name}, {case}: the mean {which} is {mean}, the others' is {middle}")
    return found


def expected_settings(job_name):
    """What rederive's preset has to say for its run to be the job that the peers do."""
    p = job.TRAINING[job_name][0]
    if job_name == "dqn":
        return {
            "hidden": p["hidden"], "activation": "relu", "lr": p["learning_rate"], "replay": p["buffer_size"],
            "gamma": p["gamma"], "target_period": p["target_network_frequency"], "batch": p["batch_size"],
            "learning_starts": p["learning_starts"], "train_every": p["train_frequency"], "epsilon": p["start_e"],
            "epsilon_final": p["end_e"], "num_envs": 1,
        }
    if job_name == "trpo":
        return {
            "num_envs": 1, "num_steps": p["n_steps"], "hidden": p["hidden"], "gamma": p["gamma"],
            "gae_lambda": p["gae_lambda"], "target_kl": p["target_kl"], "cg_iterations": p["cg_max_steps"],
            "cg_damping": p["cg_damping"], "cg_precondition": False, "fisher_fraction": 1.0,
            "backtrack": p["line_search_shrinking_factor"], "max_backtracks": p["line_search_max_iter"],
            "critic_epochs": p["n_critic_updates"], "minibatch": p["batch_size"], "lr": p["learning_rate"],
            "lr_schedule": "constant", "normalize_advantage": p["normalize_advantage"], "activation": "tanh",
            "init": "orthogonal",
        }
    return {
        "num_envs": p["num_envs"], "num_steps": p["num_steps"], "num_epochs": p["update_epochs"],
        "minibatch": p["num_envs"] * p["num_steps"] // p["num_minibatches"], "hidden": [p["hidden"]] * 2,
        "lr": p["learning_rate"], "lr_schedule": "linear", "adam_eps": p["adam_eps"], "gamma": p["gamma"],
        "gae_lambda": p["gae_lambda"], "clip_eps": p["clip_eps"], "clip_value": True, "ent_coef": p["ent_coef"],
        "vf_coef": p["vf_coef"], "max_grad_norm": p["max_grad_norm"], "normalize_advantage": True,
        "activation": "tanh", "init": "orthogonal", "objective": "clip", "target_kl": None,
    }


def other_settings(folder, job_name):
    """Where rederive's preset is not the job that the peers do."""
    settings, preset, _ = job.TRAINING[job_name]
    line = [str(folder / "rederive"), "train", job_name, settings["env"], "--preset", preset, "--print-config", "--json"]
    try:
        printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        config = json.loads(printed)["config"]
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError) as error:
        return [f"the settings of rederive's preset can't be read: {error}"]
    return [f"rederive's preset has {name} = {config.get(name)!r}, the peers {value!r}"
            for name, value in expected_settings(job_name).items() if config.get(name) != value]


def number(x):
    if x is None:
        return "-"
    magnitude = abs(x)
    if magnitude >= 1e9:
        return f"{x / 1e9:.2f}G"
    if magnitude >= 1e6:
        return f"{x / 1e6:.2f}M"
    if magnitude >= 1e4:
        return f"{x / 1e3:.1f}k"
    return f"{x:.0f}" if magnitude >= 100 else f"{x:.2f}" if magnitude >= 1 else f"{x:.3f}"


def cell(values):
    """`median [min .. max]`, or one number where the three are the same."""
    if values is None:
        return "-"
    if values["min"] == values["max"]:
        return number(values["median"])
    return f"{number(values['median'])} [{number(values['min'])} .. {number(values['max'])}]"


def table(rows, titles, job_name):
    unit = {"gae": "GAE steps/s", "dp": "solved/s", "conv": "images/s"}.get(job_name, "steps/s")
    header = ["", unit, "rederive is x times as fast"]
    extra = []
    if job_name in job.TRAINING:
        extra = [("compile s", "compile_seconds"), ("whole process s", "process_seconds"), ("CPU s", "cpu_seconds"),
                 ("peak MB", "peak_memory_mb"), ("last 100 returns", "final_return_mean"),
                 (f"step at {job.THRESHOLD:g}", "first_step_at_threshold")]
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        lines.append([f"[{case}]"] + [""] * (2 + len(extra)))
        for row in (row for row in rows if row["case"] == case):
            line = [titles[row["name"]], cell(row["items_per_second"]), cell(row.get("rederive_is_times_faster")),
                    *(cell(row.get(key)) for _, key in extra)]
            if row.get("reached_threshold", row["runs"]) < row["runs"]:
                line[-1] += f" ({row['reached_threshold']} of {row['runs']} runs)"
            lines.append(line)
    lines.insert(0, header + [title for title, _ in extra])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()


def main():
    args = arguments()
    if args.out and not args.out.resolve().parent.is_dir():
        sys.exit(f"--out {args.out}: its folder does not exist")
    folder = built(args)
    wanted = [part for part in args.only.split(",") if part]
    names = ["rederive"] + [name for name in PEERS[args.job] if not wanted or any(part in name for part in wanted)]
    titles = {name: name.removesuffix(".py") for name in names}
    absent, rounds = {}, []
    data = None
    if args.job == "dp":
        data = tempfile.TemporaryDirectory()
        args.data = data.name
        subprocess.run([str(folder / "rederive-peer"), "dp-data", data.name], check=True)
    for index in range(args.repeat):
        order = names[index % len(names) :] + names[: index % len(names)]
        reports = {}
        for name in order:
            if name in absent:
                reports[name] = absent[name]
                continue
            print(f"round {index + 1} of {args.repeat}: {titles[name]} ...", end=" ", file=sys.stderr, flush=True)
            report = run(name, args, folder, args.seed + index)
            reports[name] = report
            if report.get("peer"):
                titles[name] = report["peer"]
            if "missing" in report:
                absent[name] = report
            print(report.get("missing") or report.get("failed") or f"{report['process_seconds']:.1f} s",
                  file=sys.stderr, flush=True)
        rounds.append({name: reports[name] for name in names})
    titles["rederive"] = "rederive"

    rows = summarise(rounds, names, args.job)
    wrong = disagreements(rounds) if args.job in ("gae", "dp", "conv") else []
    if args.job in job.TRAINING and "rederive" not in absent:
        wrong += other_settings(folder, args.job)
    failed = {name: r[name]["failed"] for r in rounds for name in names if "failed" in r[name]}
    missing = {name: report["missing"] for name, report in absent.items()}

    what = {**{name: f"{name.upper()} on {settings['env']}, {args.steps} steps"
               for name, (settings, _, _) in job.TRAINING.items()},
            "gae": "GAE, f32, all contenders on the same arrays",
            "conv": f"a convolution, and a network with one, forward and backward, batches of {job.CONV_BATCH}, f32",
            "env": f"stepping {job.PPO['env']} with random actions",
            "q": "tabular Q-learning, one environment, steps with their updates",
            "dp": f"finite processes solved to {job.DP_TOL:g}, gamma {job.DP_GAMMA}"}[args.job]
    print(f"{what}; {args.repeat} rounds on core {args.cpu}, one thread; median [min .. max]\n")
    for line in table(rows, titles, args.job):
        print(line)
    print()
    for name in names:
        versions = {r[name]["version"] for r in rounds if r[name].get("version")}
        if versions:
            print(f"{titles[name]}: {'; '.join(sorted(versions))}")
    for name, reason in missing.items():
        print(f"MISSING {titles[name]}: {reason}")
    for name, reason in failed.items():
        print(f"FAILED {titles[name]}: {reason}")
    for text in wrong:
        print(f"NOT THE SAME JOB {text}")
    if args.out:
        document = {"job": args.job, "steps": args.steps or None, "repeat": args.repeat,
                    "settings": job.TRAINING[args.job][0] if args.job in job.TRAINING else None, "machine": machine(), "cpu": args.cpu,
                    "titles": titles, "summary": rows, "missing": missing, "failed": failed, "different": wrong,
                    "rounds": rounds}
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(1 if failed or wrong or "rederive" in missing else 0)


if __name__ == "__main__":
    main()
