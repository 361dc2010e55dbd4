"""Processes that train together, forked, with a sum over pipes in the place of MPI."""

import multiprocessing
import os

import numpy as np
import pytest

import qwensft
from qwensft.distributed import Collective

FORK = multiprocessing.get_context("fork")


def run(size, body, **options):
    """What `body(collective)` returned, or raised, in each of `size` processes; None for one that died.

    This process adds up what comes, in the order of ranks. When one is missing it hangs up, as engines do.
    """
    sums = [FORK.Pipe() for _ in range(size)]
    reports = [FORK.Pipe(False) for _ in range(size)]

    def child(rank):
        # Only its own ends: what somebody else holds open is never at its end.
        for other in range(size):
            sums[other][0].close()
            reports[other][0].close()
            if other != rank:
                sums[other][1].close()
                reports[other][1].close()
        pipe = sums[rank][1]

        def all_reduce(values):
            pipe.send_bytes(values.tobytes())
            values[:] = np.frombuffer(pipe.recv_bytes(), dtype=np.float32)

        try:
            result = body(Collective(rank, size, all_reduce, **options))
        except Exception as error:
            result = repr(error), repr(error.__cause__)
        pipe.close()
        reports[rank][1].send(result)
        os._exit(0)

    processes = [FORK.Process(target=child, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    for _, end in [*sums, *reports]:
        end.close()
    pipes = [pipe for pipe, _ in sums]
    while True:
        received = [receive(pipe.recv_bytes) for pipe in pipes]
        if None in received:
            break
        total = np.sum([np.frombuffer(data, dtype=np.float32) for data in received], axis=0, dtype=np.float32)
        for pipe in pipes:
            pipe.send_bytes(total.tobytes())
    for pipe in pipes:
        pipe.close()
    results = [receive(report.recv) for report, _ in reports]
    for process in processes:
        process.join(60)
    return results


def receive(function):
    try:
        return function()
    except (EOFError, OSError):
        return None


def rows(tok, conversation, step, rank):
    """Unequal parts: rank 0 has one conversation, rank 1 three in two batches, the last one in odd steps none."""
    others = [
        [{"role": "user", "content": f"{step}+{i}?"}, {"role": "assistant", "content": "x" * (rank + i + 1)}] for i in range(2)
    ]
    if rank == 0:
        return [qwensft.preprocess(tok, [conversation])]
    if rank == 2 and step % 2 == 1:
        return []
    return [qwensft.preprocess(tok, others), qwensft.preprocess(tok, [conversation])]


def trained(model):
    """Every number that training changes."""
    return np.concatenate([values.ravel() for _, values in sorted(model.named_parameters())])


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("optimizer", [qwensft.SGD(lr=1e-2), qwensft.AdamW(lr=1e-3, eps=1e-4)])
def test_ranks_are_one_process(checkpoint, tok, conversation, optimizer, ranks):
    def train(collective, parts):
        model = qwensft.Model.from_pretrained(checkpoint)
        trainer = qwensft.Trainer(model, optimizer=optimizer, all_reduce=collective)
        losses = [trainer.step([b for r in parts for b in rows(tok, conversation, step, r)]).loss for step in range(10)]
        return losses, trained(model)

    together = run(ranks, lambda collective: train(collective, [collective.rank]), check_interval=3)
    losses, values = train(None, range(ranks))
    for mine, weights in together:
        assert mine == together[0][0] and np.array_equal(weights, together[0][1])
        assert mine == pytest.approx(losses, rel=1e-5)
        assert np.abs(weights - values).max() < 1e-5 * np.abs(values).max()


def test_local_steps(checkpoint, tok, conversation):
    """Two steps of each by itself, and the mean; then again."""

    def train(collective, rank):
        model = qwensft.Model.from_pretrained(checkpoint)
        trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-3), all_reduce=collective)
        for step in range(2):
            trainer.step(rows(tok, conversation, step, rank))
        return trained(model)

    alone = [train(None, rank) for rank in range(2)]
    start = trained(qwensft.Model.from_pretrained(checkpoint))
    mean = alone[0] / 2 + alone[1] / 2
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    for weights in run(2, lambda collective: train(collective, collective.rank), local_steps=2):
        assert np.abs(weights - mean).max() < 1e-5 * np.abs(mean).max()
    outer = start + 0.5 * 1.9 * (mean - start)  # Nesterov's first step
    options = {"local_steps": 2, "outer_lr": 0.5, "outer_momentum": 0.9}
    for weights in run(2, lambda collective: train(collective, collective.rank), **options):
        assert np.abs(weights - outer).max() < 1e-5 * np.abs(mean).max()


def test_a_function_is_no_collective(checkpoint):
    model = qwensft.Model.from_pretrained(checkpoint)
    with pytest.raises(TypeError, match="all_reduce is function, expected a qwensft.distributed.Collective"):
        qwensft.Trainer(model, all_reduce=lambda values: None)


def test_a_rank_that_is_cancelled(checkpoint, tok, conversation):
    def body(collective):
        trainer = qwensft.Trainer(qwensft.Model.from_pretrained(checkpoint), all_reduce=collective)
        trainer.step(rows(tok, conversation, 0, collective.rank), on_progress=lambda done, total: collective.rank == 1)

    messages = [error for error, _ in run(3, body)]
    assert all(message.startswith("CancelledError") for message in messages)
    assert "rank 1 of 3" in messages[0] and "rank 1 of 3" not in messages[1]


def test_a_rank_that_dies(checkpoint, tok, conversation, tmp_path):
    """The others get an error, and go on from the state that was saved, as many as before."""

    def body(collective):
        trainer = qwensft.Trainer(qwensft.Model.from_pretrained(checkpoint), all_reduce=collective)
        trainer.step(rows(tok, conversation, 0, collective.rank))
        if collective.rank == 0:
            trainer.save_state(tmp_path / "state")
            trainer.model.save_pretrained(tmp_path / "model", dtype="float32")
        if collective.rank == 1:
            os._exit(9)
        trainer.step(rows(tok, conversation, 1, collective.rank))

    survivor, dead, other = run(3, body)
    assert dead is None
    for error, cause in (survivor, other):
        assert "all_reduce returned 1; nothing was changed" in error and cause.startswith(("EOFError", "ConnectionResetError", "BrokenPipeError"))

    def resumed(collective):
        trainer = qwensft.Trainer(qwensft.Model.from_pretrained(tmp_path / "model"), all_reduce=collective)
        trainer.load_state(tmp_path / "state")
        loss = trainer.step(rows(tok, conversation, 1, collective.rank)).loss
        return trainer.global_step, loss

    def whole(collective):
        trainer = qwensft.Trainer(qwensft.Model.from_pretrained(checkpoint), all_reduce=collective)
        return 2, [trainer.step(rows(tok, conversation, step, collective.rank)).loss for step in range(2)][1]

    assert run(3, resumed) == run(3, whole)


@pytest.mark.filterwarnings("ignore:no validation data")
def test_a_run_divides_its_rows(checkpoint, tok):
    conversations = [[{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "y" * i}] for i in range(1, 8)]

    def losses(collective, batch_size):
        model = qwensft.Model.from_pretrained(checkpoint)
        return list(qwensft.train(model, tok, conversations, 2, batch_size, all_reduce=collective, seed=3).losses)

    two = run(2, lambda collective: losses(collective, 2))
    assert two[0] == two[1] == pytest.approx(losses(None, 4), rel=1e-4)


def test_what_is_no_collective(model):
    with pytest.raises(ValueError, match="rank must be from 0 to 1"):
        qwensft.Trainer(model, all_reduce=Collective(2, 2, lambda values: None))
    trainer = qwensft.Trainer(model, all_reduce=Collective(0, 2, lambda values: 1 / 0))
    with pytest.raises(qwensft.IOFailure) as error:
        trainer.step(qwensft.Batch([[1, 2]], [[1, 2]]))
    assert isinstance(error.value.__cause__, ZeroDivisionError)
