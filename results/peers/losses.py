#!/usr/bin/env python3
"""The first training losses of Hone and of PyTorch, from the same weights, on the same batches.

    python3 results/peers/losses.py --hone ./hone --net resnet56 --data cifar-10-batches-bin
    python3 results/peers/losses.py --hone ./hone --net mobilenetv1-cifar --lr 0.02 --momentum 0.9 --data cifar-10-batches-bin
    python3 results/peers/losses.py --hone ./hone --net mobilenetv1-cifar --lr 0.02 --momentum 0.9 --f64 --data cifar-10-batches-bin

Hone writes its first weights (a run at rate 0 and --save), then trains for --steps steps; PyTorch
reads them and takes the same rows in the same order.  Both columns and their relative difference
are printed; the exit status is 1 where one is above --tolerance.  The last column is PyTorch
against itself with first weights that differ by about a rounding: deep nets at high rates multiply
that many times a step, and no two implementations in floats agree there; with --f64 both compute
in doubles, whose roundings have not grown much after 20 steps.  Needs torch and a folder with
CIFAR-10's data_batch_1.bin, or the same .xz.
"""
import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

MASK = (1 << 64) - 1


def hone_random(seed, i):
    """hone_random() of kernels/kernel.h."""
    z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def order_of_epoch(n, seed, epoch):
    """hone_data_shuffle() of nets/data_rows.c."""
    key, order = hone_random(seed, epoch), list(range(n))
    for i in range(n - 1, 0, -1):
        j = hone_random(key, i) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def raw_rows(folder, rows):
    """The first rows of the training set as the file has them."""
    path = os.path.join(folder, "data_batch_1.bin")
    opener = open if os.path.exists(path) else lzma.open
    with opener(path if opener is open else path + ".xz", "rb") as f:
        raw = f.read(3073 * rows)
    if len(raw) < 3073 * rows:
        sys.exit(f"{path}: fewer than {rows} rows")
    return raw


def first_rows(raw, dtype):
    """(rows, 3, 32, 32) of mean 0 and deviation 1 in each channel, floats whatever the net computes in, and labels."""
    raw = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
    rows = len(raw)
    x = (raw[:, 1:].reshape(rows, 3, 32, 32).astype(np.float32) / np.float32(255)).astype(np.float64)
    x = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    return torch.tensor(x.astype(np.float32).astype(dtype)), torch.tensor(raw[:, 0].astype(np.int64))


def read_weights(path):
    """The trainable tensors of a safetensors file, in PyTorch's layouts."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    weights = {}
    for name, entry in header.items():
        if name == "__metadata__" or name.endswith((".mean", ".var")):
            continue
        begin, end = entry["data_offsets"]
        dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        w = torch.tensor(np.frombuffer(data[begin:end], dtype).reshape(entry["shape"]).copy())
        if w.dim() == 4:  # (oc, kh, kw, ic)
            w = w.permute(0, 3, 1, 2).contiguous()
        if w.dim() == 2:  # (in, out)
            w = w.t().contiguous()
        weights[name] = w
    return weights


# ---- the nets, as functions of weights by Hone's names ----

def conv(w, name, x, **how):
    return F.conv2d(x, w[name + ".w"], w.get(name + ".bias"), **how)


def bnorm(w, name, x):
    return F.batch_norm(x, None, None, w[name + ".gamma"], w[name + ".beta"], training=True, eps=1e-5)


def resnet(w, x, params):
    y = F.relu(bnorm(w, "b0", conv(w, "c0", x, padding=1)))
    for j in range(1, 3 * int(params["n"]) + 1):
        stride = 2 if j > 1 and (j - 1) % int(params["n"]) == 0 else 1
        z = F.relu(bnorm(w, f"b{j}a", conv(w, f"c{j}a", y, stride=stride, padding=1)))
        z = bnorm(w, f"b{j}b", conv(w, f"c{j}b", z, padding=1))
        if stride == 2 and params["option"] == "A":
            half = (z.shape[1] - y.shape[1]) // 2
            y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, half, z.shape[1] - y.shape[1] - half))
        elif stride == 2:
            y = bnorm(w, f"r{j}", conv(w, f"p{j}", y, stride=2))
        y = F.relu(z + y)
    return F.linear(y.mean((2, 3)), w["f.w"], w["f.bias"])


def mobilenet(w, x, params):
    def padded(x, stride):  # TensorFlow's `same`: with stride 2 on an even size, behind only
        return F.pad(x, (0, 1, 0, 1) if stride == 2 and x.shape[2] % 2 == 0 and params["padding"] == "same"
                     else (1, 1, 1, 1))

    stride = int(params["stride"])
    y = F.relu6(bnorm(w, "b0", conv(w, "c0", padded(x, stride), stride=stride)))
    for i, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], 1):
        y = conv(w, f"d{i}", padded(y, stride), stride=stride, groups=y.shape[1])
        y = F.relu6(bnorm(w, f"e{i}", y))
        y = F.relu6(bnorm(w, f"b{i}", conv(w, f"c{i}", y)))
    return conv(w, "c", y.mean((2, 3), keepdim=True)).flatten(1)


NETS = {"resnet56": resnet, "mobilenetv1": mobilenet, "mobilenetv1-cifar": mobilenet}


def hone(args, data, *more):
    command = [args.hone, "train", "--net", args.full, "--data", data, "--batch", str(args.batch), "--seed", str(args.seed),
               "--optimizer", "sgd", "--epochs", "1", "--json"]
    command += ["--dtype", "f64"] if args.f64 else []
    command += ["--momentum", str(args.momentum)] if args.momentum else []
    command += ["--weight-decay", str(args.weight_decay)] if args.weight_decay else []
    out = subprocess.run(command + list(more), capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{' '.join(command)}: {out.stderr}")
    return json.loads(out.stdout)


def torch_losses(args, raw, weights, params):
    w = {name: t.clone().requires_grad_() for name, t in weights.items()}
    x, label = first_rows(raw, np.float64 if args.f64 else np.float32)
    order = torch.tensor(order_of_epoch(args.steps * args.batch, args.seed, 1))
    opt = torch.optim.SGD(w.values(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    losses = []
    for rows in order.split(args.batch):
        opt.zero_grad()
        loss = F.cross_entropy(NETS[args.net](w, x[rows], params), label[rows])
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", default="./hone", help="the program (default ./hone)")
    p.add_argument("--net", default="resnet56", help="of " + ", ".join(NETS) + ", with parameters: resnet56:n=3")
    p.add_argument("--data", required=True, help="folder of CIFAR-10's binary files")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=0.003)
    p.add_argument("--momentum", type=float, default=0)
    p.add_argument("--weight-decay", type=float, default=0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--tolerance", type=float, default=1e-3)
    p.add_argument("--f64", action="store_true", help="both in doubles")
    args = p.parse_args()
    args.net, _, given = args.net.partition(":")
    if args.net not in NETS:
        sys.exit(f"no net '{args.net}'; there are {', '.join(NETS)}")
    if args.net.startswith("mobilenet"):  # the two would not drop the same numbers
        given = ",".join([s for s in given.split(",") if s and not s.startswith("dropout")] + ["dropout=0"])
    args.full = args.net + (":" + given if given else "")

    with tempfile.TemporaryDirectory() as folder:
        path, data = os.path.join(folder, "first.safetensors"), os.path.join(folder, "data")
        raw = raw_rows(args.data, args.steps * args.batch)
        os.mkdir(data)  # a set of no more rows than are trained on
        for name, size in ("data_batch_1.bin", len(raw)), ("test_batch.bin", 3073 * 10):
            with open(os.path.join(data, name), "wb") as f:
                f.write(raw[:size])
        shown = json.loads(subprocess.run([args.hone, "net", args.full, "--json"], check=True, capture_output=True,
                                          text=True).stdout)
        params = dict(word.split("=") for word in shown["params"].split())
        hone(args, data, "--lr", "0", "--save", path)
        weights = read_weights(path)
        ours = hone(args, data, "--lr", str(args.lr), "--losses", str(args.steps))["losses"]
    theirs = torch_losses(args, raw, weights, params)
    torch.manual_seed(1)
    eps = 1.1e-16 if args.f64 else 6e-8
    moved = torch_losses(args, raw, {name: t * (1 + eps * torch.randn_like(t)) for name, t in weights.items()}, params)
    worst = 0
    print(f"{args.full}, batch {args.batch}, SGD, rate {args.lr:g}, momentum {args.momentum:g}, decay "
          f"{args.weight_decay:g}, seed {args.seed}; PyTorch {torch.__version__}{', f64' if args.f64 else ''}")
    print(f"{'step':>4} {'Hone':>12} {'PyTorch':>12} {'difference':>11} {'sensitivity':>11}")
    for step, (a, b, c) in enumerate(zip(ours, theirs, moved)):
        worst = max(worst, abs(a - b) / abs(b))
        print(f"{step:4} {a:12.8f} {b:12.8f} {(a - b) / b:11.1e} {(c - b) / b:11.1e}")
    verdict = len(ours) == len(theirs) == args.steps and worst <= args.tolerance
    print(f"largest difference {worst:.1e}: {'within' if verdict else 'beyond'} {args.tolerance:g}")
    sys.exit(0 if verdict else 1)


if __name__ == "__main__":
    main()
