#!/usr/bin/env python3
"""Distillation of a teacher into a student, as one command; of lenet5 into lenet5-student with the
one-factor ablations that a study lacks (NETS.md C8, rows 17 to 21):

    python3 results/experiments/distill.py --hone ./hone --out results/experiments/distill
    python3 results/experiments/distill.py --hone ./hone --teacher resnet56:option=B --student resnet56:n=6,option=B --data cifar10 --batch 64 --lr 0.003 --out resnet

Rounds run teacher, student with teacher, student alone and the one-factor ablations one after the
other, each with the round's seed; a ratio is taken within a round, so that a machine that slows
down slows both sides, and tables show medians over rounds.  Writes OUT.md, and OUT.csv with a row a
run.  Needs Python alone.
"""
import argparse
import csv
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

TEACHER, STUDENT = "lenet5", "lenet5-student"
SMALLER = "resnet56:n=6,option=B"
# The study, by teacher and student: epochs: (seconds of training, accuracy, seconds of inference) of the three rows.
STUDY = {
    (TEACHER, STUDENT): {
        10: [(449.977, 0.9831, 1.9012), (191.255, 0.9787, 0.4047), (84.828, 0.9801, 0.4379)],
        50: [(2310.531, 0.9886, 1.8877), (933.906, 0.9871, 0.4124), (410.348, 0.9864, 0.4155)],
    },
    ("resnet56:option=B", SMALLER): {   # seconds of the last epoch
        10: [(1210.70, 0.6184, 23.93), (934.38, 0.583, 17.20), (879.68, 0.6266, 18.69)],
    },
    ("resnet152", SMALLER): {           # on a GPU; of the student one row
        10: [(447.64, None, 8.215), (196.06, None, 2.775)],
    },
}
ROWS = ["teacher", "student with teacher", "student alone"]
FIELDS = ["round", "what", "net", "activation", "dtype", "seed", "epochs", "seconds",
          "seconds_without_teacher", "cache_seconds", "cpu_seconds", "images_per_s", "test_accuracy", "test_loss",
          "inference_seconds", "command"]


def cpu_seconds():
    """Of all programs that ended: other users of the machine change it less than they change a clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    def __init__(self, options):
        self.o, self.runs, self.commands = options, [], {}
        help_text = subprocess.run([options.hone, "evaluate", "--help"], capture_output=True, text=True)
        self.evaluates = {"f32"} | ({"f64"} if "--dtype" in help_text.stdout else set())

    def hone(self, *arguments):
        command = [self.o.hone, *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{shlex.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)

    def common(self, dtype):
        return ["--data", self.o.data, "--batch", str(self.o.batch), *self.o.kernels,
                *(["--dtype", dtype] if dtype != "f32" else [])]

    def taught(self):
        return self.o.teacher, self.o.student

    def inference(self, net, dtype, weights):
        """Seconds of a pass over the test rows, forward steps alone; of some passes the median."""
        if dtype not in self.evaluates:
            return None
        passes = [self.hone("evaluate", "--net", net, "--weights", weights, *self.common(dtype))
                  for _ in range(self.o.passes)]
        return statistics.median(told["rows"] / told["rows_per_s"] for told in passes)

    def train(self, turn, what, net, activation, dtype, weights, *more):
        seed = turn + 1
        name = f"{net}:activation={activation}" if activation else net
        arguments = ["train", "--net", name, "--epochs", str(self.o.epochs), "--optimizer", "sgd",
                     "--lr", str(self.o.lr), "--seed", str(seed), *self.common(dtype), *more,
                     *(["--momentum", str(self.o.momentum)] if self.o.momentum else []),
                     *(["--limit", str(self.o.limit)] if self.o.limit else []),
                     "--save", weights]
        before = cpu_seconds()
        told = self.hone(*arguments)
        cpu = cpu_seconds() - before
        seconds = sum(e["seconds"] for e in told["epochs"])
        teacher, last = told["teacher"] or {}, told["epochs"][-1]
        run = {
            "round": turn + 1, "what": what, "net": told["net"],
            "activation": activation or {TEACHER: "gelu_tanh"}.get(net, "relu"), "dtype": dtype,
            "seed": seed, "epochs": self.o.epochs,
            "seconds": teacher.get("seconds_with_teacher", seconds),
            "seconds_without_teacher": teacher.get("seconds_without_teacher", seconds),
            "cache_seconds": teacher.get("cache_seconds", 0),
            "cpu_seconds": cpu,
            "images_per_s": len(told["epochs"]) * last["images_per_s"] * last["seconds"] / seconds,
            "test_accuracy": last["test_accuracy"], "test_loss": last["test_loss"],
            "inference_seconds": self.inference(name, dtype, weights),
            "command": "hone " + " ".join(shlex.quote(os.path.basename(a)) if os.path.isabs(a)
                                          else shlex.quote(a) for a in arguments),
        }
        self.runs.append(run)
        self.commands.setdefault(what, run["command"])
        inference = run["inference_seconds"]
        print(f"round {turn + 1}: {what:26} {run['seconds']:8.2f} s, accuracy {run['test_accuracy']:.4f}"
              f", inference {f'{inference:.3f} s' if inference else '-'}", file=sys.stderr, flush=True)

    def round(self, turn, folder):
        """The three rows first; of the ablations, what is not among them already."""
        w = os.path.join(folder, "teacher.safetensors")
        other = os.path.join(folder, "other.safetensors")
        teacher, student = self.taught()
        teach = ["--teacher", teacher, "--teacher-weights", w, "--temperature", "1", "--mix", "1"]
        self.train(turn, ROWS[0], teacher, None, "f32", w)
        self.train(turn, ROWS[1], student, None, "f32", other, *teach)
        self.train(turn, ROWS[2], student, None, "f32", other)
        self.train(turn, "student, logits kept", student, None, "f32", other, *teach, "--teacher-cache")
        if self.taught() != (TEACHER, STUDENT):
            return
        for dtype in self.o.dtypes:
            for net in TEACHER, STUDENT:
                for activation in "gelu_tanh", "relu":
                    own = {TEACHER: "gelu_tanh", STUDENT: "relu"}[net] == activation
                    if own and dtype == "f32":
                        continue
                    self.train(turn, f"{net} {activation} {dtype}", net, None if own else activation,
                               dtype, other)

    # ---- what the runs say ----

    def cell(self, net, activation, dtype):
        """Runs of a net alone, one a round."""
        return [r for r in self.runs if r["net"].split(":")[0] == net and r["activation"] == activation
                and r["dtype"] == dtype and not r["what"].startswith("student, ") and r["what"] != ROWS[1]]

    def of(self, what):
        return [r for r in self.runs if r["what"] == what]


def median(runs, key):
    values = [r[key] for r in runs if r[key] is not None]
    return statistics.median(values) if values else None


def ratio(above, below, key="seconds"):
    """Median, least and largest of the rounds' ratios."""
    pairs = [a[key] / b[key] for a, b in zip(above, below) if a[key] and b[key]]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def text(value, digits=2, unit=""):
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def ratio_text(r):
    return "-" if r is None else f"{r[0]:.2f} ({r[1]:.2f} to {r[2]:.2f})"


def spread(runs, key):
    values = [r[key] for r in runs]
    return f"{min(values):.4f} to {max(values):.4f}" if len(values) > 1 else "-"


def table(f, heads, rows):
    f.write("| " + " | ".join(heads) + " |\n| --- |" + " ---: |" * (len(heads) - 1) + "\n")
    for row in rows:
        f.write("| " + " | ".join(row) + " |\n")
    f.write("\n")


def write_three(f, b):
    """Teacher, student with teacher, student alone; how many times faster than the teacher."""
    study = STUDY.get(b.taught(), {})
    study = study.get(b.o.epochs, study.get(10, []))
    first, rows = b.of(ROWS[0]), []
    for i, what in enumerate([*ROWS, "student, logits kept"]):
        runs = b.of(what)
        rows.append([
            what, text(median(runs, "seconds")), text(median(runs, "seconds_without_teacher")),
            ratio_text(ratio(first, runs)) if i else "1",
            ratio_text(ratio(first, runs, "cpu_seconds")) if i else "1",
            text(median(runs, "test_accuracy"), 4), spread(runs, "test_accuracy"),
            text(median(runs, "inference_seconds"), 3),
            ratio_text(ratio(first, runs, "inference_seconds")) if i else "1"])
    table(f, ["net", "seconds", "of these without the teacher", "teacher's / its seconds",
              "of CPU seconds", "accuracy", "least to largest", "inference, s", "teacher's / its inference"], rows)
    if study:
        f.write("The study's, on a machine of its own:\n\n")
        table(f, ["net", "seconds", "teacher's / its seconds", "accuracy", "inference, s",
                  "teacher's / its inference"],
              [[what, f"{s[0]:.3f}", f"{study[0][0] / s[0]:.2f}", text(s[1], 4), f"{s[2]:.4f}",
                f"{study[0][2] / s[2]:.2f}"] for what, s in zip(ROWS, study)])
    with_, alone = b.of(ROWS[1]), b.of(ROWS[2])
    times = ratio(with_, alone)
    theirs = f" (the study: {study[1][0] / study[2][0]:.2f})" if len(study) > 2 else ""
    f.write(f"With the teacher inside, the student takes {ratio_text(times)} times its seconds alone{theirs}; "
            f"the teacher's own are "
            f"{100 - 100 * median(with_, 'seconds_without_teacher') / median(with_, 'seconds'):.0f} % of "
            f"them. Kept logits cost {median(b.of('student, logits kept'), 'cache_seconds'):.2f} s once.\n\n")


def write_ablations(f, b):
    f.write("The study changes precision, activation and filters at once. One factor at a time, all else "
            "equal; above 1: the first is slower.\n\n")
    rows = []

    def factor(name, above, below):
        if above and below:
            rows.append([name, ratio_text(ratio(above, below)),
                         ratio_text(ratio(above, below, "cpu_seconds")),
                         ratio_text(ratio(above, below, "inference_seconds")),
                         f"{text(median(above, 'test_accuracy'), 4)}, {text(median(below, 'test_accuracy'), 4)}"])

    for dtype in ["f32", *(d for d in b.o.dtypes if d != "f32")]:
        for net in TEACHER, STUDENT:
            factor(f"gelu / relu ({net}, {dtype})", b.cell(net, "gelu_tanh", dtype), b.cell(net, "relu", dtype))
        for activation in "gelu_tanh", "relu":
            factor(f"filters: {TEACHER} / {STUDENT} ({activation}, {dtype})",
                   b.cell(TEACHER, activation, dtype), b.cell(STUDENT, activation, dtype))
    for net in TEACHER, STUDENT:
        for activation in "gelu_tanh", "relu":
            factor(f"f64 / f32 ({net}, {activation})", b.cell(net, activation, "f64"),
                   b.cell(net, activation, "f32"))
    if "f64" in b.o.dtypes:
        factor("all three, as the study", b.cell(TEACHER, "gelu_tanh", "f64"), b.cell(STUDENT, "relu", "f32"))
    table(f, ["factor", "ratio of seconds", "of CPU seconds", "of inference", "accuracies"], rows)
    f.write("GELU is its tanh form. MACs of the nets are 416,520 and 129,300: 3.22 times as many.\n\n")


def write_csv(path, b):
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
        writer.writeheader()
        for run in b.runs:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in run.items()})


def device():
    if not os.path.exists("/proc/cpuinfo"):
        return platform.processor()
    with open("/proc/cpuinfo") as f:
        return next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), platform.processor())


def write_md(path, b, argv, rounds, started):
    o = b.o
    with open(path, "w") as f:
        f.write(f"# Distillation: {o.teacher} into {o.student}\n\n"
                f"`{argv}`\n\n"
                f"{time.strftime('%Y-%m-%d')}, {device()}, {os.cpu_count()} cores, {os.path.basename(o.data)}, {o.limit or 'all'} rows, {o.epochs} epochs, "
                f"batch {o.batch}, SGD {o.lr}, momentum {o.momentum}, temperature 1, mix 1, seeds 1 to {rounds}; n = {rounds} "
                f"rounds, medians, in brackets the least and the largest round. {o.remark}\n"
                f"Load average at the start {started[0]:.1f}, at the end {os.getloadavg()[0]:.1f}. Inference: "
                f"the forward steps of a pass over the test rows, the median of {o.passes}. No evaluation is in the seconds of "
                "training; CPU seconds are the whole program's: reading data, training, evaluating.\n\n")
        write_three(f, b)
        if b.taught() == (TEACHER, STUDENT):
            f.write("## One factor at a time\n\n")
            write_ablations(f, b)
        f.write(f"## Commands\n\nOf the first round; `{os.path.basename(o.out)}.csv` has all runs.\n\n")
        for what, command in b.commands.items():
            f.write(f"    {command}\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", default="hone", help="the program (default hone)")
    p.add_argument("--out", default="distill", help="writes OUT.md and OUT.csv (default distill)")
    p.add_argument("--teacher", default=TEACHER, metavar="NET")
    p.add_argument("--student", default=STUDENT, metavar="NET")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=10, help="10 or 50 in the study (default 10)")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--lr", type=float, default=0.1)
    p.add_argument("--momentum", type=float, default=0.0)
    p.add_argument("--limit", type=int, metavar="ROWS", help="train on the first ROWS rows (default all)")
    p.add_argument("--data", default="mnist")
    p.add_argument("--passes", type=int, default=5, help="of inference, for a median (default 5)")
    p.add_argument("--dtypes", default="f32", help="of the ablations: f32 or f32,f64 (default f32)")
    p.add_argument("--tuned", action="store_true", help="plans of the database, not the default kernels")
    p.add_argument("--remark", default="", help="of the machine, for the report")
    o = p.parse_args()
    o.dtypes = o.dtypes.split(",")
    o.kernels = [] if o.tuned else ["--untuned"]
    b, started = Bench(o), os.getloadavg()
    # The remark stands in the report anyway.
    arguments = [a for a, before in zip(sys.argv[1:], ["", *sys.argv[1:]]) if "--remark" not in (a, before)]
    given = [os.path.basename(a) if os.path.isabs(a) else a for a in arguments]
    threads = [f"{k}={os.environ[k]} " for k in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if k in os.environ]
    argv = "".join(threads) + "python3 results/experiments/distill.py " + shlex.join(given)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(o.rounds):
            b.round(turn, folder)
            write_csv(o.out + ".csv", b)
            write_md(o.out + ".md", b, argv, turn + 1, started)


if __name__ == "__main__":
    main()
