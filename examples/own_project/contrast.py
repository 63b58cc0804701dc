"""An evaluation of one's own: accuracy at lower contrast."""

from jacexp.evaluate import Samples
from jacexp.evaluate.frozen import frozen, is_correct
from jacexp.evaluate.points import points
from jacexp.evaluate.settings import Axis


def contrast(samples: Samples, *, factors: Axis = (1.0, 0.5, 0.25), grey: float = 0.5):
    right = dict.fromkeys(factors, 0)
    with frozen(samples.net):
        for batch in samples.batches():
            for factor in factors:
                x = grey + factor * (batch.x - grey)
                right[factor] += int(is_correct(samples.net, x, batch.y).sum())
    rows = [{"variable": "factor", "value": f, "n": len(samples), "n_correct": right[f]} for f in factors]
    return points(rows, threat="grey + factor * (pixels - grey)")
