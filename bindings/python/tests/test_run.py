"""Training over a dataset, the loss curve, and what a notebook shows."""

import json
import math
import xml.etree.ElementTree as xml

import numpy as np
import pytest

import qwensft


def conversation(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


CONVERSATIONS = [conversation(f"{i}+1等于几", f"{i}+1等于{i + 2}。") for i in range(6)]


def test_a_run_is_steps_over_batches(checkpoint, tok):
    """Without shuffling and schedule, a run does what steps on batches of its own would do."""
    by_run, by_hand = (qwensft.Model.from_pretrained(checkpoint) for _ in range(2))
    run = qwensft.Run(
        qwensft.Trainer(by_run, qwensft.SGD(lr=0.01)), qwensft.Dataset(tok, CONVERSATIONS), epochs=2, batch_size=4,
        shuffle=False,
    )
    steps = list(run)
    trainer = qwensft.Trainer(by_hand, qwensft.SGD(lr=0.01))
    batches = [qwensft.preprocess(tok, CONVERSATIONS[i : i + 4], add_default_system=True) for i in (0, 4)] * 2
    assert [step.metrics.loss for step in steps] == pytest.approx([trainer.step(b).loss for b in batches], rel=1e-4)
    assert run.losses.tolist() == [step.metrics.loss for step in steps]
    assert [(s.step, s.total_steps, s.epoch, s.conversations) for s in steps] == [
        (1, 4, 0, 4), (2, 4, 0, 2), (3, 4, 1, 4), (4, 4, 1, 2)
    ]
    assert run.step() is None


def test_resuming_a_run(checkpoint, tok, tmp_path):
    def start(directory):
        model = qwensft.Model.from_pretrained(directory)
        data = qwensft.Dataset(tok, CONVERSATIONS)
        trainer = qwensft.Trainer(model, qwensft.AdamW(lr=1e-3))
        return model, qwensft.Run(trainer, data, epochs=2, batch_size=2, schedule="cosine", warmup_steps=2, seed=5)

    model, run = start(checkpoint)
    for _ in range(3):
        run.step()
    run.save_state(tmp_path / "state")
    model.save_pretrained(tmp_path / "model", dtype="float32")
    straight = [step.metrics.loss for step in run]
    _, again = start(tmp_path / "model")
    again.load_state(tmp_path / "state")
    assert [step.metrics.loss for step in again] == straight and len(straight) == 3
    assert again.losses.tolist() == run.losses.tolist()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be above 0 and below 2\\^31, not 0.0"),
        ({"warmup_ratio": 2}, ValueError, "warmup_ratio must be at least 0 and at most 1, not 2.0"),
        ({"patience": 0}, ValueError, "patience is 0, expected None or at least 1"),
        ({"prompts": ["a"]}, ValueError, "prompts need a tokenizer"),
        ({"max_seconds": -1}, ValueError, "max_seconds must be above 0, not -1.0"),
        ({"batch_size": 1.5}, TypeError, "batch_size is float, expected int"),
        ({"schedule": "steps"}, ValueError, "schedule is 'steps', expected one of 'constant', 'linear', 'cosine'"),
        ({"max_batch_tokens": 0}, ValueError, "max_batch_tokens is 0, expected None or at least 1"),
    ],
)
def test_bad_run_options(model, tok, options, error, message):
    with pytest.raises(error, match=message):
        qwensft.Run(qwensft.Trainer(model), qwensft.Dataset(tok, CONVERSATIONS), **options)


@pytest.mark.filterwarnings("ignore:over-fitting")
def test_train(model, tok):
    seen = []
    run = qwensft.train(
        model, tok, CONVERSATIONS, epochs=8, batch_size=3, optimizer=qwensft.AdamW(lr=1e-3), label_policy="assistant",
        validation=CONVERSATIONS[:2], on_step=seen.append, progress=False,
    )
    assert len(seen) == 16 and np.mean(run.losses[-4:]) < 0.5 * np.mean(run.losses[:4])
    assert run.svg().count("<circle") == 9  # before, and after each epoch
    with pytest.warns(qwensft.QwenSFTWarning, match="no validation data"):
        stopped = qwensft.train(model, tok, CONVERSATIONS, batch_size=1, on_step=lambda step: step.step == 2)
    assert len(stopped.losses) == 2 and len(stopped) == 6


def test_train_holds_back(model, tok):
    many = [conversation(f"{i}?", str(i)) for i in range(500)]

    def train(conversations=many, **options):
        run = qwensft.train(model, tok, conversations, batch_size=4, max_steps=1, probes_forgetting=False, **options)
        return run.history["evaluations"]

    with pytest.warns(qwensft.QwenSFTWarning, match="no validation data"):
        assert len(train(validation=0)["loss"]) == 0
    _, held_back = qwensft.Dataset(tok, many).hold_out()
    loss = qwensft.Trainer(model).evaluate(held_back).loss
    assert train()["loss"][0] == pytest.approx(loss, rel=1e-6)
    assert len(train(many[:8], validation=0.25)["loss"]) == 2
    for share in (1, -0.5, float("nan")):
        with pytest.raises(qwensft.InvalidArgumentError, match=f"validation is {share}, expected at least 0 and less than 1"):
            train(validation=share)
    with pytest.raises(TypeError, match=r"train\(\) has no option 'lr'; the rate is the optimizer's"):
        train(lr=1e-3)
    with pytest.raises(TypeError, match="has no option 'epoch'; did you mean 'epochs'"):
        train(epoch=1)


def test_a_run_says_where_it_stands(model, tok):
    trainer = qwensft.Trainer(model, qwensft.AdamW(lr=1e-3))
    data = qwensft.Dataset(tok, CONVERSATIONS)
    run = qwensft.Run(
        trainer, data, epochs=1.5, batch_size=2, validation=data, tokenizer=tok, prompts=["1+1等于几"], probes_forgetting=True
    )
    assert len(run) == 5 and repr(run) == "Run(step 0 of 5, epoch 0.00)" and run
    kinds = []
    for event in run.events():
        kinds.append(event.kind)
        assert event.total_steps == 5
        if event.kind == "step":
            assert event.taken.metrics.loss > 0 and event.seconds_left is not None
        if event.kind == "evaluation":
            assert event.loss > 0 and 0 <= event.end_of_turn_probability <= 1
        if event.kind == "answer":
            assert event.prompt == "1+1等于几" and event.text
    assert kinds[:4] == ["evaluation", "evaluation", "answer", "step"] and kinds[-1] == "ended"
    assert run.next_event() is None
    history = run.history
    assert history["steps"]["step"] == [1, 2, 3, 4, 5] and history["steps"]["loss"] == run.losses.tolist()
    losses = history["evaluations"]["loss"]
    best = 3 if losses[2] <= losses[3] else 5  # whose weights the last two lines are about
    assert history["evaluations"]["step"] == [0, 0, 3, 5, best]
    assert history["evaluations"]["data"] == ["validation", "general", "validation", "validation", "general"]
    assert [line for line, _ in history["evaluations"]["worst_rows"][0]] and history["answers"]["step"] in ([0, 3, 5], [0, 3])
    assert {len(column) for column in history["steps"].values()} == {5}
    assert "step 5 of 5, epoch 1.67" in repr(run) and repr(run).endswith(", ended)")
    assert f"best evaluation {min(losses[2:4]):.4f} after step {best}" in repr(run)
    run.close()
    assert repr(run) == "Run(this Run is closed)"


def test_a_run_is_gone_back_in_and_its_rate_changed(model, tok):
    run = qwensft.Run(qwensft.Trainer(model, qwensft.AdamW(lr=1e-3)), qwensft.Dataset(tok, CONVERSATIONS), batch_size=1)
    run.step()
    run.snapshot()
    before = [run.step().metrics.loss for _ in range(3)]
    run.roll_back()
    assert len(run.losses) == 1
    assert [run.step().metrics.loss for _ in range(3)] == before
    run.roll_back()
    run.set_lr(0.5)
    assert run.step().lr == 0.5
    assert run.step().metrics.loss != before[1]
    run.end()
    assert [event.kind for event in run.events()] == ["ended"]


@pytest.mark.parametrize("adapter", [False, True])
def test_train_checks_its_output_first(checkpoint, tok, adapter):
    model = qwensft.Model.from_pretrained(checkpoint)
    if adapter:
        model.add_adapter()
    with pytest.raises(OSError, match="/proc/none"):
        qwensft.train(model, tok, CONVERSATIONS, output="/proc/none/out", progress=False, on_step=lambda step: pytest.fail("a step"))


def test_train_writes_its_result(checkpoint, tok, tmp_path):
    """Stopped in the middle, gone on with, and the same as without: weights and card."""
    def train(output, **options):
        model = qwensft.Model.from_pretrained(checkpoint)
        return qwensft.train(
            model, tok, CONVERSATIONS, epochs=2, batch_size=2, optimizer=qwensft.AdamW(lr=1e-3), validation=CONVERSATIONS[:2],
            output=tmp_path / output, progress=False, prompts=["2+1等于几"], **options,
        )

    def stop(step):
        if step.step == 4:
            raise RuntimeError("enough")

    whole = train("whole")
    assert whole.history["answers"]["answer"]
    with pytest.warns(qwensft.QwenSFTWarning, match=r"out.partial; resume=True goes on"), pytest.raises(RuntimeError, match="enough"):
        train("out", on_step=stop)
    assert not (tmp_path / "out").exists() and list((tmp_path / "out.partial").iterdir())
    with pytest.raises(ValueError, match="stopped after step 4; resume it, or have it overwritten"):
        train("out")
    with pytest.raises(ValueError, match="order was shuffled with seed 0 and is shuffled with seed 1"):
        train("out", resume=True, seed=1)
    run = train("out", resume=True)
    assert run.losses.tolist() == whole.losses.tolist() and not (tmp_path / "out.partial").exists()
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model:" in card and "6 conversations" in card and "2\\+1" not in card and "**2+1等于几**" in card
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        train("out")
    train("out", overwrite=True)


def test_a_run_is_logged_and_reported(model, tok, tmp_path):
    run = qwensft.train(
        model, tok, CONVERSATIONS[:4], validation=CONVERSATIONS[4:], batch_size=2, log_dir=tmp_path / "log", progress=False
    )
    lines = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    assert [line["train/loss"] for line in lines if "train/loss" in line] == run.history["steps"]["loss"]
    assert [line["step"] for line in lines] == [0, 1, 2, 2]
    assert (tmp_path / "log" / "events.out.tfevents.qwensft").stat().st_size > 100
    run.save_report(tmp_path / "run.html", title="A <run>")
    page = (tmp_path / "run.html").read_text()
    assert "<title>A &lt;run&gt;</title>" in page and "<svg" in page and page.endswith("</html>\n")


def test_progress_bar(model, tok, capsys):
    pytest.importorskip("tqdm")
    with pytest.warns(qwensft.QwenSFTWarning, match="no validation data"):
        qwensft.train(model, tok, CONVERSATIONS, batch_size=3, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_loss_curve():
    curve = qwensft.LossCurve([2.0, 1.5, math.nan, 1.0], {0: 2.1, 4: 1.2}, title="a < b")
    root = xml.fromstring(curve._repr_svg_())
    assert root.tag.endswith("svg")
    assert "a < b" in [element.text for element in root.iter()]
    assert sum(element.tag.endswith("circle") for element in root.iter()) == 2
    assert xml.fromstring(qwensft.LossCurve([]).svg()).tag.endswith("svg")
    with pytest.raises(ValueError, match="a step of evaluations is -1, expected at least 0"):
        qwensft.LossCurve([1.0], {-1: 2.0}).svg()


def spans(html):
    """(text, title, learned) of every token."""
    root = xml.fromstring(html.replace("&nbsp;", " "))
    return [
        ("".join(span.itertext()), span.get("title"), span.get("style") is not None)
        for span in root.iter("span")
        if span.get("title")
    ]


def test_a_batch_shows_its_label_mask(tok):
    batch = qwensft.preprocess(tok, [conversation("2+2<b>&", "5👩"), conversation("hi", "ho")], label_policy="assistant")
    shown = spans(batch._repr_html_())
    assert len(shown) == batch.attention_mask.sum()
    assert [learned for _, _, learned in shown] == [
        bool(label != -100) for row, mask in zip(batch.labels, batch.attention_mask) for label in row[: mask.sum()]
    ]
    first = shown[: int(batch.attention_mask[0].sum())]
    text = "".join(text for text, _, _ in first).replace("⏎", "").replace("·", "")
    assert text == tok.decode(batch.input_ids[0][batch.attention_mask[0] == 1])
    assert "+" in batch._repr_html_() and "padding" in batch._repr_html_()
    own = qwensft.Batch([[1, 2]], [[-100, 2]], token_weights=[[0, 0.5]])
    assert spans(own._repr_html_()) == [("1 ", "id 1, not learned", False), ("2 ", "id 2, learned, weight 0.5", True)]


def test_the_loss_of_a_dataset(model, tok):
    data = qwensft.Dataset(tok, CONVERSATIONS)
    trainer = qwensft.Trainer(model)
    metrics = trainer.evaluate(data)
    assert metrics.loss == qwensft.Run(trainer, data).evaluate(data).loss
    assert metrics.supervised_tokens == data.report.supervised_tokens and metrics.grad_norm is None


def test_a_state_of_other_data_is_refused(model, tok, tmp_path):
    """Counts are equal; the order is not."""
    trainer = qwensft.Trainer(model)
    qwensft.Run(trainer, qwensft.Dataset(tok, CONVERSATIONS)).save_state(tmp_path / "state")
    other = qwensft.Run(trainer, qwensft.Dataset(tok, CONVERSATIONS[::-1]))
    with pytest.raises(ValueError, match="fingerprint"):
        other.load_state(tmp_path / "state")


def test_unusual_roles(tok):
    with pytest.warns(qwensft.QwenSFTWarning, match=r"'human' \(1 messages\), 'gpt' \(1 messages\)"):
        roles = [{"role": "human", "content": "2+2"}, {"role": "gpt", "content": "4"}]
        qwensft.preprocess(tok, [roles], chat_template="chatml")


def test_steps_by_tokens(model, tok):
    data = qwensft.Dataset(tok, CONVERSATIONS)
    run = qwensft.Run(qwensft.Trainer(model), data, tokens_per_step=data.report.tokens // 3 + 1, epochs=2)
    steps = list(run)
    assert [step.total_steps for step in steps] == [6] * 6 and sum(step.conversations for step in steps) == 12
    assert all(abs(step.tokens - data.report.tokens / 3) <= data.report.lengths.longest for step in steps)
    with pytest.raises(ValueError, match="tokens_per_step is 0, expected None or at least 1"):
        qwensft.Run(qwensft.Trainer(model), data, tokens_per_step=0)
