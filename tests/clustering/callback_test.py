import keras
import pytest

from cl_keras.clustering import Recluster


class Listener(keras.Model):
    def __init__(self):
        super().__init__()
        self.heard = []

    def recluster(self, batches, epoch):
        self.heard.append((batches, epoch))


@pytest.mark.parametrize("every, epochs", [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4])])
def test_it_clusters_before_the_right_epochs(every, epochs):
    callback = Recluster("batches", every=every)
    callback.set_model(model := Listener())
    for epoch in range(5):
        callback.on_epoch_begin(epoch)
    assert model.heard == [("batches", epoch) for epoch in epochs]


def test_an_epoch_that_is_resumed_has_its_clusters_already():
    callback = Recluster("batches")
    callback.set_model(model := Listener())
    callback.on_epoch_resumed(3)
    assert model.heard == []


def test_an_interval_below_one_epoch_is_refused():
    with pytest.raises(ValueError, match="received 0"):
        Recluster("batches", every=0)
