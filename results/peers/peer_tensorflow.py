#!/usr/bin/env python3
"""`hone compare --peer tensorflow`: a net in TensorFlow, eager, as a tf.function, or that by XLA.

Layers are tf.nn's, NHWC as TensorFlow's processors' kernels want it, optimizers Keras's; their
weight decay through the gradient is added here, since Keras's is another one.  bf16 is as Keras's
policy mixed_bfloat16 has it: each layer casts its f32 variables."""
import os

import peer

MODES = ["eager", "function", "xla"]


class Ops:
    def __init__(self, job, tf):
        self.tf, self.job, nn = tf, job, tf.nn
        self.half = tf.bfloat16 if job.dtype == "bf16" else None
        self.acts = {"relu": nn.relu, "relu6": nn.relu6, "leaky_relu": lambda x: nn.leaky_relu(x, 0.01),
                     "sigmoid": nn.sigmoid, "tanh": tf.tanh, "silu": nn.silu,
                     "gelu_erf": lambda x: nn.gelu(x, False), "gelu_tanh": lambda x: nn.gelu(x, True)}

    def wide(self, y):
        return self.tf.cast(y, self.tf.float32) if self.half else y

    def used(self, w):
        """A weight as a layer reads it."""
        return self.tf.cast(w, self.half) if self.half else w

    # A layer of one pixel is (n, c), any other (n, h, w, c).

    def input(self, layer):
        return None

    def flatten(self, layer):
        size = layer["output"][2]
        return lambda w, x: self.tf.reshape(x, [-1, size])

    def padded(self, layer):
        """What tf.nn calls the padding; where it has a name, by that, which more kernels know."""
        pads, same = self.job.padding(layer), {**layer["keys"], "p": -1, "pw": -1}
        sizes = self.job.by_name[layer["inputs"][0]]["output"][:2]
        if pads == ((0, 0), (0, 0)):
            return "VALID"
        if layer["output"][:2] == [-(-size // same["stride"]) for size in sizes] and \
                pads == self.job.padding({**layer, "keys": same}):
            return "SAME"
        return [[0, 0], *map(list, pads), [0, 0]]

    def images(self, layer, run):
        """run on (n, h, w, c), whatever it is given, and its result as the layer has it."""
        flat = layer["output"][:2] == [1, 1]

        def on_images(w, x):
            y = run(w, x if len(x.shape) == 4 else x[:, None, None, :])
            return self.tf.reshape(y, [-1, layer["output"][2]]) if flat else y
        return on_images

    def biased(self, name, w, y):
        bias = w.get(name + ".bias")
        return y if bias is None else self.tf.nn.bias_add(y, self.used(bias))

    def conv(self, layer):
        name, key, padding = layer["name"], layer["keys"], self.padded(layer)
        return self.images(layer, lambda w, x: self.biased(name, w, self.tf.nn.conv2d(
            x, self.used(w[name + ".w"]), key["stride"], padding, dilations=key["d"])))

    def dwconv(self, layer):
        name, key, padding = layer["name"], layer["keys"], self.padded(layer)
        s, d, tf = key["stride"], key["d"], self.tf

        def run(w, x):
            if isinstance(padding, list):  # in a graph, depthwise_conv2d aborts TensorFlow 2.21 on these
                x = tf.pad(x, padding)
            y = tf.nn.depthwise_conv2d(x, self.used(w[name + ".w"]), [1, s, s, 1],
                                       padding if isinstance(padding, str) else "VALID", dilations=[d, d])
            return self.biased(name, w, y)
        return self.images(layer, run)

    def fc(self, layer):
        name = layer["name"]
        return lambda w, x: self.biased(name, w, self.tf.matmul(x, self.used(w[name + ".w"])))

    def bnorm(self, layer):
        name, key, c = layer["name"], layer["keys"], layer["output"][2]
        if self.job.dtype == "f64":
            raise peer.Missing("TensorFlow's fused batch normalisation has no f64")

        def run(w, x):
            y, mean, var = self.tf.compat.v1.nn.fused_batch_norm(
                x if len(x.shape) == 4 else x[:, None, None, :], w[name + ".gamma"], w[name + ".beta"],
                epsilon=key["eps"], is_training=True)[:3]
            for kept, now in ((w[name + ".mean"], mean), (w[name + ".var"], var)):
                kept.assign_add(key["momentum"] * (now - kept))
            return y if len(x.shape) == 4 else self.tf.reshape(y, [-1, c])
        return run

    def maxpool(self, layer):
        key, padding = layer["keys"], self.padded(layer)
        return self.images(layer, lambda w, x: self.tf.nn.max_pool2d(x, [key["r"], key["kw"]], key["stride"], padding))

    def avgpool(self, layer):
        key = layer["keys"]
        if key["p"]:
            raise NotImplementedError("avgpool with p is not written for this peer")
        return self.images(layer, lambda w, x: self.tf.nn.avg_pool2d(x, [key["r"], key["kw"]], key["stride"], "VALID"))

    def gap(self, layer):
        return lambda w, x: self.tf.reduce_mean(x, [1, 2]) if len(x.shape) == 4 else x

    def dropout(self, layer):
        p = layer["keys"]["p"]
        return (lambda w, x: self.tf.nn.dropout(x, p)) if p else lambda w, x: x

    def add(self, layer):
        return lambda w, a, b: a + b

    def concat(self, layer):
        return lambda w, *x: self.tf.concat(x, -1)

    def shortcut(self, layer):
        s, more = layer["keys"]["stride"], layer["output"][2] - self.job.by_name[layer["inputs"][0]]["output"][2]
        front = more // 2
        return lambda w, x: self.tf.pad(x[:, ::s, ::s, :], [[0, 0], [0, 0], [0, 0], [front, more - front]])

    def softmax_ce(self, layer):
        tf, smooth, classes = self.tf, layer["keys"]["smooth"], layer["output"][2]

        def run(w, x, target):
            if not smooth:
                return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, x))
            soft = tf.one_hot(target, classes) * (1 - smooth) + smooth / classes
            return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, x))
        return run

    def mse(self, layer):
        return lambda w, x, target: self.tf.reduce_mean(self.tf.math.squared_difference(x, target))

    def mae(self, layer):
        return lambda w, x, target: self.tf.reduce_mean(self.tf.abs(x - target))

    def huber(self, layer):
        return lambda w, x, target: self.tf.keras.losses.Huber(layer["keys"]["delta"])(target, x)


def optimizer_of(tf, o):
    make, clip = tf.keras.optimizers, o["clip"] if o["clip"] > 0 else None
    name, lr = o["name"], o["lr"]
    if name == "sgd":
        return make.SGD(lr, o["momentum"], bool(o["nesterov"]), global_clipnorm=clip)
    if name == "adam":
        return make.Adam(lr, o["beta1"], o["beta2"], o["epsilon"], global_clipnorm=clip)
    if name == "adamw":
        return make.AdamW(lr, o["weight_decay"], o["beta1"], o["beta2"], o["epsilon"], global_clipnorm=clip)
    if name == "rmsprop":
        return make.RMSprop(lr, o["rho"], o["momentum"], o["epsilon"], global_clipnorm=clip)
    return make.Adadelta(lr, o["rho"], o["epsilon"], global_clipnorm=clip)


def build(job):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf
    gpus = tf.config.list_physical_devices("GPU")
    if job.device == "cuda":
        if len(gpus) <= job.index:
            raise peer.Missing(f"TensorFlow {tf.__version__} finds no GPU {job.index} here")
        tf.config.experimental.enable_tensor_float_32_execution(job.dtype == "tf32")  # f32 means f32
        tf.config.experimental.set_memory_growth(gpus[job.index], True)
    tf.config.set_visible_devices([gpus[job.index]] if job.device == "cuda" else [], "GPU")
    if job.threads:
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(job.seed)
    a = tf.Variable(tf.ones([8, 8]))  # what first steps load is the library's
    with tf.GradientTape() as tape:
        b = tf.reduce_sum(a @ a)
    optimizer_of(tf, job.optimizer).apply_gradients([(tape.gradient(b, a), a)])
    before = peer.memory()

    weights, batches = job.read()

    def placed(name, array):
        layer = job.by_name[name.rpartition(".")[0]]
        if array.ndim == 4:
            array = array.transpose((1, 2, 0, 3) if layer["kind"] == "dwconv" else (1, 2, 3, 0))
        return tf.Variable(array, trainable=peer.is_trained(name))

    w = {name: placed(name, array) for name, array in weights.items()}
    params = [t for t in w.values() if t.trainable]
    batches = [(tf.constant(x), tf.constant(y)) for x, y in batches]
    ops = Ops(job, tf)
    loss_of = peer.walk(job, ops)
    optimizer, decay = optimizer_of(tf, job.optimizer), job.optimizer["weight_decay"]
    optimizer.build(params)
    through_gradient = decay and job.optimizer["name"] != "adamw"

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(w, ops.used(x), y)
        grads = tape.gradient(loss, params)
        if through_gradient:
            grads = [g + decay * p for g, p in zip(grads, params)]
        optimizer.apply_gradients(zip(grads, params))
        return loss

    if job.mode != "eager":
        step = tf.function(step, autograph=False, jit_compile=job.mode == "xla")
    return lambda i: step(*batches[i]).numpy(), tf.__version__, before


if __name__ == "__main__":
    peer.serve("TensorFlow", "tensorflow", MODES, build)
