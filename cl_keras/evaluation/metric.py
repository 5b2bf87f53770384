"""Metrics with their protocol and error, and the difference between two."""

import dataclasses
import functools

import numpy as np

from cl_keras.evaluation.labeled import balanced_weights

RESAMPLES = 1000
"""Number of bootstrap samples for each interval."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A share of hits.

    Attributes:
        name: key of `METRICS`, or `linear_N_labels` of the label curve.
        value: share of hits, from 0 to 1.
        protocol: how it was computed, in a sentence.
        balanced: mean over the classes of their share of hits; None without classes.
        interval: ends of the 95 % interval of `value`.
        balanced_interval: ends of the 95 % interval of `balanced`.
        hits: bool `[t, m]`, whether each test image is a hit, in each trial.
        classes: int `[m]`, the true classes.
    """

    name: str
    value: float
    protocol: str
    balanced: float | None = None
    interval: tuple[float, float] | None = None
    balanced_interval: tuple[float, float] | None = None
    hits: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
    classes: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def as_json(self) -> dict:
        """The metric as plain values, without the individual hits."""
        return {key: value for key, value in vars(self).items() if key not in ("hits", "classes")}


def metric_of(
    name: str, hits: np.ndarray, protocol: str, classes: np.ndarray | None = None, seed: int = 0
) -> Metric:
    """A metric from its hits, with the bootstrap interval of its value.

    Args:
        name: see `Metric`.
        hits: bool `[m]`, whether each test image is a hit; or `[t, m]` for t trials.
        protocol: see `Metric`.
        classes: int `[m]`, the true classes; default: None.
        seed: of the resamples; default: 0.
    """
    hits = np.atleast_2d(hits)
    balanced = balanced_interval = None
    if classes is not None:
        weights = balanced_weights(classes)
        balanced = float(np.mean(hits @ weights))
        balanced_interval = _interval(hits, weights, seed)
    return Metric(
        name=name,
        value=float(hits.mean()),
        protocol=protocol,
        balanced=balanced,
        interval=_interval(hits, None, seed),
        balanced_interval=balanced_interval,
        hits=hits,
        classes=classes,
    )


def _interval(values, weights, seed):
    """Ends of the 95 % bootstrap interval of the weighted mean of values `[t, m]`."""
    ends = np.percentile(_resampled_means(values, weights, seed), [2.5, 97.5])
    low, high = np.clip(ends, values.min(), values.max())  # rounding may lead beyond
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between two metrics.

    Attributes:
        value: the difference of the shares.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval.
    """

    value: float
    low: float
    high: float

    @property
    def is_above(self) -> bool:
        """Whether the first is higher by more than the error."""
        return self.low > 0

    @property
    def is_below(self) -> bool:
        """Whether the first is lower by more than the error."""
        return self.high < 0


def difference(a: Metric, b: Metric, *, balanced: bool = False, seed: int = 0) -> Difference:
    """The difference `a - b`, with a paired bootstrap interval (Efron & Tibshirani 1993).

    Both are resampled together, with the same test images and trials: the difficulty of the test
    images is common to both, and does not contribute to the error of their difference.

    Args:
        a: a metric with its hits.
        b: a metric with the same test images and number of trials.
        balanced: compare the balanced accuracies; default: False.
        seed: of the resamples; default: 0.

    Raises:
        ValueError: metrics of different test images or trials.
    """
    if a.hits is None or b.hits is None or a.hits.shape != b.hits.shape:
        raise ValueError(
            f"Expected two metrics over the same test images and trials; received {a.name} and "
            f"{b.name}, which do not match."
        )
    gain = a.hits.astype(np.float32) - b.hits.astype(np.float32)
    weights = balanced_weights(a.classes) if balanced and a.classes is not None else None
    value = gain.mean() if weights is None else np.mean(gain @ weights)
    return Difference(float(value), *_interval(gain, weights, seed))


def _resampled_means(values, weights, seed):
    """Weighted means of values `[t, m]` in `RESAMPLES` draws of rows and of trials."""
    trials, rows = values.shape
    weights = np.full(rows, 1 / rows) if weights is None else weights
    counts = _draws(rows, seed) * weights.astype(np.float32)  # [resamples, m]
    means = (counts @ values.T.astype(np.float32)) / counts.sum(axis=1, keepdims=True)
    picks = np.random.default_rng([seed, 1]).integers(0, trials, (RESAMPLES, trials))
    return np.take_along_axis(means, picks, axis=1).mean(axis=1)


@functools.lru_cache(maxsize=1)
def _draws(rows, seed):
    """The number of times each row is drawn in each resample: float32 `[resamples, m]`."""
    generator = np.random.default_rng([seed, 0])
    return np.stack(
        [
            np.bincount(generator.integers(0, rows, rows), minlength=rows).astype(np.float32)
            for _ in range(RESAMPLES)
        ]
    )


def clear_leader(metrics: dict[str, Metric], *, balanced: bool = False) -> str | None:
    """The row whose metric exceeds all others by more than the error; None if there is none.

    Args:
        metrics: {row: its metric}, all with the same name.
        balanced: compare the balanced accuracies; default: False.
    """
    known = {name: metric for name, metric in metrics.items() if metric.hits is not None}
    if len(known) < 2:
        return None
    trials = max(len(np.asarray(metric.hits)) for metric in known.values())
    known = {name: repeated(metric, trials) for name, metric in known.items()}

    def share(name):
        metric = known[name]
        return metric.value if not balanced or metric.balanced is None else metric.balanced

    best = max(known, key=share)
    others = [metric for name, metric in known.items() if name != best]
    clear = all(difference(known[best], one, balanced=balanced).is_above for one in others)
    return best if clear else None


def repeated(metric: Metric, trials: int) -> Metric:
    """Turns a metric of one trial into one of several equal trials."""
    if metric.hits is None or len(metric.hits) == trials:
        return metric
    return dataclasses.replace(metric, hits=np.repeat(metric.hits, trials, axis=0))
