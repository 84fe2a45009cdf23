"""The order of examples: exact, complete, reproducible, and the same however many hosts share it."""

import numpy as np
import pytest

from data_pipelines.loading.index_stream import SLOTS, IndexStream, InOrder, batch_numbers


def test_every_block_holds_the_exact_mixture():
    stream = IndexStream(sizes=(70, 1000, 31), weights=(0.5, 0.3, 0.2))
    for block in (0, 7):
        dataset, _ = stream(np.arange(block * SLOTS, (block + 1) * SLOTS))
        assert np.bincount(dataset).tolist() == [500, 300, 200]


def test_data_sets_are_spread_evenly_over_a_batch():
    dataset, _ = IndexStream(sizes=(10, 10, 10), weights=(0.5, 0.3, 0.2))(np.arange(20))
    assert np.abs(np.bincount(dataset) - [10, 6, 4]).max() <= 1


def test_proportions_that_do_not_divide_are_rounded_and_nothing_is_lost():
    dataset, _ = IndexStream(sizes=(5, 5, 5, 5), weights=(1, 1, 1, 1e-9))(np.arange(SLOTS))
    counts = np.bincount(dataset)
    assert counts.sum() == SLOTS
    assert sorted(counts)[1:] == [333, 333, 333]
    assert counts[3] == 1


def test_each_epoch_visits_every_record_once_in_a_new_order():
    stream = IndexStream(sizes=(97, 13), weights=(3, 1), seed=5)
    dataset, index = stream(np.arange(4 * SLOTS))
    for d, size in enumerate(stream.sizes):
        visits = index[dataset == d]
        epochs = visits[: len(visits) // size * size].reshape(-1, size)
        np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(size), (len(epochs), 1)))
        assert (epochs[0] != epochs[1]).any()
    other = IndexStream(sizes=(97, 13), weights=(3, 1), seed=6)(np.arange(4 * SLOTS))[1]
    assert (other != index).any()


def test_an_example_does_not_depend_on_who_asks_for_it():
    stream = IndexStream(sizes=(50, 60), weights=(1, 2), seed=1)
    numbers = np.array([10**12, 3, 999, 10**12 + 1, 0])
    together = np.stack(stream(numbers))
    alone = np.concatenate([np.stack(stream(numbers[i : i + 1])) for i in range(5)], 1)
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_share_the_same_global_batches(hosts):
    slices = [batch_numbers(7, 16, host, hosts) for host in range(hosts)]
    np.testing.assert_array_equal(np.concatenate(slices), np.arange(7 * 16, 8 * 16))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="batch of 10 cannot be shared by 4 hosts"):
        batch_numbers(0, 10, 0, 4)


def test_a_data_set_without_records_or_weight_is_refused():
    with pytest.raises(ValueError, match="needs records and a positive weight"):
        IndexStream(sizes=(3, 0), weights=(1, 1))
    with pytest.raises(ValueError, match="needs records and a positive weight"):
        IndexStream(sizes=(3, 3), weights=(1, 0))


def test_evaluation_goes_through_the_data_sets_in_order():
    dataset, index = InOrder((3, 2))(np.arange(5))
    assert dataset.tolist() == [0, 0, 0, 1, 1]
    assert index.tolist() == [0, 1, 2, 0, 1]
