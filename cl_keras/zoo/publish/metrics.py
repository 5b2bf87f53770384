"""The metrics of a run for its card, each with its protocol."""

import json

from cl_keras.zoo import cards

LEARNED = "learned encoder"


def metrics_of_run(folder):
    """`cards.Metric`s of the learned encoder from evaluation.json, if it exists.

    Raises:
        ValueError: if `cl-keras evaluate` did not write that file.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return ()
    try:
        result = json.loads(path.read_text("utf-8"))
        return tuple(
            cards.Metric(metric["name"], float(metric["value"]), str(metric["protocol"]), None)
            for metric in result["encoders"][LEARNED]
            if not metric["name"].endswith("_labels")  # the label curve
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by `cl-keras evaluate`: {error!r}.") from None
