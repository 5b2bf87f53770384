"""The figures of a run for its card, each with the protocol by which it was taken."""

import json

from cl_keras.zoo import cards

LEARNED = "learned encoder"
FAMILIES = ("disturbed_knn", "find_original", "linear", "knn")
"""Beginnings of the names of measures in evaluation.json."""


def metrics_of_run(folder):
    """`cards.Metric`s of the learned encoder in evaluation.json; none, if it is not there.

    Raises:
        ValueError: if that file is not as `cl-keras evaluate` writes it.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return ()
    try:
        result = json.loads(path.read_text("utf-8"))
        [row] = [row for row in result["rows"] if row["name"] == LEARNED]
        return tuple(
            cards.Metric(name, float(value), _protocol(name, result["protocol"]), None)
            for name, value in row.items()
            if name != "name"
        )
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"{path} is not as `cl-keras evaluate` writes it: {error!r}.") from None


def _protocol(name, protocol):
    family = next(family for family in FAMILIES if name.startswith(family))
    rule = protocol["knn" if family == "disturbed_knn" else family]
    also_k = protocol["also_k"]
    if also_k is not None and name.endswith(f"knn_{also_k}"):
        rule = rule.replace(f"k {protocol['k']},", f"k {also_k},")
    parts = [rule, f"{protocol['train_images']} training and {protocol['test_images']} test images"]
    if family == "disturbed_knn":
        parts.append("test images cropped, flipped, brighter or darker")
    if name.endswith("_percent"):
        parts.append(f"{name.split('_')[1]} % of the labels")
    return "; ".join(parts)
