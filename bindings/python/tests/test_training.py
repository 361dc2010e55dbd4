import threading

import numpy as np
import pytest

import qwensft


def weights(model):
    return dict(model.named_parameters())


@pytest.fixture
def batch(tok, conversation):
    return qwensft.preprocess(tok, [conversation, conversation])


def test_steps_lower_the_loss(model, batch):
    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-2))
    before = trainer.evaluate(batch)
    losses = [trainer.step(batch).loss for _ in range(5)]
    assert losses[0] == pytest.approx(before.loss, rel=1e-5)
    assert trainer.evaluate(batch).loss < losses[0]
    assert before.supervised_tokens == int((batch.labels[:, 1:] != -100).sum())
    assert before.grad_norm is None and before.seconds > 0


def test_sgd_is_the_gradient_times_the_rate(model, batch):
    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=0.5))
    norms = trainer.gradient_norms(batch)
    before = weights(model)
    trainer.step(batch)
    after = weights(model)
    for name, norm in norms.items():
        moved = np.linalg.norm((before[name] - after[name]).astype(np.float64)) / 0.5
        assert moved == pytest.approx(norm, rel=2e-3, abs=1e-5), name


def test_adamw_first_step_moves_by_the_rate(model, batch):
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-3, weight_decay=0.0))
    before = weights(model)
    metrics = trainer.step(batch)
    moved = np.abs(weights(model)["model.norm.weight"] - before["model.norm.weight"])
    assert metrics.grad_norm > 0
    assert moved.max() == pytest.approx(1e-3, rel=0.01)


def test_refused_steps_change_nothing(model, batch):
    trainer = qwensft.Trainer(model)
    before = trainer.evaluate(batch).loss
    with pytest.raises(ValueError, match="99999999"):
        trainer.step(qwensft.Batch([[1, 99999999]], [[1, 2]]))
    with pytest.raises(qwensft.NoSupervisedTokensError):
        trainer.step(qwensft.Batch([[1, 2]], [[-100, -100]]))
    assert trainer.evaluate(batch).loss == before


@pytest.mark.parametrize(
    "optimizer, message",
    [
        (qwensft.SGD(lr=-1.0), "lr must be"),
        (qwensft.SGD(lr=float("nan")), "lr must be"),
        (qwensft.SGD(momentum=-1.0), "momentum"),
        (qwensft.SGD(nesterov=True), "nesterov"),
        (qwensft.AdamW(betas=(1.0, 0.999)), "beta1"),
        (qwensft.AdamW(eps=-1.0), "eps must be"),
    ],
)
def test_bad_optimizers(model, optimizer, message):
    with pytest.raises(ValueError, match=message):
        qwensft.Trainer(model, optimizer=optimizer)


def test_optimizer_type(model):
    with pytest.raises(TypeError, match="optimizer is str, expected SGD or AdamW"):
        qwensft.Trainer(model, optimizer="sgd")


def test_trainer_keeps_the_model(checkpoint, batch):
    trainer = qwensft.Trainer(qwensft.Model.from_pretrained(checkpoint))
    trainer.model.close()
    assert trainer.step(batch).loss > 0


def test_token_losses_make_the_loss(model, batch):
    trainer = qwensft.Trainer(model)
    losses = trainer.token_losses(batch)
    learned = batch.labels != -100
    learned[:, 0] = False
    assert (np.isnan(losses) == ~learned).all()
    assert losses[learned].mean() == pytest.approx(trainer.evaluate(batch).loss, rel=1e-5)


def test_resuming_is_like_never_having_stopped(checkpoint, batch, tmp_path):
    model = qwensft.Model.from_pretrained(checkpoint)
    trainer = qwensft.Trainer(model, qwensft.AdamW())
    trainer.step(batch)
    trainer.save_state(tmp_path / "state")
    model.save_pretrained(tmp_path / "model", dtype="float32")
    straight = trainer.step(batch).loss, trainer.evaluate(batch).loss

    model = qwensft.Model.from_pretrained(tmp_path / "model")
    trainer = qwensft.Trainer(model, qwensft.AdamW())
    trainer.load_state(tmp_path / "state")
    assert (trainer.step(batch).loss, trainer.evaluate(batch).loss) == straight
    with pytest.raises(ValueError, match="optimizer"):
        qwensft.Trainer(model, qwensft.SGD()).load_state(tmp_path / "state")
    with pytest.raises(FileNotFoundError):
        trainer.load_state(tmp_path / "nowhere")


def test_frozen_parameters_stay(model, batch):
    layers = model.set_trainable("model.layers.*", False)
    assert 0 < layers < len(model.parameter_shapes())
    before = weights(model)
    qwensft.Trainer(model, qwensft.SGD(lr=0.1)).step(batch)
    for name, values in weights(model).items():
        assert (values == before[name]).all() == name.startswith("model.layers."), name
    assert model.set_trainable("model.layers.*") == layers
    with pytest.raises(ValueError, match="no parameter's name matches 'nothing'"):
        model.set_trainable("nothing")


def test_a_clone_learns_by_itself(model, batch):
    clone = model.clone()
    before = weights(model)
    qwensft.Trainer(clone).step(batch)
    assert all((values == before[name]).all() for name, values in weights(model).items())
    assert not (weights(clone)["model.norm.weight"] == before["model.norm.weight"]).all()


def test_replaced_parameters(model):
    name, shape = "model.norm.weight", (model.config.hidden_size,)
    model.set_parameter(name, np.zeros(shape))
    assert (model.forward([[1, 2]]) == 0).all()
    with pytest.raises(ValueError, match=r"model.norm.weight has shape \(3,\), expected"):
        model.set_parameter(name, [1, 2, 3])
    with pytest.raises(qwensft.NonFiniteError, match="model.norm.weight"):
        model.set_parameter(name, np.full(shape, np.nan))
    with pytest.raises(ValueError, match="the model has no parameter 'nothing'"):
        model.set_parameter("nothing", [1])


def test_accumulated_steps_are_one_step(checkpoint, tok, conversation):
    """Several batches weigh by their tokens, not by their number."""
    short = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]
    together = qwensft.preprocess(tok, [conversation, short, short], label_policy="assistant")
    apart = [qwensft.preprocess(tok, [row], label_policy="assistant") for row in (conversation, short, short)]
    models = [qwensft.Model.from_pretrained(checkpoint) for _ in range(2)]
    one, several = (qwensft.Trainer(model, qwensft.SGD(lr=0.1)) for model in models)
    metrics = several.step(apart)
    assert metrics.loss == pytest.approx(one.step(together).loss, rel=1e-5)
    assert metrics.supervised_tokens == one.evaluate(together).supervised_tokens
    assert several.evaluate(apart).loss == pytest.approx(one.evaluate(together).loss, rel=1e-4)
    assert several.evaluate(together).loss == pytest.approx(one.evaluate(together).loss, rel=1e-4)
    with pytest.raises(ValueError, match="'batches' is empty"):
        several.step([])
    with pytest.raises(TypeError, match=r"batch\[1\] is str, expected Batch"):
        several.step([together, "more"])


def test_row_losses(model, tok, conversation):
    short = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]
    trainer = qwensft.Trainer(model)
    batch = qwensft.preprocess(tok, [conversation, short], label_policy="assistant")
    alone = [trainer.evaluate(qwensft.preprocess(tok, [row], label_policy="assistant")).loss for row in (conversation, short)]
    assert trainer.row_losses(batch) == pytest.approx(alone, rel=1e-4)
    weights = np.zeros(batch.shape, dtype=np.float32)
    weights[0] = 1
    half = qwensft.Batch(batch.input_ids, batch.labels, batch.attention_mask, weights)
    losses = trainer.row_losses(half)
    assert losses[0] == pytest.approx(alone[0], rel=1e-4) and np.isnan(losses[1])


def test_token_weights(model, batch):
    """Σ w·ce ÷ Σ w, from the losses of the tokens."""
    trainer = qwensft.Trainer(model)
    weights = np.random.default_rng(0).uniform(0, 2, batch.shape).astype(np.float32)
    weighted = qwensft.Batch(batch.input_ids, batch.labels, batch.attention_mask, token_weights=weights)
    losses = trainer.token_losses(batch)
    learned = ~np.isnan(losses)
    expected = (losses[learned] * weights[learned]).sum() / weights[learned].sum()
    assert trainer.evaluate(weighted).loss == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="token_weights: row 0, position 3: -1"):
        weights[0, 3] = -1
        qwensft.Batch(batch.input_ids, batch.labels, batch.attention_mask, token_weights=weights)


def test_busy_between_two_threads(model, batch):
    """Two threads step at once: each step is done whole or refused with BusyError, never mixed."""
    trainer = qwensft.Trainer(model)
    done, busy = [], []
    start = threading.Barrier(2)

    def work():
        start.wait()
        for _ in range(40):
            try:
                done.append(trainer.step(batch).loss)
            except qwensft.BusyError as error:
                busy.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(busy) == 80 and done and np.isfinite(done).all()
    assert set(busy) == {"the model is in use on another thread"}


def test_progress_and_its_answer(model, batch):
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW())
    seen = []
    trainer.step(batch, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[0][0] == 0 and seen[-1][0] == seen[-1][1] > 2
    before = trainer.evaluate(batch, on_progress=lambda done, total: None).loss
    with pytest.raises(qwensft.CancelledError):
        trainer.step(batch, on_progress=lambda done, total: done > total / 2)
    with pytest.raises(ZeroDivisionError):
        trainer.step(batch, on_progress=lambda done, total: 1 // 0)
    assert trainer.evaluate(batch).loss == before


def test_stopped_from_another_thread(model, batch):
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW())
    before = trainer.evaluate(batch).loss
    trainer.stop()  # nothing is under way

    def stop_in_the_middle(done, total):
        if done > total / 2:
            thread = threading.Thread(target=trainer.stop)
            thread.start()
            thread.join()

    with pytest.raises(qwensft.CancelledError):
        trainer.step(batch, on_progress=stop_in_the_middle)
    assert trainer.evaluate(batch).loss == before
    trainer.step(batch)
    assert trainer.evaluate(batch).loss < before


def test_undo(model, batch):
    before = model.clone()
    trainer = qwensft.Trainer(model, qwensft.SGD(lr=1e-2))
    assert (trainer.get_lr(), trainer.global_step) == (1e-2, 0)
    first = trainer.step(batch).loss
    trainer.step(batch)
    assert trainer.global_step == 2
    model.copy_from(before)
    assert trainer.evaluate(batch).loss == first
    trainer.set_lr(5e-3)
    assert trainer.get_lr() == 5e-3


def test_memory(checkpoint, model):
    plain = qwensft.estimate_training_memory(checkpoint)
    assert plain.weights // 4 - model.num_parameters() < 16384 and plain.gradients == plain.optimizer == 0
    assert plain.total == plain.weights + plain.activations and plain.fits == (plain.total <= plain.available)
    adam = qwensft.estimate_training_memory(checkpoint, qwensft.AdamW(), max_grad_norm=1.0, dtype="bfloat16", tokens=100)
    assert adam.optimizer == 2 * adam.gradients > 0 and adam.activations < plain.activations
    momentum = qwensft.estimate_training_memory(checkpoint, qwensft.SGD(momentum=0.9))
    assert momentum.optimizer == momentum.gradients > 0
    huge = qwensft.estimate_training_memory(checkpoint, tokens=10**12)
    assert not huge.fits
    with pytest.raises(ValueError, match="tokens is 0"):
        qwensft.estimate_training_memory(checkpoint, tokens=0)
    with pytest.raises(FileNotFoundError):
        qwensft.estimate_training_memory("/nowhere")


def test_adamw_in_8_bits(checkpoint, batch, tmp_path):
    """Losses like those of 32 bits, in a state of a third of the size that goes on bit for bit."""
    curves = {}
    for bits in (32, 8):
        trainer = qwensft.Trainer(qwensft.Model.from_pretrained(checkpoint), qwensft.AdamW(lr=1e-3, state_bits=bits))
        curves[bits] = [trainer.step(batch).loss for _ in range(10)]
        trainer.save_state(tmp_path / str(bits))
    assert curves[8][0] == curves[32][0] and curves[8] == pytest.approx(curves[32], abs=0.05 * curves[32][0])
    assert (tmp_path / "8").stat().st_size < 0.4 * (tmp_path / "32").stat().st_size
    trainer.model.save_pretrained(tmp_path / "model", dtype="float32")
    again = qwensft.Trainer(qwensft.Model.from_pretrained(tmp_path / "model"), qwensft.AdamW(state_bits=8))
    again.load_state(tmp_path / "8")
    assert again.step(batch).loss == trainer.step(batch).loss and again.step(batch).loss == trainer.step(batch).loss
    with pytest.raises(ValueError, match="state_bits must be 32 or 8, not 16"):
        qwensft.Trainer(trainer.model, qwensft.AdamW(state_bits=16))
    full, small = (
        qwensft.estimate_training_memory(checkpoint, qwensft.AdamW(state_bits=bits), tokens=1).optimizer for bits in (32, 8)
    )
    assert 0.25 < small / full < 0.3
