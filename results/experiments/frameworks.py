#!/usr/bin/env python3
"""Four data sets, four nets, 70/30 split and 10-fold cross-validation on a CPU, as a study of three
frameworks ran them (NETS.md C8, rows 5, 6 and 9), as one command:

    python3 results/experiments/frameworks.py --hone ./hone --out frameworks

Rows of training and test are merged, 70 % of them train; or ten folds.  Writes OUT.md and OUT.csv,
with the study's numbers (TensorFlow, Theano, PyTorch; mobile processor of four cores) beside ours.
--epochs, --folds and --limit cut it to what a machine can do; the report says so.
"""
import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

# Net, data, epochs and optimizer of the study; its seconds of 70/30 and of ten folds, its accuracies
# of both in per cent, each of TensorFlow, Theano and PyTorch.
STUDY = [
    ("mnist-cnn", "mnist", 12, "--optimizer adadelta --lr 1", (1005.69, 1928.22, 1281.81), (12089.98, 12405.71, 23848.42),
     (81.26, 98.96, 98.61), (82.56, 83.86, 98.97)),
    ("cifar10-cnn", "cifar10", 12, "--optimizer rmsprop --lr 0.0001 --decay 1e-6", (1480.35, 3112.23, 1524.95),
     (15902.45, 19150.98, 27867.25), (57.63, 57.27, 48.75), (61.72, 62.95, 62.70)),
    ("cifar100-cnn", "cifar100", 12, "--optimizer sgd --lr 0.01 --decay 1e-6 --momentum 0.9 --nesterov",
     (1551.61, 74422.85, 1890.53), (17127.30, 457762.47, 32609.92), (39.54, 44.21, 36.34), (39.52, 46.13, 43.92)),
    ("letter-mlp", "letter", 300, "--optimizer sgd --lr 0.001 --decay 1e-7", (90.88, 108.85, 154.82),
     (1551.61, 1071.60, 2019.43), (3.2, 3.68, 48.82), (69.25, 67.60, 66.55)),
]
FIELDS = ["net", "protocol", "epochs", "runs", "seconds_per_epoch", "rows_per_s", "seconds", "accuracy", "deviation",
          "steps_tuned", "steps", "command"]


def hone(o, *arguments):
    command = [o.hone, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)}\n{done.stderr}")
    return done.stdout


def row(told, protocol, epochs, wall, command):
    runs = told["runs"] if protocol == "folds" else [told]
    lines = told["epochs"] if protocol == "split" else []
    accuracy = told["mean"]["test_accuracy"] if protocol == "folds" else lines[-1]["test_accuracy"]
    each = [e["seconds"] for e in lines] or [r["seconds"] / epochs for r in runs]
    return {
        "net": told["net"], "protocol": protocol, "epochs": epochs, "runs": len(runs),
        "seconds_per_epoch": statistics.median(each),
        "rows_per_s": statistics.median(e["images_per_s"] for e in lines) if lines else None,
        "seconds": wall, "accuracy": accuracy,
        "deviation": told["deviation"]["test_accuracy"] if protocol == "folds" else None,
        "steps_tuned": told["steps_tuned"], "steps": told["steps"], "command": command,
    }


def run(o, study, protocol, epochs):
    net, data, _, optimizer = study[:4]
    arguments = ["train", "--net", net, "--data", o.data.get(data, data), *optimizer.split(), "--batch", "128",
                 "--epochs", str(epochs), *(["--split", "0.7"] if protocol == "split" else ["--folds", str(o.folds)]),
                 *(["--limit", str(o.limit)] if o.limit else [])]
    before = time.monotonic()
    told = json.loads(hone(o, *arguments, "--json"))
    wall = time.monotonic() - before
    shown = [os.path.basename(a) if os.path.isabs(a) else a for a in arguments]
    got = row(told, protocol, epochs, wall, "hone " + shlex.join(shown))
    print(f"{net}, {protocol}: {wall:.1f} s, accuracy {got['accuracy']:.4f}", file=sys.stderr, flush=True)
    return got


def three(values, digits):
    return " / ".join(f"{v:.{digits}f}" for v in values)


def write(o, argv, rows, loads):
    with open(o.out + ".csv", "w", newline="") as f:
        writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
        writer.writeheader()
        for r in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in r.items()})
    with open(o.out + ".md", "w") as f:
        f.write("# Four nets, 70/30 and cross-validation\n\n"
                f"`{argv}`\n\n{time.strftime('%Y-%m-%d')}, {o.device}, tuned for {o.tune} a net; load average {loads[0]:.1f} "
                f"at the start, {loads[1]:.1f} at the end. One run each, seed 1. {o.remark}\n\n"
                "Seconds an epoch are of training alone; the study's are its whole run, with evaluation, over its epochs. "
                "Study: TensorFlow / Theano / PyTorch on its own processor.\n\n"
                "| net | protocol | epochs | seconds an epoch | rows/s | the run, s | accuracy | study: s an epoch | accuracy |\n"
                "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
        for r in rows:
            study = next(s for s in STUDY if s[0] == r["net"])
            folds = r["protocol"] == "folds"
            spread = f" ± {r['deviation']:.4f}" if folds else ""
            speed = f"{r['rows_per_s']:.0f}" if r["rows_per_s"] else "-"
            whole = [s / study[2] / (10 if folds else 1) for s in (study[5] if folds else study[4])]
            name = f"{r['runs']} folds" if folds else "70/30"
            f.write(f"| {r['net']} | {name} | {r['epochs']} of {study[2]} | {r['seconds_per_epoch']:.3g} | {speed} | "
                    f"{r['seconds']:.1f} | {r['accuracy']:.4f}{spread} | {three(whole, 1)} | "
                    f"{three([a / 100 for a in (study[7] if folds else study[6])], 3)} |\n")
        f.write("\nCommands:\n\n" + "".join(f"    {r['command']}\n" for r in rows))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", default="hone", help="the program (default hone)")
    p.add_argument("--out", default="frameworks", help="writes OUT.md and OUT.csv (default frameworks)")
    p.add_argument("--nets", default=",".join(s[0] for s in STUDY), help="default all four")
    p.add_argument("--epochs", default="300", help="at most so many, or a number for each net, as 2,2,2,300 (default "
                   "the study's: 12, and 300 of letter-mlp)")
    p.add_argument("--folds", type=int, default=10, help="0: no cross-validation (default 10)")
    p.add_argument("--no-split", action="store_true", help="cross-validation alone")
    p.add_argument("--limit", type=int, metavar="ROWS", help="train on the first ROWS rows (default all)")
    p.add_argument("--data", default=[], action="append", metavar="NAME=PATH", help="where a set lies, as cifar10=DIR")
    p.add_argument("--tune", default="30s", help="before each net (default 30s; 0: none)")
    p.add_argument("--remark", default="", help="for the report")
    o = p.parse_args()
    o.data = dict(d.split("=", 1) for d in o.data)
    o.device = next((l.split(":", 1)[1].strip() for l in hone(o, "devices").splitlines() if l.startswith("cpu0")), "?")
    arguments = [a for a, before in zip(sys.argv[1:], ["", *sys.argv[1:]]) if "--remark" not in (a, before)]
    given = ["=".join(os.path.basename(part) if os.path.isabs(part) else part for part in a.split("=")) for a in arguments]
    argv = "python3 results/experiments/frameworks.py " + shlex.join(given)
    rows, start = [], os.getloadavg()[0]
    nets, most = o.nets.split(","), [int(e) for e in o.epochs.split(",")]
    for study in STUDY:
        if study[0] not in nets:
            continue
        epochs = min(study[2], most[nets.index(study[0])] if len(most) > 1 else most[0])
        if o.tune != "0":
            words = study[3].split()
            optimizer = words[1] + "".join("+" + w[2:] for w in words if w in ("--momentum", "--nesterov"))
            hone(o, "autotune", "--net", study[0], "--batch", "128", "--optimizer", optimizer, "--budget", o.tune)
        for protocol in [*([] if o.no_split else ["split"]), *(["folds"] if o.folds else [])]:
            rows.append(run(o, study, protocol, epochs))
            write(o, argv, rows, (start, os.getloadavg()[0]))


if __name__ == "__main__":
    main()
