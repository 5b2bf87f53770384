import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, loops
from cl_keras.negatives import bank_kernels
from cl_keras.negatives.memory_bank import MemoryBank, check_momentum


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def bank_by_hand(bank, batches, momentum):
    """Row by row: an image's row before the batch, and its last embedding in the batch."""
    for index, vectors in batches:
        before = bank.copy()
        for i, vector in zip(index, vectors, strict=True):
            bank[i] = unit(momentum * before[i] + (1 - momentum) * unit(vector))
    return bank


@pytest.fixture
def batches(random):
    """Five batches of six, with repetitions within a batch and between batches."""
    indices = [
        [3, 0, 7, 2, 9, 1],
        [3, 3, 5, 3, 0, 0],
        [8, 7, 6, 5, 4, 3],
        [9] * 6,
        [0, 1, 0, 1, 2, 0],
    ]
    return [(np.array(index), random.normal(size=[6, 4])) for index in indices]


def test_rows_begin_as_unit_vectors_fixed_by_the_seed():
    bank = MemoryBank(50, 8, seed=3)
    np.testing.assert_allclose(np.linalg.norm(bank.bank, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(bank.bank, MemoryBank(50, 8, seed=3).bank)
    assert np.abs(bank.bank - MemoryBank(50, 8, seed=4).bank).max() > 0.1
    assert np.abs(np.mean(bank.bank)) < 0.05


def test_five_updates_equal_numpy(batches, float64):
    bank = MemoryBank(10, 4)
    expected = bank_by_hand(bank.bank.numpy(), batches, 0.3)
    for index, vectors in batches:
        bank.update(tf.constant(index), tf.constant(vectors), 0.3)
    assert bank.bank.dtype == "float64"
    np.testing.assert_allclose(bank.bank, expected, rtol=0, atol=1e-12)


def test_two_replicas_keep_the_bank_of_one(batches, float64, mirrored):
    alone = MemoryBank(10, 4)
    with mirrored.scope():
        shared = MemoryBank(10, 4)

    @tf.function
    def update(index, vectors):
        shared.update(index, vectors, 0.3)

    for index, vectors in batches:
        alone.update(tf.constant(index), tf.constant(vectors), 0.3)

        def half(array):
            def local(context):
                first = 3 * context.replica_id_in_sync_group
                return tf.constant(array[first : first + 3])

            return mirrored.experimental_distribute_values_from_function(local)

        mirrored.run(update, args=[half(index), half(vectors)])
    copies = shared.bank.value.values
    np.testing.assert_array_equal(copies[0], copies[1])
    np.testing.assert_allclose(copies[0], alone.bank, rtol=0, atol=1e-12)


def addresses(bank, strategy=None):
    """Where the rows of a bank, or of each copy of it, are in memory during each of four steps."""
    seen = []

    def look(rows):
        seen.append(rows.ctypes.data)
        return np.float32(0)

    def step(place):
        index, query = tf.constant([5, 7], tf.int64), tf.ones([2, 4])
        loss = bank.against_drawn([query], index, 16, columns, seed=0, step=0)[0]
        rows = tf.convert_to_tensor(bank.bank.value)
        looked = tf.numpy_function(look, [rows], tf.float32)
        with tf.control_dependencies([loss, looked]):
            bank.update(index, query + place, 0.5)

    run = tf.function(lambda place: strategy.run(step, [place]) if strategy else step(place))
    for place in range(4):
        run(tf.constant(float(place)))
    return seen


def test_no_step_copies_the_bank():
    assert len(set(addresses(MemoryBank(1000, 4)))) == 1


def test_no_step_copies_the_bank_on_two_replicas(mirrored):
    with mirrored.scope():
        bank = MemoryBank(1000, 4)
    assert len(set(addresses(bank, mirrored))) == 2


def test_what_was_read_stays_as_it_was():
    """Though what is read shares memory with the bank."""
    bank = MemoryBank(20, 4)
    read, copied = bank.all_rows() + 0.0, bank.bank.numpy()
    shared = tf.convert_to_tensor(bank.bank.value)
    for _ in range(2):
        bank.update(tf.constant([3], tf.int64), tf.ones([1, 4]), 0.5)
    np.testing.assert_array_equal(shared, copied)
    np.testing.assert_array_equal(read, copied)
    assert np.abs(bank.bank.numpy()[3] - copied[3]).max() > 0.01


def test_a_row_beyond_the_bank_is_an_error():
    """`against_drawn` is not given one; if it were, loops would read other memory."""
    rows, units = np.ones([5, 4], "float32"), np.ones([1, 2, 4], "float32")
    for slot in (5, -1):
        with pytest.raises(IndexError, match=r"0\.\.4; received"):
            bank_kernels.scores(rows, units, np.array([[0, 1], [2, slot]], np.int32))


def test_draws_are_uniform_and_with_replacement():
    drawn = MemoryBank(20, 2).draw(5000, seed=1, step=0, rows=8).numpy()
    counts = np.bincount(drawn.ravel(), minlength=20)
    assert len(counts) == 20 and drawn.min() == 0
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 43.8  # 19 degrees of freedom: p = 0.001


def test_draws_depend_only_on_seed_step_and_global_row():
    bank = MemoryBank(1000, 2)
    whole = bank.draw(50, seed=1, step=tf.constant(7, tf.int64), rows=6).numpy()
    np.testing.assert_array_equal(bank.draw(50, seed=1, step=7, rows=2, first_row=4), whole[4:])
    for other in (
        bank.draw(50, seed=2, step=7, rows=6),
        bank.draw(50, seed=1, step=8, rows=6),
        whole[::-1],
    ):
        assert np.mean(other == whole) < 0.05


def columns(scores):
    """An outcome that is the scores themselves."""
    return tf.unstack(scores, axis=1)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_scores_are_cosines_against_the_rows(random, float64, monkeypatch, count, gpu):
    bank = MemoryBank(30, 4)
    monkeypatch.setattr(loops, "fit_here", lambda: not gpu)
    queries = [random.normal(size=[5, 4]) for _ in range(count)]
    index = np.array([4, 0, 29, 4, 11])
    rows = bank.bank.numpy()
    constants = [tf.constant(query) for query in queries], tf.constant(index)

    scores = bank.against_drawn(*constants, 6, columns, seed=2, step=3)
    slots = np.concatenate([index[:, None], bank.draw(6, 2, 3, rows=5)], axis=1)
    expected = [[unit(query[i]) @ rows[slots[i]].T for i in range(5)] for query in queries]
    np.testing.assert_allclose(
        tf.stack(scores, axis=1), np.concatenate(expected), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("gpu", [False, True])
def test_a_query_drawn_as_its_own_negative_can_be_excluded(random, float64, monkeypatch, gpu):
    bank, index = MemoryBank(5, 4), tf.constant([4, 0, 2])
    monkeypatch.setattr(loops, "fit_here", lambda: not gpu)
    queries = [tf.constant(random.normal(size=[3, 4])) for _ in range(2)]
    drawn = bank.draw(20, 2, 3, rows=3).numpy()
    is_own = np.tile(drawn == index.numpy()[:, None], [2, 1])
    assert is_own.any(axis=1).all()

    def scores(**options):
        found = bank.against_drawn(queries, index, 20, columns, seed=2, step=3, **options)
        return np.stack(found, axis=1)

    every, others = scores(), scores(own_drawn=False)
    np.testing.assert_array_equal(others[:, 0], every[:, 0])
    np.testing.assert_array_equal(others[:, 1:], np.where(is_own, -np.inf, every[:, 1:]))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("own_drawn", [True, False])
def test_losses_have_the_gradient_of_a_cosine(random, float64, monkeypatch, own_drawn, gpu):
    """With unit u of v: ∂L/∂v = (c - u (u·c)) / |v|, where c = Σ_j ∂L/∂s_j·row_j."""
    bank = MemoryBank(8, 4)
    monkeypatch.setattr(loops, "fit_here", lambda: not gpu)
    queries = [tf.constant(random.normal(size=[5, 4])) for _ in range(2)]
    weight, index = random.normal(size=10), tf.constant([4, 0, 7, 4, 1])

    def outcome(scores):
        return [tf.reduce_logsumexp(scores, axis=1), tf.reduce_max(scores, axis=1)]

    with tf.GradientTape() as tape:
        tape.watch(queries)
        losses, _ = bank.against_drawn(
            queries, index, 6, outcome, seed=2, step=3, own_drawn=own_drawn
        )
        total = tf.reduce_sum(losses * weight)
    drawn = bank.draw(6, 2, 3, rows=5).numpy()
    slots = np.concatenate([index[:, None], drawn], axis=1)
    out = np.pad(drawn == index.numpy()[:, None], [[0, 0], [1, 0]]) & (not own_drawn)
    rows = bank.bank.numpy()[slots]
    gradients = tape.gradient(total, queries)
    for query, scale, received in zip(queries, np.split(weight, 2), gradients, strict=True):
        u, norm = unit(query.numpy()), np.linalg.norm(query, axis=1, keepdims=True)
        each = np.where(out, 0, np.exp(np.einsum("bd,bkd->bk", u, rows)))
        c = np.einsum("bk,bkd->bd", scale[:, None] * each / each.sum(axis=1)[:, None], rows)
        expected = (c - u * (u * c).sum(axis=1, keepdims=True)) / norm
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-12)


def test_an_outcome_without_gradient_is_allowed(float64):
    bank, query = MemoryBank(8, 4), tf.ones([2, 4], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(query)
        (loss,) = bank.against_drawn(
            [query], tf.constant([1, 2]), 3, lambda s: [tf.stop_gradient(s[:, 0])], seed=0, step=0
        )
    np.testing.assert_array_equal(tape.gradient(loss, query), np.zeros([2, 4]))


def test_two_replicas_score_as_one(random, float64, mirrored):
    query, index = random.normal(size=[6, 4]), np.arange(6)
    with mirrored.scope():
        bank = MemoryBank(30, 4)
    expected = MemoryBank(30, 4).against_drawn(
        [tf.constant(query)], tf.constant(index), 5, columns, seed=0, step=0
    )

    @tf.function
    def score():
        rows = distribute.first_row(3) + tf.range(3)
        local = tf.gather(tf.constant(query), rows), tf.gather(tf.constant(index), rows)
        found = bank.against_drawn([local[0]], local[1], 5, columns, seed=0, step=0)
        return tf.stack(found, axis=1)

    received = tf.concat(mirrored.run(score).values, axis=0)
    np.testing.assert_allclose(received, tf.stack(expected, axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_under_mixed_precision_the_bank_stays_float32(policy):
    bank = MemoryBank(10, 4)
    bank.update(tf.constant([1], tf.int64), tf.ones([1, 4], bank.compute_dtype), 0.5)
    assert bank.bank.dtype == bank.rows([1]).dtype == "float32"


@pytest.mark.parametrize("index", [[0, 10], [-1, 3]])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_an_index_outside_is_an_error(index, wrap):
    bank = MemoryBank(10, 4)
    read = wrap(lambda i: bank.rows(bank.checked(i)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in 0\.\.9.*of 10 images"):
        read(tf.constant(index))


def test_no_index_is_an_error():
    with pytest.raises(ValueError, match='needs the index of each image .* received no "index"'):
        MemoryBank(32, 4).checked(None)


def test_wrong_sizes_and_momenta_are_refused():
    with pytest.raises(ValueError, match="size=0, dim=4"):
        MemoryBank(0, 4)
    for momentum in (1.0, -0.1, None):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
            check_momentum(momentum)


def test_it_survives_its_config():
    bank = MemoryBank(10, 4, seed=2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(bank))
    assert again.get_config() == bank.get_config()
    np.testing.assert_array_equal(again.bank, bank.bank)
