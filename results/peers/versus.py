#!/usr/bin/env python3
"""Hone against PyTorch: the same net's training step, in turn, in one run.

    python3 results/peers/versus.py --hone ./hone --net lenet5 --batch 64 --rounds 7

Each round times PyTorch (median of --steps steps, in every mode asked for) and Hone (`hone profile`'s
untraced step, same number of steps); the ratio is taken round by round, so that a machine that
slows down slows both.  Inputs are random and already in memory for both.  Needs torch.
"""
import argparse
import json
import statistics
import subprocess
import time

import torch
from torch import nn

GELU = lambda: nn.GELU(approximate="tanh")
NETS = {  # net: (layers, sample shape, outputs or classes, loss, optimizer)
    "lenet5": (
        lambda: [nn.Conv2d(1, 6, 5, padding=2), GELU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), GELU(),
                 nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), GELU(), nn.Linear(120, 84), GELU(),
                 nn.Linear(84, 10)], (1, 28, 28), 10, "ce", "sgd"),
    "lenet5-student": (
        lambda: [nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 8, 5), nn.ReLU(),
                 nn.AvgPool2d(2), nn.Flatten(), nn.Linear(200, 50), nn.ReLU(), nn.Linear(50, 10)],
        (1, 28, 28), 10, "ce", "sgd"),
    "mnist-cnn": (
        lambda: [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                 nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
                 nn.Linear(128, 10)], (1, 28, 28), 10, "ce", "sgd"),
    "letter-mlp": (
        lambda: [nn.Linear(16, 50), nn.ReLU(), nn.Linear(50, 22), nn.ReLU(), nn.Linear(22, 26)],
        (16,), 26, "ce", "sgd"),
    "housing-mlp": (
        lambda: [nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 1)], (8,), 1, "mse", "adam"),
}


def torch_stepper(name, batch, mode):
    layers, shape, outputs, loss_name, optimizer = NETS[name]
    torch.manual_seed(1)
    net = nn.Sequential(*layers())
    x = torch.rand(batch, *shape)
    if "channels_last" in mode and len(shape) == 3:
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    if loss_name == "ce":
        loss_of, y = nn.CrossEntropyLoss(), torch.randint(0, outputs, (batch,))
    else:
        loss_of, y = nn.MSELoss(), torch.rand(batch, outputs)
    opt = torch.optim.SGD(net.parameters(), lr=1e-3) if optimizer == "sgd" else torch.optim.Adam(net.parameters(), lr=1e-3)
    forward = torch.compile(net) if "compile" in mode else net

    def step():
        opt.zero_grad()
        loss_of(forward(x), y).backward()
        opt.step()

    return step


def torch_ms(step, steps):
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def hone_ms(args):
    out = subprocess.run([args.hone, "profile", "--net", args.net, "--batch", str(args.batch), "--optimizer",
                          NETS[args.net][4], "--rounds", str(args.steps), "--json"] + (["--db", args.db] if args.db else []),
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["step_ms"]["median"]


def spread(values):
    return f"{statistics.median(values):9.4f} [{min(values):.4f} {max(values):.4f}]"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", default="./hone", help="the program (default ./hone)")
    p.add_argument("--db", help="Hone's database (default: its own)")
    p.add_argument("--net", default="lenet5", choices=sorted(NETS))
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--steps", type=int, default=101, help="steps per round behind a median")
    p.add_argument("--modes", default="eager,channels_last", help="of eager, channels_last, compile, compile+channels_last")
    p.add_argument("--threads", default="1,2", help="PyTorch's numbers of threads")
    args = p.parse_args()

    ways = [(mode, int(t)) for mode in args.modes.split(",") for t in args.threads.split(",")]
    steppers = {mode: torch_stepper(args.net, args.batch, mode) for mode in args.modes.split(",")}
    for mode, threads in ways:  # compilation and first touches are not counted
        torch.set_num_threads(threads)
        torch_ms(steppers[mode], 10)
    hone, peer = [], {way: [] for way in ways}
    for _ in range(args.rounds):
        hone.append(hone_ms(args))
        for mode, threads in ways:
            torch.set_num_threads(threads)
            peer[mode, threads].append(torch_ms(steppers[mode], args.steps))

    print(f"{args.net}, batch {args.batch}, PyTorch {torch.__version__}, {args.rounds} rounds in turn, "
          f"medians of {args.steps} steps; [least greatest] of the rounds")
    print(f"{'':32} {'ms per step':>27} {'samples/s':>10}   PyTorch / Hone")
    print(f"{'Hone':32} {spread(hone):>27} {1e3 * args.batch / statistics.median(hone):10.0f}")
    for way in ways:
        ratios = [b / a for a, b in zip(hone, peer[way])]
        print(f"{f'PyTorch {way[0]}, {way[1]} threads':32} {spread(peer[way]):>27} "
              f"{1e3 * args.batch / statistics.median(peer[way]):10.0f}   {spread(ratios)}")
    best = min(ways, key=lambda way: statistics.median(peer[way]))
    ratios = [b / a for a, b in zip(hone, peer[best])]
    print(f"against PyTorch's best way ({best[0]}, {best[1]} threads): {spread(ratios).strip()} times")


if __name__ == "__main__":
    main()
