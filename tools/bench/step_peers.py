"""The training step of `step.py` in PyTorch, which needs its own environment.

Run by `step.py`; `python step_peers.py CASE`, with a case in JSON, does its steps once for each
line of standard input.
"""

import json
import sys

import torch
from alternating import serve
from torch import nn
from torch.nn import functional

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def conv_norm(inputs, outputs, kernel, stride=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, features, stride, bottleneck):
        super().__init__()
        if bottleneck:
            shapes = [(features, 1, 1), (features, 3, stride), (4 * features, 1, 1)]
        else:
            shapes = [(features, 3, stride), (features, 3, 1)]
        layers, width = [], inputs
        for outputs, kernel, step in shapes:
            layers += [conv_norm(width, outputs, kernel, step), nn.ReLU(inplace=True)]
            width = outputs
        self.layers, self.width = nn.Sequential(*layers[:-1]), width
        same = stride == 1 and inputs == width
        self.shortcut = nn.Identity() if same else conv_norm(inputs, width, 1, stride)

    def forward(self, x):
        return functional.relu(self.layers(x) + self.shortcut(x))


def encoder(name, small):
    stem = [conv_norm(3, 64, 3 if small else 7, 1 if small else 2), nn.ReLU(inplace=True)]
    layers = stem if small else [*stem, nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage, count in enumerate(BLOCKS[name]):
        for i in range(count):
            stride = 2 if stage and not i else 1
            layers.append(Block(width, 64 * 2**stage, stride, name == "resnet50"))
            width = layers[-1].width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), width


def head(width):
    return nn.Sequential(
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, 128, bias=False),
        nn.BatchNorm1d(128),
    )


def steps(net, size, batch, precision, steps, compiled):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    body, width = encoder(net, size <= 64)
    model = nn.Sequential(body, head(width)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    views = torch.randn(2 * batch, 3, size, size, device=device)
    views = views.to(memory_format=torch.channels_last)
    partner = (torch.arange(2 * batch, device=device) + batch) % (2 * batch)
    itself = torch.eye(2 * batch, dtype=torch.bool, device=device)
    half = precision != "float32"

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            z = model(views)
        z = functional.normalize(z.float())
        scores = (z @ z.T / 0.1).masked_fill(itself, float("-inf"))
        functional.cross_entropy(scores, partner).backward()
        optimizer.step()

    run = torch.compile(step) if compiled else step
    for _ in range(3):  # the first calls compile
        run()

    def work():
        for _ in range(steps):
            run()
        if device == "cuda":
            torch.cuda.synchronize()

    return work


if __name__ == "__main__":
    serve(steps(**json.loads(sys.argv[1])))
