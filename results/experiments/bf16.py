#!/usr/bin/env python3
"""The time of a training step in bf16 over that in f32, and the memory of both.

    python3 results/experiments/bf16.py --hone ./hone --net lenet5 --batch 128 --tune 30 --rounds 9

Both are tuned for the same time (--tune SECONDS; 0: what is in the database, or untuned).  A round runs
`hone profile` in f32 and in bf16, the order changing from round to round, and gives one ratio of the
medians of --steps steps, and one of processor time, which a busy machine hardly changes: of these
steps, over those of a run with one.  Printed: the median ratio, its interval of 95 % from the order of the rounds'
ratios, and how many rounds."""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    return done.stdout


def interval(values):
    """The median, and the pair of ordered values that holds it with at least 95 %."""
    v, n = sorted(values), len(values)
    low, tail = 0, 0.0
    while low < n // 2:
        tail += math.comb(n, low) / 2 ** n
        if 2 * tail > 0.05:
            break
        low += 1
    k = max(low - 1, 0)
    median = v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2
    return median, v[k], v[n - 1 - k]


def profile(hone, net, dtype, steps):
    """What hone profile says, and the seconds of processor time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(run(hone, "profile", *net, "--dtype", dtype, "--rounds", str(steps), "--json"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime - before.ru_utime


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--hone", default="hone")
    parse.add_argument("--net", default="lenet5")
    parse.add_argument("--batch", type=int, default=128)
    parse.add_argument("--tune", type=int, default=30, help="seconds for each type")
    parse.add_argument("--rounds", type=int, default=9)
    parse.add_argument("--steps", type=int, default=5, help="more than 1")
    o = parse.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"   # threads that wait take no time
    ratios, cpu_ratios, memory = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        db = os.path.join(folder, "runs.db")
        net = ["--net", o.net, "--batch", str(o.batch), "--db", db]
        for dtype in ("f32", "bf16") if o.tune else ():
            run(o.hone, "autotune", *net, "--dtype", dtype, "--budget", str(o.tune))
        for i in range(o.rounds):
            ms, cpu = {}, {}
            for dtype in ("f32", "bf16") if i % 2 == 0 else ("bf16", "f32"):
                one = profile(o.hone, net, dtype, 1)[1]
                said, all_steps = profile(o.hone, net, dtype, o.steps)
                ms[dtype] = said["step_ms"]["median"]
                cpu[dtype] = all_steps - one
                memory[dtype] = said["memory"]
            ratios.append(ms["bf16"] / ms["f32"])
            cpu_ratios.append(cpu["bf16"] / cpu["f32"])
            print(f"round {i + 1}: f32 {ms['f32']:.3f} ms, bf16 {ms['bf16']:.3f} ms, {ratios[-1]:.3f}; "
                  f"processor {cpu['f32']:.3f} s, {cpu['bf16']:.3f} s, {cpu_ratios[-1]:.3f}",
                  file=sys.stderr, flush=True)
    for what, values in (("time", ratios), ("processor time", cpu_ratios)):
        median, low, high = interval(values)
        print(f"{o.net}, batch {o.batch}, {what}: bf16 / f32 {median:.2f} [{low:.2f}, {high:.2f}], n = {o.rounds}")
    for part in ("activations", "workspace"):
        print(f"{part}: f32 {memory['f32'][part] / 2 ** 20:.1f} MiB, bf16 {memory['bf16'][part] / 2 ** 20:.1f} MiB")


if __name__ == "__main__":
    main()
