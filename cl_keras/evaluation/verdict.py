"""A verdict on an encoder from its metrics: whether it has learned, how sure that is, what next."""

import dataclasses

import numpy as np

from cl_keras.evaluation.advice import Training, advice
from cl_keras.evaluation.metric import Difference, Metric, difference, repeated
from cl_keras.evaluation.table import MAJORITY

LEARNED = "learned encoder"
"""The row that a verdict is about."""

HEADLINE_LABELS = 160
"""The verdict on few labels uses the last point of the label curve up to this number."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of the learned encoder with one baseline, in one metric.

    Attributes:
        baseline: row of the baseline.
        metric: name of the metric.
        learned: share of the learned encoder, balanced if the classes are uneven.
        other: share of the baseline.
        difference: difference of the two, with its error.
    """

    baseline: str
    metric: str
    learned: float
    other: float
    difference: Difference


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The conclusion of an evaluation.

    Attributes:
        outcome: "better", "worse" or "undecided": the learned encoder compared with the best
            baseline with few labels (without labels, by instance retrieval), beyond the error.
        text: one paragraph in plain words.
        healthy: whether the embedding makes use of its space.
        balanced: whether shares are balanced accuracies, since the test classes are uneven.
        comparisons: all comparisons behind the text.
        equal_labels: the smallest number of labels with which the learned encoder reaches the best
            baseline with all labels; None if it does not.
        next_steps: what to do next, the most useful first.
    """

    outcome: str
    text: str
    healthy: bool
    balanced: bool
    comparisons: tuple[Comparison, ...]
    equal_labels: int | None
    next_steps: tuple[str, ...]

    def as_json(self) -> dict:
        """The verdict as plain values."""
        return dataclasses.asdict(self)


def verdict(
    rows: dict[str, list[Metric]], health: dict, training: Training | None = None
) -> Verdict:
    """Judges the row `LEARNED` against all others.

    Args:
        rows: rows as returned by `table` with `curve=True`, one of them `LEARNED`.
        health: health of the learned embeddings of the test images, as returned by `health`.
        training: the facts of the run, for advice; default: None.

    Raises:
        ValueError: no row `LEARNED`, or no other row.
    """
    if LEARNED not in rows or len(rows) < 2:
        raise ValueError(
            f"A verdict needs the row {LEARNED!r} and a baseline; received {list(rows)}."
        )
    metrics = ComparedMetrics(rows)
    headline = metrics.headline()
    compared = metrics.compare(headline)
    outcome = _outcome(compared)
    healthy, embedding = _embedding(health)
    has_labels = headline != "retrieval_top1"
    sentences = [_opening(outcome, healthy), _headline(metrics, compared, headline)]
    equal_labels = None
    if has_labels:
        equal_labels = metrics.equal_labels()
        sentences += [_all_labels(metrics, equal_labels)]
        others = {"linear", "knn"} - {headline}
        compared += [one for metric in sorted(others) for one in metrics.compare(metric)]
    steps = advice(outcome, healthy, metrics.best_baseline(headline), training or Training())
    sentences += [embedding, "Next: " + "; ".join(steps) + "."]
    return Verdict(
        outcome=outcome,
        text=" ".join(sentence for sentence in sentences if sentence),
        healthy=healthy,
        balanced=metrics.balanced,
        comparisons=tuple(compared),
        equal_labels=equal_labels,
        next_steps=tuple(steps),
    )


class ComparedMetrics:
    """The metrics of a table, and the comparisons that a verdict needs."""

    def __init__(self, rows: dict[str, list[Metric]]):
        self._rows = {name: {m.name: m for m in metrics} for name, metrics in rows.items()}
        self.baselines = [name for name in rows if name != LEARNED]
        self.balanced = _are_uneven(self._rows[LEARNED])

    def share(self, row: str, metric: str) -> float:
        """A metric of a row, balanced if the classes are uneven."""
        found = self._rows[row][metric]
        return found.balanced if self.balanced and found.balanced is not None else found.value

    def interval(self, row: str, metric: str) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        found = self._rows[row][metric]
        interval = found.balanced_interval if self.balanced else found.interval
        assert interval is not None, f"{metric} of {row} has no hits of single images"
        return interval

    def curve(self, row: str) -> dict[int, float]:
        """{labels: share} of a row's label curve."""
        names = [name for name in self._rows[row] if name.endswith("_labels")]
        return {int(name.split("_")[1]): self.share(row, name) for name in names}

    def headline(self) -> str:
        """The deciding metric: few labels if possible, else all labels, else instance retrieval."""
        counts = self.curve(LEARNED)
        if counts:
            few = [n for n in counts if n <= HEADLINE_LABELS] or [min(counts)]
            return f"linear_{max(few)}_labels"
        return "linear" if "linear" in self._rows[LEARNED] else "retrieval_top1"

    def compare(self, metric: str) -> list[Comparison]:
        """Comparisons with every baseline that has the metric, the best first."""
        mine, found = self._rows[LEARNED].get(metric), []
        for name in self.baselines:
            other = self._rows[name].get(metric)
            if other is None:  # the majority class is the same for every number of labels
                other = self._rows[name].get("linear") if name == MAJORITY else None
            if mine is None or other is None:
                continue
            other = repeated(other, len(np.asarray(mine.hits)))
            gain = difference(mine, other, balanced=self.balanced)
            share = self.share(LEARNED, metric)
            found.append(Comparison(name, metric, share, share - gain.value, gain))
        return sorted(found, key=lambda one: -one.other)

    def best_baseline(self, metric: str) -> str:
        """The baseline with the highest share of a metric."""
        return self.compare(metric)[0].baseline

    def best_with_all(self) -> tuple[str, str, float]:
        """Row, metric and share of the best baseline with all labels."""
        best = max(self.baselines, key=lambda name: self.with_all(name)[1])
        return best, *self.with_all(best)

    def with_all(self, row: str) -> tuple[str, float]:
        """Metric and share of the better of a linear classifier and k-NN with all labels."""
        known = [metric for metric in ("linear", "knn") if metric in self._rows[row]]
        shares = {metric: self.share(row, metric) for metric in known}
        best = max(shares, key=shares.__getitem__)
        return best, shares[best]

    def equal_labels(self) -> int | None:
        """The smallest number of labels with which the learned encoder reaches `best_with_all`."""
        goal = self.best_with_all()[2]
        reached = [n for n, share in sorted(self.curve(LEARNED).items()) if share >= goal]
        return min(reached, default=None)


def _are_uneven(metrics):
    """Whether one class has over a tenth more test images than another."""
    classes = next((m.classes for m in metrics.values() if m.classes is not None), None)
    if classes is None:
        return False
    counts = np.unique(classes, return_counts=True)[1]
    return bool(counts.max() > 1.1 * counts.min())


def _outcome(compared):
    if all(one.difference.is_above for one in compared):
        return "better"
    return "worse" if any(one.difference.is_below for one in compared) else "undecided"


def _opening(outcome, healthy):
    if not healthy:
        return "The embedding has collapsed: do not use this encoder."
    return {
        "better": "The encoder has learned something that no baseline has.",
        "worse": "The learned encoder does not win: a baseline is better.",
        "undecided": "The learned encoder is not clearly better than the baselines.",
    }[outcome]


def _headline(metrics, compared, metric):
    """The deciding metric, compared with every baseline."""
    low, high = metrics.interval(LEARNED, metric)
    share = f"{percent(compared[0].learned)} (95 % interval {percent(low)} to {percent(high)})"
    if metric == "retrieval_top1":
        start = f"Without labels, it retrieves the originals of {share} of the perturbed images"
    else:
        accuracy = "balanced accuracy" if metrics.balanced else "accuracy"
        start = f"With {_labels_of(metric)}, its {accuracy} on test images is {share}"
    return f"{start}: {', '.join(_compared(one) for one in compared)}."


def _compared(one):
    gain = one.difference
    error = f"{points(gain.low)} to {points(gain.high)}"
    if gain.is_above:
        words = f"{points(gain.value)} points above"
    elif gain.is_below:
        words = f"{points(-gain.value)} points below"
        error = f"{points(-gain.high)} to {points(-gain.low)}"
    else:
        words = f"no difference beyond the error from the {percent(one.other)} of"
    return f"{words} {_called(one.baseline)} ({error})"


def _labels_of(metric):
    return "all labels" if metric == "linear" else f"{int(metric.split('_')[1]):,} labels"


def _all_labels(metrics, equal_labels):
    name, metric, share = metrics.best_with_all()
    kind = "k-NN" if metric == "knn" else "a linear classifier"
    goal = f"the {percent(share)} that the best baseline, {_called(name)} with {kind}, reaches"
    if equal_labels is not None:
        return f"{equal_labels:,} labels are enough to match {goal} with all labels."
    mine = metrics.with_all(LEARNED)[1]
    if mine >= share:
        return f"With all labels it reaches {percent(mine)}, at least {goal}."
    return f"With all labels it reaches {percent(mine)}, less than {goal}."


def _embedding(health):
    """Whether the embedding is healthy, and a sentence about it."""
    rank, width, spread = (
        health["effective_rank"],
        health["protocol"]["width"],
        -health["uniformity"],
    )
    least = min(width, max(3, 0.03 * width))
    if rank < least or spread < 0.02:
        return False, (
            f"Of its {width} dimensions, about {rank:.0f} are used, with a spread of {spread:.2f} "
            "(negative uniformity; 0 is a single point)."
        )
    words = "healthy" if spread >= 0.3 else "usable, though crowded into a narrow cone"
    return True, (
        f"The embedding is {words}: it spreads over about {rank:.0f} of {width} directions, with a "
        f"uniformity of {-spread:.1f}."
    )


def _called(name):
    article = "" if name.startswith("raw") or name.startswith("PCA") else "the "
    return article + name


def percent(share: float) -> str:
    """A share as text: 0.741 → "74.1 %"."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares in percentage points: 0.0912 → "9.1"."""
    return f"{100 * share:.1f}"
