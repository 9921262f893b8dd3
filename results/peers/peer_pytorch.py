#!/usr/bin/env python3
"""`hone compare --peer pytorch`: a net in PyTorch, eager or by torch.compile, NCHW or channels_last;
on a GPU also with CUDA graphs: `graphs` records the whole step once, `compile+graphs` is
torch.compile's mode "reduce-overhead".  bf16 is autocast's.

The loss is a function of tensors by Hone's names, written with torch.nn.functional as modules are;
the optimizers are torch.optim's, at PyTorch's defaults."""
import peer

MODES = ["eager", "channels_last", "compile", "compile+channels_last", "graphs@cuda", "graphs+channels_last@cuda",
         "compile+graphs@cuda", "compile+graphs+channels_last@cuda"]
WARM_UPS = 3  # steps before a graph is recorded, which choose algorithms and allocate


class Ops:
    def __init__(self, job):
        import torch
        import torch.nn.functional as F
        self.torch, self.F, self.job = torch, F, job
        self.acts = {"relu": F.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "sigmoid": torch.sigmoid,
                     "tanh": torch.tanh, "silu": F.silu, "gelu_erf": F.gelu,
                     "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}

    def wide(self, y):
        return y.float() if y.dtype == self.torch.bfloat16 else y

    # A layer of one pixel is (n, c), any other (n, c, h, w).

    def input(self, layer):
        return None

    def flatten(self, layer):
        return lambda w, x: x.flatten(1)

    def conv(self, layer, groups=None):
        F, key, name = self.F, layer["keys"], layer["name"]
        (top, bottom), (left, right) = self.job.padding(layer)
        even = top == bottom and left == right
        how = dict(stride=key["stride"], dilation=key["d"], groups=groups or key["g"],
                   padding=(top, left) if even else 0)

        def run(w, x):
            x = x if x.dim() == 4 else x[:, :, None, None]
            x = x if even else F.pad(x, (left, right, top, bottom))
            y = F.conv2d(x, w[name + ".w"], w.get(name + ".bias"), **how)
            return y.flatten(1) if layer["output"][:2] == [1, 1] else y
        return run

    def dwconv(self, layer):
        return self.conv(layer, layer["output"][2])

    def fc(self, layer):
        name, F = layer["name"], self.F
        return lambda w, x: F.linear(x, w[name + ".w"], w.get(name + ".bias"))

    def bnorm(self, layer):
        name, F, key = layer["name"], self.F, layer["keys"]
        return lambda w, x: F.batch_norm(x, w[name + ".mean"], w[name + ".var"], w[name + ".gamma"],
                                         w[name + ".beta"], True, key["momentum"], key["eps"])

    def pool(self, layer, run):
        key = layer["keys"]
        flat = layer["output"][:2] == [1, 1]

        def pooled(w, x):
            y = run(x, (key["r"], key["kw"]), key["stride"], key["p"])
            return y.flatten(1) if flat else y
        return pooled

    def maxpool(self, layer):
        return self.pool(layer, self.F.max_pool2d)

    def avgpool(self, layer):
        include = bool(layer["keys"]["include_pad"])
        return self.pool(layer, lambda x, r, s, p: self.F.avg_pool2d(x, r, s, p, count_include_pad=include))

    def gap(self, layer):
        return lambda w, x: x.mean((2, 3)) if x.dim() == 4 else x

    def dropout(self, layer):
        p, F = layer["keys"]["p"], self.F
        return (lambda w, x: F.dropout(x, p)) if p else lambda w, x: x

    def add(self, layer):
        return lambda w, a, b: a + b

    def concat(self, layer):
        return lambda w, *x: self.torch.cat(x, 1)

    def shortcut(self, layer):
        s, more = layer["keys"]["stride"], layer["output"][2] - self.job.by_name[layer["inputs"][0]]["output"][2]
        front = more // 2
        return lambda w, x: self.F.pad(x[:, :, ::s, ::s], (0, 0, 0, 0, front, more - front))

    def softmax_ce(self, layer):
        F, smooth = self.F, layer["keys"]["smooth"]
        return lambda w, x, target: F.cross_entropy(x, target, label_smoothing=smooth)

    def mse(self, layer):
        return lambda w, x, target: self.F.mse_loss(x, target)

    def mae(self, layer):
        return lambda w, x, target: self.F.l1_loss(x, target)

    def huber(self, layer):
        return lambda w, x, target: self.F.huber_loss(x, target, delta=layer["keys"]["delta"])


def tensor_of(job, name, array, torch):
    """A weight in PyTorch's layout; features behind a flattened picture are in PyTorch's order."""
    layer = job.by_name[name.rpartition(".")[0]]
    t = torch.from_numpy(array)
    if t.dim() == 4:
        return t.permute(0, 3, 1, 2).contiguous()
    if t.dim() != 2:
        return t
    before = job.by_name[layer["inputs"][0]]
    while before["kind"] not in ("flatten", "input") and len(before["inputs"]) == 1 and \
            before["output"] == job.by_name[before["inputs"][0]]["output"]:
        before = job.by_name[before["inputs"][0]]
    if before["kind"] == "flatten":
        h, w, c = job.by_name[before["inputs"][0]]["output"]
        t = t.reshape(h, w, c, -1).permute(2, 0, 1, 3).reshape(h * w * c, -1)
    return t.t().contiguous()


def optimizer_of(torch, o, params, **how):
    """how: capturable, of those whose count of steps would else lie on the host."""
    optim, name = torch.optim, o["name"]
    if name == "sgd":
        return optim.SGD(params, o["lr"], o["momentum"], weight_decay=o["weight_decay"], nesterov=bool(o["nesterov"]))
    if name in ("adam", "adamw"):
        make = optim.Adam if name == "adam" else optim.AdamW
        return make(params, o["lr"], (o["beta1"], o["beta2"]), o["epsilon"], o["weight_decay"], **how)
    if name == "rmsprop":
        return optim.RMSprop(params, o["lr"], o["rho"], o["epsilon"], o["weight_decay"], o["momentum"],
                             **how)
    return optim.Adadelta(params, o["lr"], o["rho"], o["epsilon"], o["weight_decay"], **how)


def recorded(torch, train, params, kept, optimizer, batch):
    """train(x, y) as a CUDA graph that is replayed on each batch.  The steps that warm it up are undone:
    weights, statistics and the optimizer's arrays are then as before the first."""
    held = [t.clone() for t in batch]
    before = [t.detach().clone() for t in params + kept]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            train(*held)
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)  # gradients belong into the graph's memory
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = train(*held)
    with torch.no_grad():
        for t, was in zip(params + kept, before):
            t.copy_(was)
        for arrays in optimizer.state.values():
            for t in arrays.values():
                if torch.is_tensor(t):
                    t.zero_()

    def step(x, y):
        held[0].copy_(x)
        held[1].copy_(y)
        graph.replay()
        return loss

    return step


def build(job):
    import torch
    if job.threads:
        torch.set_num_threads(job.threads)
    on_gpu = job.device == "cuda"
    words = job.mode.split("+")
    graphs, compiled = "graphs" in words, "compile" in words
    if graphs and not on_gpu:
        raise peer.Missing("CUDA graphs are for GPUs: hone compare --device gpu0")
    if on_gpu:
        if not torch.cuda.is_available() or torch.cuda.device_count() <= job.index:
            raise peer.Missing(f"PyTorch {torch.__version__} finds no GPU {job.index} here")
        torch.cuda.set_device(job.index)
    tf32 = job.dtype == "tf32"  # else f32 means f32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = on_gpu
    torch.manual_seed(job.seed)
    a = torch.ones(8, 8, requires_grad=True, device=job.device)  # what first steps load is the library's
    first = optimizer_of(torch, job.optimizer, [a])
    (a @ a).sum().backward()
    first.step()
    before = peer.memory()
    last = torch.channels_last if "channels_last" in words else torch.contiguous_format

    def placed(t):
        t = t.to(job.device)
        return t.contiguous(memory_format=last) if t.dim() == 4 else t

    weights, batches = job.read()
    w = {name: placed(tensor_of(job, name, array, torch)) for name, array in weights.items()}
    params = [t.requires_grad_() for name, t in w.items() if peer.is_trained(name)]
    batches = [(placed(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else torch.from_numpy(x)),
                placed(torch.from_numpy(y).long() if y.ndim == 1 else torch.from_numpy(y))) for x, y in batches]
    loss_of = peer.walk(job, Ops(job))
    if compiled:
        loss_of = torch.compile(loss_of, mode="reduce-overhead" if graphs else None)
    how = {"capturable": True} if graphs and not compiled and job.optimizer["name"] != "sgd" else {}
    optimizer, clip = optimizer_of(torch, job.optimizer, params, **how), job.optimizer["clip"]

    def train(x, y):
        optimizer.zero_grad()
        if graphs and compiled:
            torch.compiler.cudagraph_mark_step_begin()  # what the last step gave is not needed any more
        with torch.autocast(job.device, torch.bfloat16, enabled=job.dtype == "bf16"):
            loss = loss_of(w, x, y)
        loss.backward()
        if clip > 0:
            torch.nn.utils.clip_grad_norm_(params, clip)
        optimizer.step()
        return loss.detach()

    kept = [t for name, t in w.items() if not peer.is_trained(name)]
    run = [] if graphs and not compiled else [train]

    def step(i):
        if not run:  # recording is a part of the very first step
            run.append(recorded(torch, train, params, kept, optimizer, batches[i]))
        loss = run[0](*batches[i])
        if on_gpu:
            torch.cuda.synchronize()
        return loss

    return step, torch.__version__, before


if __name__ == "__main__":
    peer.serve("PyTorch", "torch", MODES, build)
