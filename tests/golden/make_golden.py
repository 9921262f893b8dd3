#!/usr/bin/env python3
# Golden values of optimizers, schedules and losses: PyTorch and Keras compute them, tests/check_optimizers
# holds ours against them.  Each is its own package, and may be missing where the other runs:
#
#     python3 make_golden.py torch > torch.txt        (made with PyTorch 2.15)
#     python3 make_golden.py keras > keras.txt        (made with Keras 3.15)
#
# A line is a name with what it was made with, then numbers.  The problem: six parameters p, loss
# sum(c (p - q)^2) / 2, so that the gradient c (p - q) follows the parameters; everything in doubles.
import sys

P = [0.5, -1.25, 2.0, 0.0, -0.75, 3.0]
C = [1.0, 0.5, 2.0, 1.5, 0.25, 3.0]
Q = [1.0, -1.0, -0.5, 0.25, 2.0, 0.125]
STEPS = 5
EPOCH = 4          # steps in an epoch, for schedules
X = [[2.0, -1.0, 0.5, 3.0], [0.0, 0.25, -2.0, 1.0], [-3.0, 4.0, 1.5, 1.25]]
Z = [[1.0, 0.5, -0.5, 2.0], [1.5, 0.0, -1.0, -0.25], [0.0, 5.0, 2.0, -1.0]]
LABEL = [3, 0, 2]


def line(name, values):
    print(name, *("%.17g" % v for v in values))


def numbers(rows):
    return [v for row in rows for v in row]


# ---- PyTorch ----

def torch_optimizer(name, make, clip=0.0):
    import torch
    p = torch.tensor(P, dtype=torch.float64, requires_grad=True)
    c, q = torch.tensor(C, dtype=torch.float64), torch.tensor(Q, dtype=torch.float64)
    o = make([p])
    norms = []
    for _ in range(STEPS):
        o.zero_grad()
        (c * (p - q) ** 2 / 2).sum().backward()
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_([p], clip).item())
        o.step()
    line(name, p.tolist())
    if clip:
        line(name.replace("sgd", "norm", 1), norms)


def torch_schedule(name, make, per_epoch, steps=20):
    import torch
    from torch.optim import lr_scheduler as S
    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    s = make(S, o)
    lrs = []
    for t in range(steps):
        lrs.append(o.param_groups[0]["lr"])
        o.step()
        if not per_epoch or (t + 1) % EPOCH == 0:
            s.step()
    line(name, lrs)


def torch_loss(name, f):
    import torch
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    each = f(x)
    each.mean().backward()
    line(name + ":loss", (each if each.dim() == 1 else each.mean(1)).tolist())
    line(name + ":dx", numbers(x.grad.tolist()))


def torch_all():
    import torch
    import torch.nn.functional as F
    t = torch.optim
    print("# make_golden.py torch, PyTorch", torch.__version__)
    torch_optimizer("sgd:lr=0.1", lambda p: t.SGD(p, lr=0.1))
    torch_optimizer("sgd:lr=0.1,momentum=0.9", lambda p: t.SGD(p, lr=0.1, momentum=0.9))
    torch_optimizer("sgd:lr=0.1,momentum=0.9,nesterov=1", lambda p: t.SGD(p, lr=0.1, momentum=0.9, nesterov=True))
    torch_optimizer("sgd:lr=0.1,weight_decay=0.01", lambda p: t.SGD(p, lr=0.1, weight_decay=0.01))
    torch_optimizer("sgd:lr=0.1,momentum=0.9,nesterov=1,weight_decay=0.01",
                    lambda p: t.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01))
    torch_optimizer("sgd:lr=0.1,clip=1.5", lambda p: t.SGD(p, lr=0.1), clip=1.5)
    torch_optimizer("sgd:lr=0.1,clip=50", lambda p: t.SGD(p, lr=0.1), clip=50)
    torch_optimizer("adam", lambda p: t.Adam(p))
    torch_optimizer("adam:lr=0.1,beta1=0.8,beta2=0.99,weight_decay=0.05",
                    lambda p: t.Adam(p, lr=0.1, betas=(0.8, 0.99), weight_decay=0.05))
    torch_optimizer("adamw", lambda p: t.AdamW(p))
    torch_optimizer("adamw:lr=0.1,weight_decay=0.05", lambda p: t.AdamW(p, lr=0.1, weight_decay=0.05))
    torch_optimizer("rmsprop", lambda p: t.RMSprop(p))
    torch_optimizer("rmsprop:lr=0.05,rho=0.9,epsilon=1e-3,weight_decay=0.05",
                    lambda p: t.RMSprop(p, lr=0.05, alpha=0.9, eps=1e-3, weight_decay=0.05))
    torch_optimizer("rmsprop:momentum=0.9", lambda p: t.RMSprop(p, momentum=0.9))
    torch_optimizer("adadelta", lambda p: t.Adadelta(p))
    torch_optimizer("adadelta:lr=0.5,rho=0.95,epsilon=1e-4,weight_decay=0.05",
                    lambda p: t.Adadelta(p, lr=0.5, rho=0.95, eps=1e-4, weight_decay=0.05))

    torch_schedule("schedule:constant", lambda S, o: S.ConstantLR(o, factor=1), True)
    torch_schedule("schedule:step:2,3:0.1", lambda S, o: S.MultiStepLR(o, [2, 3], 0.1), True)
    torch_schedule("schedule:cosine", lambda S, o: S.CosineAnnealingLR(o, 20), False)
    torch_schedule("schedule:exp:0.5", lambda S, o: S.ExponentialLR(o, 0.5 ** (1 / EPOCH)), False)

    def warm(S, o, steps):   # step t of a warm-up runs at (t + 1) / steps
        return S.LinearLR(o, 1 / steps, 1.0, steps - 1)
    torch_schedule("schedule:constant:warmup=2", lambda S, o: warm(S, o, 8), False)
    torch_schedule("schedule:cosine:warmup=1",
                   lambda S, o: S.SequentialLR(o, [warm(S, o, 4), S.CosineAnnealingLR(o, 16)], [4]), False)

    label, z = torch.tensor(LABEL), torch.tensor(Z, dtype=torch.float64)
    torch_loss("softmax_ce:f32:any:m3n4", lambda x: F.cross_entropy(x, label, reduction="none"))
    torch_loss("softmax_ce:f32:any:m3n4:smooth0.1",
               lambda x: F.cross_entropy(x, label, reduction="none", label_smoothing=0.1))
    torch_loss("mse:f32:any:m3n4", lambda x: F.mse_loss(x, z, reduction="none"))
    torch_loss("mae:f32:any:m3n4", lambda x: F.l1_loss(x, z, reduction="none"))
    torch_loss("huber:f32:any:m3n4", lambda x: F.huber_loss(x, z, reduction="none"))
    torch_loss("huber:f32:any:m3n4:delta0.5", lambda x: F.huber_loss(x, z, reduction="none", delta=0.5))

    def distill(T, mix):
        return lambda x: (mix * T * T * F.cross_entropy(x / T, F.softmax(z / T, 1), reduction="none")
                          + (1 - mix) * F.cross_entropy(x, label, reduction="none"))
    torch_loss("distill:f32:any:m3n4", distill(1, 1))
    torch_loss("distill:f32:any:m3n4:t4", distill(4, 1))
    torch_loss("distill:f32:any:m3n4:t4+mix0.7", distill(4, 0.7))
    torch_loss("distill:f32:any:m3n4:mix0.25", distill(1, 0.25))


# ---- Keras ----

def keras_optimizer(name, make):
    import keras
    import numpy as np
    p = keras.Variable(np.array(P), dtype="float64")
    o = make(keras.optimizers)
    for _ in range(STEPS):
        o.apply([keras.ops.convert_to_tensor(np.array(C) * (keras.ops.convert_to_numpy(p.value) - np.array(Q)))], [p])
    line(name, keras.ops.convert_to_numpy(p.value).tolist())


def keras_schedule(name, s):
    import keras
    line(name, [float(keras.ops.convert_to_numpy(s(t))) for t in range(20)])


def keras_all():
    import keras
    keras.config.set_floatx("float64")
    print("# make_golden.py keras, Keras", keras.__version__, "on", keras.backend.backend())
    # Keras 3 adds rmsprop's epsilon under the root, Keras 2 behind it as we do: one that is too small to matter.
    keras_optimizer("sgd:lr=0.1", lambda K: K.SGD(0.1))
    keras_optimizer("sgd:lr=0.1,momentum=0.9", lambda K: K.SGD(0.1, momentum=0.9))
    keras_optimizer("sgd:lr=0.1,momentum=0.9,nesterov=1", lambda K: K.SGD(0.1, momentum=0.9, nesterov=True))
    decay = keras.optimizers.schedules.InverseTimeDecay
    keras_optimizer("sgd:lr=0.1,decay=0.25", lambda K: K.SGD(decay(0.1, 1, 0.25)))
    keras_optimizer("rmsprop:lr=0.01,rho=0.9,epsilon=1e-12,decay=0.125",
                    lambda K: K.RMSprop(decay(0.01, 1, 0.125), rho=0.9, epsilon=1e-24))
    keras_optimizer("rmsprop:lr=0.01,rho=0.9,epsilon=1e-12,momentum=0.5",
                    lambda K: K.RMSprop(0.01, rho=0.9, epsilon=1e-24, momentum=0.5))
    # Keras's epsilon stands beside a root with the bias left in, ours (PyTorch's) beside one without.
    keras_optimizer("adam:epsilon=1e-12", lambda K: K.Adam(epsilon=1e-12))
    keras_optimizer("adamw:epsilon=1e-12,weight_decay=0.004", lambda K: K.AdamW(epsilon=1e-12))
    keras_optimizer("adadelta:lr=1,rho=0.95,epsilon=1e-7", lambda K: K.Adadelta(1.0))
    keras_optimizer("adadelta:lr=0.001,rho=0.95,epsilon=1e-7", lambda K: K.Adadelta())
    s = keras.optimizers.schedules
    keras_schedule("schedule:exp:0.5", s.ExponentialDecay(0.1, EPOCH, 0.5))
    keras_schedule("schedule:cosine", s.CosineDecay(0.1, 20))
    keras_schedule("schedule:step:2,3:0.1", s.PiecewiseConstantDecay([2 * EPOCH - 1, 3 * EPOCH - 1], [0.1, 0.01, 0.001]))


{"torch": torch_all, "keras": keras_all}[sys.argv[1]]()
