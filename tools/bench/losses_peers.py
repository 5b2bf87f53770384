"""The work of `losses.py` in PyTorch, which needs its own environment.

Each case is the usual implementation, with all scores in memory. Run by `losses.py`; `python
losses_peers.py CASE` does the work once for each line of standard input.
"""

import sys

import torch
from alternating import serve
from torch.nn import functional

DIM, BATCH = 128, 256


def normal(*shape):
    return torch.randn(*shape)


def unit(*shape):
    return functional.normalize(normal(*shape), dim=1)


def nt_xent(pairs=4096):
    view0, view1 = normal(pairs, DIM), normal(pairs, DIM)
    itself = torch.eye(2 * pairs, dtype=torch.bool)
    targets = (torch.arange(2 * pairs) + pairs) % (2 * pairs)

    def work():
        views = [view.clone().requires_grad_() for view in (view0, view1)]
        z = functional.normalize(torch.cat(views), dim=1)
        scores = (z @ z.T / 0.1).masked_fill(itself, float("-inf"))
        functional.cross_entropy(scores, targets).backward()

    return work


def queue(size=65_536):
    keys, pointer = unit(size, DIM), 0
    start, positive = normal(BATCH, DIM), unit(BATCH, DIM)
    targets = torch.zeros(BATCH, dtype=torch.long)

    def work():
        nonlocal pointer
        query = start.clone().requires_grad_()
        q = functional.normalize(query, dim=1)
        scores = torch.cat([(q * positive).sum(1, keepdim=True), q @ keys.T], dim=1) / 0.2
        functional.cross_entropy(scores, targets).backward()
        keys[pointer : pointer + BATCH] = positive
        pointer = (pointer + BATCH) % size

    return work


def bank(size=1_280_000, negatives=4096):
    rows, start = unit(size, DIM), normal(BATCH, DIM)
    index = torch.randperm(size)[:BATCH]

    def work():
        query = start.clone().requires_grad_()
        q = functional.normalize(query, dim=1)
        slots = torch.randint(0, size, [BATCH, 1 + negatives])
        slots[:, 0] = index
        drawn = rows.index_select(0, slots.reshape(-1)).reshape(BATCH, -1, DIM)
        odds = torch.bmm(drawn, q[:, :, None])[:, :, 0] / 0.07 - 10.0
        loss = functional.softplus(-odds[:, 0]) + functional.softplus(odds[:, 1:]).sum(1)
        loss.mean().backward()
        moved = 0.5 * rows[index] + 0.5 * q.detach()
        rows[index] = functional.normalize(moved, dim=1)

    return work


@torch.no_grad()
def _spread(scores):
    codes = torch.exp(scores / 0.05).T
    codes /= codes.sum()
    for _ in range(3):
        codes /= codes.sum(1, keepdim=True)
        codes /= codes.shape[0]
        codes /= codes.sum(0, keepdim=True)
        codes /= codes.shape[1]
    return (codes * codes.shape[1]).T


def sinkhorn():
    scores = 2 * torch.rand(512, 3000) - 1
    return lambda: _spread(scores)


def knn(rows=60_000, queries=2_000, k=200):
    train, test = unit(rows, DIM), unit(queries, DIM)
    return lambda: [torch.topk(part @ train.T, k) for part in test.split(500)]


CASES = {each.__name__: each for each in (nt_xent, queue, bank, sinkhorn, knn)}

if __name__ == "__main__":
    serve(CASES[sys.argv[1]]())
