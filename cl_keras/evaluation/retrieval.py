"""Retrieval across the two sides of pairs."""

from collections.abc import Sequence

import numpy as np

from cl_keras.evaluation.checks import vectors
from cl_keras.evaluation.knn import neighbors


def cross_retrieval(
    queries: np.ndarray, keys: np.ndarray, ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Recall@k of pairs: the share of queries whose partner is among the k nearest keys.

    Args:
        queries: `[n, d]`, such as `TwoTower.embed` of images.
        keys: `[n, d]`, where row i is the partner of query i, such as `TwoTower.embed_other`.
        ks: numbers of neighbors, each at most n; default: (1, 5).

    Returns:
        `{"recall_at_1": share, …}`, by cosine.

    Raises:
        ValueError: for sides of different shapes, or a k above n.
    """
    queries = vectors("queries", queries)
    keys = vectors("keys", keys, width=queries.shape[1])
    if len(queries) != len(keys):
        raise ValueError(
            f"Each query needs a partner; received {len(queries)} queries and {len(keys)} keys."
        )
    nearest, _ = neighbors(keys, queries, max(ks))
    found = nearest == np.arange(len(queries))[:, None]
    return {f"recall_at_{k}": float(found[:, :k].any(axis=1).mean()) for k in ks}
