"""The networks of the official checkpoints in plain PyTorch, and the files their authors save.

Names, nesting and heads are those of the authors' code; widths are free, so that a checkpoint can
be of full size, or of a few kilobytes with the same keys.
"""

import argparse
import collections
import contextlib
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn

BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3], "resnet50": [3, 4, 6, 3]}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SWAV_STD = (0.228, 0.224, 0.225)


class Block(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3 and 1×1, beside a shortcut."""

    def __init__(self, inputs, features, stride, bottleneck):
        super().__init__()
        outputs = 4 * features if bottleneck else features
        kernels = [1, 3, 1] if bottleneck else [3, 3]
        strides = [1, stride, 1] if bottleneck else [stride, 1]
        channels = [inputs, *[features] * (len(kernels) - 1), outputs]
        self.count = len(kernels)
        for i, (kernel, step) in enumerate(zip(kernels, strides, strict=True)):
            convolution = nn.Conv2d(
                channels[i], channels[i + 1], kernel, step, kernel // 2, bias=False
            )
            setattr(self, f"conv{i + 1}", convolution)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(channels[i + 1]))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = x if i == self.count else torch.relu(x)
        return torch.relu(x + shortcut)


class ResNet(nn.Module):
    """torchvision's ResNet, up to the pooled features; `fc`, if given, is beside them.

    With `pad_first`, the input is padded by 1 and the stem by 2, as the SwAV authors do it.
    """

    def __init__(self, name, width=64, fc=None, pad_first=False):
        super().__init__()
        bottleneck = name == "resnet50"
        self.padding = nn.ConstantPad2d(1, 0.0) if pad_first else nn.Identity()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 2 if pad_first else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, count in enumerate(BLOCKS[name]):
            blocks = []
            for i in range(count):
                features, stride = width * 2**stage, 2 if stage and not i else 1
                blocks.append(Block(channels, features, stride, bottleneck))
                channels = 4 * features if bottleneck else features
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.features, self.std = channels, STD
        if fc is not None:
            self.fc = fc(channels)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(self.padding(x)))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean([2, 3])


def linear(outputs):
    return lambda inputs: nn.Linear(inputs, outputs)


def mlp(hidden, outputs):
    return lambda inputs: nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def normalized_mlp(hidden, outputs, last=True):
    """MoCo v3's: linear layers without bias, normalized; the last without γ and β, or not."""

    def make(inputs):
        layers = [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        layers.append(nn.Linear(hidden, outputs, bias=False))
        return nn.Sequential(*layers, *[nn.BatchNorm1d(outputs, affine=False)] * last)

    return make


class Parts(nn.Module):
    """A module of named parts and buffers."""

    def __init__(self, buffers=(), **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        for name, value in dict(buffers).items():
            self.register_buffer(name, value)


def parallel(module):
    """The state as `DataParallel` and the like name it: with the prefix "module."."""
    return Parts(module=module)


def randomize(module, seed):
    """Random weights and statistics, scaled so that features stay near 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, scale, shift=0.0):
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale + shift)

    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                normal(part.weight, part.weight[0].numel() ** -0.5)
            if isinstance(part, nn.BatchNorm2d):
                uniform(part.weight, 0.5, 1.5)
                normal(part.bias, 0.2)
                normal(part.running_mean, 0.3)
                uniform(part.running_var, 0.5, 2.0)
                part.num_batches_tracked.fill_(1000)
    return module.eval()


def features(encoder, images):
    """What an encoder gives for uint8 images `[B, H, W, 3]`, as NumPy."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(encoder.std)[:, None, None]
    with torch.no_grad():
        return encoder.eval()(x).numpy()


def training(model, /, **state):
    """What scripts save besides the state of a model: an optimizer after a step."""
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    [*model.parameters()][0].grad = torch.zeros_like([*model.parameters()][0])
    optimizer.step()
    return {"epoch": 200, "optimizer": optimizer.state_dict(), **state}


def moco(name, width, fc, arch="resnet50", wrap=lambda model: Parts(module=model)):
    encoder, momentum = ResNet(name, width, fc), ResNet(name, width, fc)
    buffers = {"queue": torch.randn(8, 16), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    model = randomize(wrap(Parts(buffers, encoder_q=encoder, encoder_k=momentum)), 1)
    return encoder, training(model, arch=arch, state_dict=model.state_dict())


def moco_v3(name, width):
    head = normalized_mlp(16, 8)
    encoder, momentum = ResNet(name, width, head), ResNet(name, width, head)
    predictor = normalized_mlp(16, 8, last=False)(8)
    model = randomize(
        parallel(Parts(base_encoder=encoder, momentum_encoder=momentum, predictor=predictor)), 2
    )
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0}
    return encoder, training(model, arch=name, state_dict=model.state_dict(), scaler=scaler)


def swav(name, width, prototypes):
    encoder = ResNet(name, width, pad_first=True)
    encoder.std = SWAV_STD
    encoder.projection_head = nn.Sequential(
        nn.Linear(encoder.features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8)
    )
    encoder.prototypes = prototypes
    return encoder, randomize(parallel(encoder), 3).state_dict()


def vissl(name, width):
    encoder = randomize(ResNet(name, width), 4)
    heads = Parts(**{"0": mlp(16, 8)(encoder.features)})
    trunk = Parts(_feature_blocks=encoder)
    model = {"trunk": trunk.state_dict(), "heads": heads.state_dict()}
    state = {"train": True, "base_model": {"model": model, "meta": {}}, "losses": [0.5]}
    return encoder, {"phase_idx": 199, "iteration": 7, "loss": {}, "classy_state_dict": state}


def instdisc(name, width):
    encoder = ResNet(name, width, linear(8))
    model = randomize(parallel(encoder), 5)
    return encoder, training(
        model,
        arch=name,
        state_dict=model.state_dict(),
        lemniscate=_lemniscate(),
        best_prec1=torch.tensor(46.8),
    )


def barlow_twins(name, width, full):
    encoder = ResNet(name, width)
    projector = nn.Sequential(nn.Linear(encoder.features, 16, bias=False), nn.BatchNorm1d(16))
    normalization = nn.BatchNorm1d(16, affine=False)
    model = randomize(parallel(Parts(backbone=encoder, projector=projector, bn=normalization)), 6)
    return encoder, training(model, model=model.state_dict()) if full else encoder.state_dict()


def vicreg(name, width, full):
    encoder = ResNet(name, width, pad_first=True)
    projector = nn.Sequential(nn.Linear(encoder.features, 16), nn.BatchNorm1d(16), nn.ReLU())
    model = randomize(parallel(Parts(backbone=encoder, projector=projector)), 10)
    return encoder, training(model, model=model.state_dict()) if full else encoder.state_dict()


def simsiam(name, width):
    encoder = ResNet(name, width, normalized_mlp(16, 8))
    model = randomize(parallel(Parts(encoder=encoder, predictor=mlp(4, 8)(8))), 11)
    return encoder, training(model, arch=name, state_dict=model.state_dict())


def lightning(name, width):
    """What a user's own training saves, including its options and callbacks."""
    encoder = ResNet(name, width, linear(8))
    model = randomize(Parts(backbone=encoder, projection_head=mlp(4, 8)(8)), 12)
    options = {
        "data": pathlib.PosixPath("/data/photos"),
        "device": torch.device("cuda", 0),
        "counts": collections.Counter(["cat", "dog", "cat"]),
        "steps": collections.defaultdict(list, {"lr": [0.1, 0.2]}),
        "mean": np.array([0.5, 0.25]),
        "best": np.float64(0.75),
        "dtype": torch.float16,
        "size": torch.Size([3, 4]),
        "classes": {"cat", "dog"},
        "collate": mlp,
    }
    states = {"state_dict": model.state_dict(), "hyper_parameters": options}
    return encoder, training(model, callbacks={}, global_step=7, **states)


def dino(name, width, full):
    encoder, student = ResNet(name, width), ResNet(name, width)
    head = mlp(16, 8)
    teacher = parallel(Parts(backbone=encoder, head=head(encoder.features)))
    pupil = parallel(Parts(backbone=student, head=head(student.features)))
    randomize(teacher, 7), randomize(pupil, 8)
    arguments = argparse.Namespace(arch="resnet50", lr=0.03, local_crops_scale=(0.05, 0.14))
    states = {"teacher": teacher.state_dict(), "student": pupil.state_dict(), "args": arguments}
    loss = {"center": torch.zeros(1, 8)}
    return encoder, training(pupil, dino_loss=loss, **states) if full else encoder.state_dict()


def torchvision(name, width, fc):
    encoder = randomize(ResNet(name, width, fc), 9)
    return encoder, encoder.state_dict()


CHECKPOINTS = {
    "moco_v1": ("moco", lambda *size: moco(*size, linear(8)), "old"),
    "moco_v2": ("moco", lambda *size: moco(*size, mlp(16, 8)), "old"),
    "moco_bare": ("moco", lambda *size: moco(*size, linear(8), wrap=lambda m: m), "zip"),
    "moco_v3": ("moco_v3", moco_v3, "zip"),
    "pcl_v2": ("pcl", lambda *size: moco(*size, mlp(16, 8)), "old"),
    "swav": ("swav", lambda *size: swav(*size, nn.Linear(8, 12, bias=False)), "old"),
    "deepcluster_v2": (
        "swav",
        lambda *size: swav(*size, Parts(prototypes0=nn.Linear(8, 12), prototypes1=nn.Linear(8, 9))),
        "old",
    ),
    "pirl_vissl": ("vissl", vissl, "old"),
    "instdisc": ("instdisc", instdisc, "old"),
    "barlow_twins": ("barlow_twins", lambda *size: barlow_twins(*size, full=False), "zip"),
    "barlow_twins_full": ("barlow_twins", lambda *size: barlow_twins(*size, full=True), "zip"),
    "vicreg": ("vicreg", lambda *size: vicreg(*size, full=False), "zip"),
    "vicreg_full": ("vicreg", lambda *size: vicreg(*size, full=True), "zip"),
    "simsiam": ("simsiam", simsiam, "zip"),
    "lightning": ("lightning", lightning, "zip"),
    "dino": ("dino", lambda *size: dino(*size, full=False), "zip"),
    "dino_full": ("dino", lambda *size: dino(*size, full=True), "zip"),
    "torchvision": ("torchvision", lambda *size: torchvision(*size, fc=linear(10)), "zip"),
    "torchvision_without_fc": ("torchvision", lambda *size: torchvision(*size, fc=None), "old"),
}
"""Name to (format, function from the name and width of a ResNet to (encoder, what is saved), form
of torch.save at the time)."""


def save(value, path, form):
    """Writes a checkpoint in the format of its time."""
    with _modules_of_lemniscate():
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")


class NCEAverage:
    """The memory bank of InstDisc with the attributes that a module of PyTorch 0.4 has."""


class AliasMethod:
    """The sampler of its negatives."""


class Backend:
    def __reduce__(self):
        return _get_thnn_function_backend, ()


def _get_thnn_function_backend():
    return Backend()


_LEMNISCATE = {
    NCEAverage: "lib.NCEAverage",
    AliasMethod: "lib.alias_multinomial",
    _get_thnn_function_backend: "torch.nn.backends.thnn",
}


def _lemniscate():
    bank, drawer = NCEAverage(), AliasMethod()
    vars(drawer).update(prob=torch.ones(20), alias=torch.arange(20))
    vars(bank).update(
        training=True,
        _backend=Backend(),
        _parameters=collections.OrderedDict(),
        _buffers=collections.OrderedDict(
            params=torch.tensor([4096, 0.07, 1e6, 0.5]), memory=torch.randn(20, 8)
        ),
        nLem=20,
        multinomial=drawer,
        K=4096,
    )
    return bank


@contextlib.contextmanager
def _modules_of_lemniscate():
    """Modules of the names under which InstDisc's classes are pickled, while it is saved."""
    before = {}
    for thing, module in _LEMNISCATE.items():
        before[thing] = thing.__module__
        thing.__module__ = module
        names = module.split(".")
        for i in range(1, len(names) + 1):
            sys.modules.setdefault(".".join(names[:i]), types.ModuleType(".".join(names[:i])))
        setattr(sys.modules[module], thing.__name__, thing)
    try:
        yield
    finally:
        for thing, module in before.items():
            thing.__module__ = module
        for name in ["lib", *_LEMNISCATE.values(), "torch.nn.backends"]:
            sys.modules.pop(name, None)
