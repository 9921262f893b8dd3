#!/usr/bin/env python3
"""`hone compare --peer jax`: a net in JAX, its whole training step compiled by jax.jit.

Hone's layouts are JAX's with other names, so nothing is turned around.  The optimizers are written
out, since JAX has none.  In bf16 the input and the weights are cast as layers read them, and bnorm's
statistics are of floats, as Flax has it."""
import peer

MODES = ["jit"]


class Ops:
    def __init__(self, job, jax):
        self.jax, self.jnp, self.lax, self.job, nn = jax, jax.numpy, jax.lax, job, jax.nn
        self.acts = {"relu": nn.relu, "relu6": nn.relu6, "leaky_relu": lambda x: nn.leaky_relu(x, 0.01),
                     "sigmoid": nn.sigmoid, "tanh": self.jnp.tanh, "silu": nn.silu,
                     "gelu_erf": lambda x: nn.gelu(x, False), "gelu_tanh": lambda x: nn.gelu(x, True)}

    def wide(self, y):
        return y.astype(self.jnp.float32) if y.dtype == self.jnp.bfloat16 else y

    # A layer of one pixel is (n, c), any other (n, h, w, c).

    def input(self, layer):
        return None

    def flatten(self, layer):
        return lambda w, x: x.reshape(x.shape[0], -1)

    def biased(self, name, w, y):
        return y + w[name + ".bias"].astype(y.dtype) if name + ".bias" in w else y

    def conv(self, layer, groups=None):
        name, key, pads = layer["name"], layer["keys"], self.job.padding(layer)
        flat = layer["output"][:2] == [1, 1]

        def run(w, x):
            y = self.lax.conv_general_dilated(
                x if x.ndim == 4 else x[:, None, None, :], w[name + ".w"].astype(x.dtype), (key["stride"],) * 2, pads,
                rhs_dilation=(key["d"],) * 2, dimension_numbers=("NHWC", "OHWI", "NHWC"),
                feature_group_count=groups or key["g"])
            y = self.biased(name, w, y)
            return y.reshape(y.shape[0], -1) if flat else y
        return run

    def dwconv(self, layer):
        return self.conv(layer, layer["output"][2])

    def fc(self, layer):
        name = layer["name"]
        return lambda w, x: self.biased(name, w, x @ w[name + ".w"].astype(x.dtype))

    def bnorm(self, layer):
        name, key, jnp = layer["name"], layer["keys"], self.jnp

        def run(w, x):
            half, x = x.dtype, self.wide(x)
            axes = tuple(range(x.ndim - 1))
            mean, var = jnp.mean(x, axes), jnp.var(x, axes)
            rows = x.size // x.shape[-1]
            for kept, now in (".mean", mean), (".var", var * rows / (rows - 1)):
                w["kept"][name + kept] = w[name + kept] + key["momentum"] * (now - w[name + kept])
            y = (x - mean) * (w[name + ".gamma"] * self.lax.rsqrt(var + key["eps"])) + w[name + ".beta"]
            return y.astype(half)
        return run

    def pool(self, layer, first, join):
        key, pads = layer["keys"], ((0, 0), *self.job.padding(layer), (0, 0))
        window, strides = (1, key["r"], key["kw"], 1), (1, key["stride"], key["stride"], 1)
        flat = layer["output"][:2] == [1, 1]

        def run(w, x):
            y = self.lax.reduce_window(x, first, join, window, strides, pads)
            return y.reshape(y.shape[0], -1) if flat else y
        return run

    def maxpool(self, layer):
        return self.pool(layer, -self.jnp.inf, self.lax.max)

    def avgpool(self, layer):
        key = layer["keys"]
        if key["p"]:
            raise NotImplementedError("avgpool with p is not written for this peer")
        total, n = self.pool(layer, 0.0, self.lax.add), key["r"] * key["kw"]
        return lambda w, x: total(w, x) / n

    def gap(self, layer):
        return lambda w, x: x.mean((1, 2)) if x.ndim == 4 else x

    def dropout(self, layer):
        p, slot = layer["keys"]["p"], self.job.layers.index(layer)

        def run(w, x):
            stays = self.jax.random.bernoulli(self.jax.random.fold_in(w["key"], slot), 1 - p, x.shape)
            return self.jnp.where(stays, x / (1 - p), 0)
        return run if p else lambda w, x: x

    def add(self, layer):
        return lambda w, a, b: a + b

    def concat(self, layer):
        return lambda w, *x: self.jnp.concatenate(x, -1)

    def shortcut(self, layer):
        s, more = layer["keys"]["stride"], layer["output"][2] - self.job.by_name[layer["inputs"][0]]["output"][2]
        front = more // 2
        return lambda w, x: self.jnp.pad(x[:, ::s, ::s, :], ((0, 0), (0, 0), (0, 0), (front, more - front)))

    def softmax_ce(self, layer):
        smooth, classes, nn = layer["keys"]["smooth"], layer["output"][2], self.jax.nn

        def run(w, x, target):
            soft = nn.one_hot(target, classes) * (1 - smooth) + smooth / classes
            return -(soft * nn.log_softmax(x)).sum(-1).mean()
        return run

    def mse(self, layer):
        return lambda w, x, target: ((x - target) ** 2).mean()

    def mae(self, layer):
        return lambda w, x, target: self.jnp.abs(x - target).mean()

    def huber(self, layer):
        delta, jnp = layer["keys"]["delta"], self.jnp

        def run(w, x, target):
            d = jnp.abs(x - target)
            return jnp.where(d <= delta, d * d / 2, delta * (d - delta / 2)).mean()
        return run


def update(jnp, o, t, p, g, a, b):
    """A weight, and the optimizer's two arrays, after step t (0 for the first)."""
    name, lr, eps = o["name"], o["lr"], o["epsilon"]
    if name == "adamw":
        p = p - lr * o["weight_decay"] * p
    else:
        g = g + o["weight_decay"] * p
    if name == "sgd":
        a = jnp.where(t == 0, g, o["momentum"] * a + g)
        return p - lr * (g + o["momentum"] * a if o["nesterov"] else a), a, b
    if name in ("adam", "adamw"):
        a, b = o["beta1"] * a + (1 - o["beta1"]) * g, o["beta2"] * b + (1 - o["beta2"]) * g * g
        root = jnp.sqrt(b / (1 - o["beta2"] ** (t + 1))) + eps
        return p - lr * a / (1 - o["beta1"] ** (t + 1)) / root, a, b
    if name == "rmsprop":
        a = o["rho"] * a + (1 - o["rho"]) * g * g
        b = o["momentum"] * b + g / (jnp.sqrt(a) + eps)
        return p - lr * b, a, b
    a = o["rho"] * a + (1 - o["rho"]) * g * g
    u = jnp.sqrt(b + eps) / jnp.sqrt(a + eps) * g
    return p - lr * u, a, o["rho"] * b + (1 - o["rho"]) * u * u


def narrays(o):
    return 2 if o["name"] != "sgd" and (o["name"] != "rmsprop" or o["momentum"]) else \
        1 if o["name"] == "rmsprop" or o["momentum"] else 0


def build(job):
    import jax
    kind = "gpu" if job.device == "cuda" else "cpu"
    try:
        jax.config.update("jax_default_device", jax.devices(kind)[job.index])
    except (RuntimeError, IndexError):
        raise peer.Missing(f"JAX {jax.__version__} finds no {kind.upper()} {job.index} here") from None
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if job.dtype == "tf32" else
                      "highest")  # f32 means f32
    jax.config.update("jax_enable_x64", job.dtype == "f64")
    jnp, o = jax.numpy, job.optimizer
    jax.jit(jax.grad(lambda a: (a @ a).sum()))(jnp.ones((8, 8))).block_until_ready()
    before = peer.memory()  # what first steps load is the library's

    weights, batches = job.read()
    params = {name: jnp.asarray(v) for name, v in weights.items() if peer.is_trained(name)}
    kept = {name: jnp.asarray(v) for name, v in weights.items() if not peer.is_trained(name)}
    arrays = [{name: jnp.zeros_like(v) for name, v in params.items()} for _ in range(narrays(o))]
    batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in batches]
    loss_of = peer.walk(job, Ops(job, jax))
    key = jax.random.key(job.seed)

    def loss_and_kept(params, kept, key, x, y):
        w = {**params, **kept, "kept": {}, "key": key}
        loss = loss_of(w, x.astype(jnp.bfloat16) if job.dtype == "bf16" else x, y)
        return loss, w["kept"]

    def train(params, kept, arrays, t, x, y):
        (loss, kept), grads = jax.value_and_grad(loss_and_kept, has_aux=True)(
            params, kept, jax.random.fold_in(key, t), x, y)
        if o["clip"] > 0:
            norm = jnp.sqrt(sum((g * g).sum() for g in grads.values()))
            grads = {name: g * jnp.minimum(1, o["clip"] / (norm + 1e-6)) for name, g in grads.items()}
        after = {name: update(jnp, o, t, p, grads[name], *([a[name] for a in arrays] + [0, 0])[:2])
                 for name, p in params.items()}
        return loss, {name: v[0] for name, v in after.items()}, kept, \
            [{name: v[1 + i] for name, v in after.items()} for i in range(len(arrays))]

    train = jax.jit(train, donate_argnums=(0, 1, 2))
    state = [params, kept, arrays, 0]

    def step(i):
        params, kept, arrays, t = state
        loss, *state[:3] = train(params, kept, arrays, t, *batches[i])
        state[3] = t + 1
        return loss.block_until_ready()

    return step, jax.__version__, before


if __name__ == "__main__":
    peer.serve("JAX", "jax", MODES, build)
