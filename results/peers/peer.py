"""What the peers of `hone compare` share: the job, the net, its weights and batches, and the talk.

A peer is a program peer_NAME.py.  It prints "modes A B ..." (C@cuda: a mode that is for GPUs alone)
and reads "job FILE", JSON that says what to train and how; then it answers, a line for a line:

    ready NAME VERSION             the net is built
    losses K   ->  losses S L...   the first K steps: seconds of the very first, a loss for each
    steps N    ->  seconds T...    N more steps, the time of each
    memory     ->  memory B P      bytes held before the net was built, and at most
    fail WHY                       in place of any answer, and the end

Who answers is the process that trains: in its memory hone looks for the library of --malloc.

The net comes as `hone net --json` prints it, layer by layer, so that any net of any text is built
the same way in every framework; the walk over its layers is here, what a layer does is the peer's.
"""
import importlib.util
import json
import os
import sys
import time


class Missing(Exception):
    """What a user has to hear as it is: there is no such device."""


def is_trained(name):
    """Is it a weight, and no running statistic?"""
    return not name.endswith((".mean", ".var"))


def memory():
    """(resident, of files, most) bytes of this process."""
    kib = {}
    with open("/proc/self/status") as f:
        for line in f:
            key, _, rest = line.partition(":")
            if key in ("VmRSS", "VmHWM", "RssFile"):
                kib[key] = 1024 * int(rest.split()[0])
    return kib["VmRSS"], kib["RssFile"], kib["VmHWM"]


class Job:
    """What to train, and how: layers, optimizer; read() gives weights and batches as numpy's."""

    def __init__(self, path):
        with open(path) as f:
            self.job = json.load(f)
        with open(self.job["net"]) as f:
            self.layers = json.load(f)["layers"]
        self.mode, self.threads, self.seed = self.job["mode"], self.job["threads"], self.job["seed"]
        self.dtype = self.job.get("dtype", "f32")  # or "tf32", "f64", "bf16"
        self.device, self.index = self.job.get("device", "cpu"), self.job.get("index", 0)  # or "cuda"
        self.optimizer, self.nbatches = self.job["optimizer"], self.job["nbatches"]
        self.loss = self.layers[-1]
        self.by_name = {layer["name"]: layer for layer in self.layers}

    def read(self):
        import numpy as np
        return self.read_weights(np, self.job["weights"]), self.read_batches(np, self.job)

    def read_batches(self, np, job):
        """x (n, h, w, c) or (n, c), and labels (n) or values (n, outputs), for each batch."""
        n, (h, w, c) = job["batch"], self.layers[0]["output"]
        classes = self.loss["kind"] == "softmax_ce"
        outputs = self.loss["output"][2]
        row = [h, w, c] if h * w > 1 else [c]
        real = np.float64 if self.dtype == "f64" else np.float32
        batches = []
        with open(job["batches"], "rb") as f:
            for _ in range(job["nbatches"]):
                x = np.fromfile(f, np.float32, n * h * w * c).reshape(n, *row).astype(real, copy=False)
                y = np.fromfile(f, np.int32 if classes else np.float32, n * (1 if classes else outputs))
                batches.append((x, y if classes else y.reshape(n, outputs).astype(real, copy=False)))
        return batches

    @staticmethod
    def read_weights(np, path):
        """Arrays of a safetensors file: conv (oc, kh, kw, ic), fc (in, out)."""
        with open(path, "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
            data = f.read()
        header.pop("__metadata__", None)
        return {name: np.frombuffer(data[e["data_offsets"][0]:e["data_offsets"][1]], {"F32": "<f4", "F64": "<f8"}[e["dtype"]])
                .reshape(e["shape"]).copy() for name, e in header.items()}

    def padding(self, layer):
        """((top, bottom), (left, right)) of a layer; `same` has its smaller half in front."""
        key, (h, w, _) = layer["keys"], self.by_name[layer["inputs"][0]]["output"]
        pads = []
        for size, out, r, p in ((h, layer["output"][0], key["r"], key.get("p", 0)),
                                (w, layer["output"][1], key["kw"], key.get("pw", key.get("p", 0)))):
            reach = (r - 1) * key.get("d", 1) + 1
            total = max(0, (out - 1) * key["stride"] + reach - size) if p < 0 else 2 * p
            pads.append((total // 2, total - total // 2))
        return tuple(pads)


def walk(job, ops):
    """A function of the weights, a batch and its targets that gives the loss.  ops has a function
    for each kind of layer, of the layer, the weights and its inputs; acts are named in ops.acts, and
    ops.wide gives the loss its numbers in floats at least."""
    slot = {layer["name"]: i for i, layer in enumerate(job.layers)}
    plan = []
    for layer in job.layers:
        kind, inputs = layer["kind"], [slot[name] for name in layer["inputs"]]
        if kind in ops.acts:
            act = ops.acts[kind]
            plan.append((lambda w, x, act=act: act(x), inputs))
            continue
        if not hasattr(ops, kind):
            raise NotImplementedError(f"layers of kind {kind} are not written for this peer")
        run, after = getattr(ops, kind)(layer), ops.acts.get(layer["keys"].get("act"))
        plan.append((run if after is None else lambda w, *x, run=run, act=after: act(run(w, *x)), inputs))

    def loss_of(w, x, target):
        y = [x]
        for run, inputs in plan[1:-1]:
            y.append(run(w, *[y[i] for i in inputs]))
        run, inputs = plan[-1]
        return run(w, ops.wide(y[inputs[0]]), target)

    return loss_of


def serve(name, module, modes, build):
    """build(job) gives step, version and memory() as it was when only the library was there: step(i)
    trains on batch i and returns its loss."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not part of the talk

    def say(*words):
        print(*words, file=out, flush=True)

    def fail(why):
        say("fail", " ".join(str(why).split())[:300])
        sys.exit(1)

    if importlib.util.find_spec(module) is None:
        fail(f"{sys.executable} has no module {module}")
    say("modes", *modes)
    words = sys.stdin.readline().split(maxsplit=1)
    if len(words) < 2:
        return
    try:
        job = Job(words[1].strip())
        step, version, before = build(job)
        with open("/proc/self/clear_refs", "w") as f:  # the peak begins anew: reading files is over
            f.write("5")
        say("ready", name, version)
        at = 0
        for line in sys.stdin:
            what, _, number = line.strip().partition(" ")
            times, losses = [], []
            if what == "memory":
                resident, files, most = memory()
                say("memory", before[0] - before[1], most - files)
                continue
            for _ in range(int(number)):
                begin = time.perf_counter()
                loss = step(at % job.nbatches)
                times.append(time.perf_counter() - begin)
                losses.append(float(loss))
                at += 1
            if what == "losses":
                say("losses", f"{times[0]:.9f}", *(f"{loss:.17g}" for loss in losses))
            else:
                say("seconds", *(f"{t:.9f}" for t in times))
    except Missing as error:
        fail(error)
    except Exception as error:  # whatever it is, it is this peer's line in the table
        fail(f"{type(error).__name__}: {error}")
