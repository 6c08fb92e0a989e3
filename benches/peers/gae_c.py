"""GAE as a C loop compiled for this machine with -O3 -march=native: what a plain loop can reach."""

import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile

import job


def run(args):
    import numpy as np

    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise job.Missing("no C compiler: neither CC nor gcc nor cc")
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "gae.so"
        source = pathlib.Path(__file__).with_name("gae.c")
        subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
        gae_calls = ctypes.CDLL(str(library)).gae_calls
    gae_calls.argtypes = [ctypes.c_size_t] * 3 + [ctypes.c_float] * 2 + [ctypes.c_void_p] * 6
    gae_calls.restype = None

    def prepare(*arrays):
        num_steps, num_envs = arrays[0].shape
        arrays = [np.ascontiguousarray(array) for array in arrays]
        outputs = [np.full((num_steps, num_envs), np.nan, dtype=np.float32) for _ in range(2)]
        pointers = [array.ctypes.data for array in [*arrays, *outputs]]

        def call(calls=1):
            gae_calls(calls, num_steps, num_envs, job.GAE_GAMMA, job.GAE_GAMMA * job.GAE_LAMBDA, *pointers)
            return outputs

        # The arrays must outlive the pointers to them.
        call.arrays = arrays
        return call

    compiled_by = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    return {"version": f"{pathlib.Path(compiler).name} {compiled_by} -O3 -march=native",
            **job.gae_report(prepare, batched=True)}


if __name__ == "__main__":
    job.main("C loop", run)
