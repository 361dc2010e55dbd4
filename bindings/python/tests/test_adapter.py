"""Adapters: what Python adds to the C functions."""

import json

import numpy as np
import pytest
import qwensft

MESSAGES = [[{"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于5。"}]]


@pytest.mark.parametrize("quantization", [None, "int8", "lossless"])
def test_an_adapter_is_trained_saved_and_loaded(checkpoint, tmp_path, quantization):
    tok = qwensft.Tokenizer.from_pretrained(checkpoint)
    model = qwensft.Model.from_pretrained(checkpoint, quantization=quantization)
    batch = qwensft.preprocess(tok, MESSAGES)
    before = model.forward(batch.input_ids)
    model.add_adapter(qwensft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], seed=2))
    assert np.array_equal(model.forward(batch.input_ids), before)  # B is 0
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-2))
    losses = [trainer.step(batch).loss for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]
    norms = trainer.gradient_norms(batch)
    assert len(norms) == 4 * model.config.num_hidden_layers and all(norm > 0 for norm in norms.values())
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in norms
    joint = np.sqrt(sum(norm**2 for norm in norms.values()))
    assert trainer.step(batch).grad_norm == pytest.approx(joint, rel=1e-5)
    after = model.forward(batch.input_ids)
    model.save_adapter(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["lora_alpha"] == 8 and config["target_modules"] == ["q_proj", "down_proj"]

    model.load_adapter(tmp_path, name="again")
    assert model.adapters == ["default", "again"] and model.active_adapter == "again"
    assert np.array_equal(model.forward(batch.input_ids), after)
    model.save_adapter(tmp_path / "named", name="again")
    assert (tmp_path / "named" / "again" / "adapter_model.safetensors").exists()
    model.set_adapter(None)
    assert model.active_adapter is None
    assert np.array_equal(model.forward(batch.input_ids), before)
    model.delete_adapter("again")
    if quantization is None:
        model.merge_adapter()
        assert model.adapters == []
        np.testing.assert_allclose(model.forward(batch.input_ids), after, atol=2e-4)
        model.save_pretrained(tmp_path / "merged")
    else:
        with pytest.raises(qwensft.UnsupportedError, match="merged"):
            model.merge_adapter()


@pytest.mark.parametrize("quantization", [None, "int6"])
@pytest.mark.parametrize("as_dict", [False, True])
def test_rows_of_tokens_are_trained(checkpoint, tmp_path, quantization, as_dict):
    tok = qwensft.Tokenizer.from_pretrained(checkpoint)
    model = qwensft.Model.from_pretrained(checkpoint, quantization=quantization)
    end = tok.convert_tokens_to_ids("<|im_end|>")
    indices = {"embed_tokens": (end, 5)} if as_dict else np.array([end, 5])
    model.add_adapter(qwensft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=indices))
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-2))
    batch = qwensft.preprocess(tok, MESSAGES)
    delta = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    assert trainer.gradient_norms(batch)[delta] > 0
    losses = [trainer.step(batch).loss for _ in range(8)]
    assert losses[-1] < losses[0]
    after = model.forward(batch.input_ids)
    model.save_adapter(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["trainable_token_indices"] == [end, 5]
    again = qwensft.Model.from_pretrained(checkpoint, quantization=quantization)
    again.load_adapter(tmp_path)
    assert np.array_equal(again.forward(batch.input_ids), after)
    with pytest.raises(qwensft.UnsupportedError, match="trainable_token_indices.*merge it"):
        again.save_adapter_gguf(tmp_path / "adapter.gguf")
    if quantization is None:
        again.merge_adapter()
        np.testing.assert_allclose(again.forward(batch.input_ids), after, atol=2e-4)


def test_saving_the_model_says_that_an_adapter_stays_behind(checkpoint, tmp_path):
    model = qwensft.Model.from_pretrained(checkpoint)
    model.add_adapter(qwensft.LoraConfig(r=4))
    for save in (lambda: model.save_pretrained(tmp_path / "base"), lambda: model.save_gguf(tmp_path / "base.gguf")):
        with pytest.warns(qwensft.QwenSFTWarning, match="the adapter 'default', which is set, is not part of what was saved"):
            save()
    model.merge_adapter()
    model.save_pretrained(tmp_path / "merged")


def test_bad_configurations_are_named(checkpoint):
    model = qwensft.Model.from_pretrained(checkpoint)
    for config, message in [
        (qwensft.LoraConfig(r=0), "'r'"),
        (qwensft.LoraConfig(lora_dropout=1.0), "lora_dropout"),
        (qwensft.LoraConfig(target_modules=["nothing"]), "target_modules"),
        (qwensft.LoraConfig(target_modules="("), "regular expression"),
        (qwensft.LoraConfig(layers_to_transform=99), "layer 99"),
        (qwensft.LoraConfig(rank_pattern={"q_proj": -1}), "rank_pattern"),
        (qwensft.LoraConfig(trainable_token_indices=[3, 10**6]), "1000000 is not in the model's vocabulary"),
        (qwensft.LoraConfig(trainable_token_indices=[3, 3]), "trainable_token_indices: 3 is there twice"),
    ]:
        with pytest.raises(qwensft.InvalidArgumentError, match=message):
            model.add_adapter(config)
    assert model.adapters == []


def test_lora_plus(checkpoint):
    """B moves by the ratio times the rate in the first step of AdamW, A not at all, as B is 0."""
    tok = qwensft.Tokenizer.from_pretrained(checkpoint)
    batch = qwensft.preprocess(tok, MESSAGES)
    losses = {}
    for ratio in (1.0, 16.0):
        model = qwensft.Model.from_pretrained(checkpoint)
        model.add_adapter()
        trainer = qwensft.Trainer(model, qwensft.AdamW(lr=1e-4), loraplus_lr_ratio=ratio)
        losses[ratio] = [trainer.step(batch).loss for _ in range(3)]
    assert losses[16.0][0] == losses[1.0][0] and losses[16.0][2] < losses[1.0][2]
    with pytest.raises(ValueError, match="loraplus_lr_ratio must be above 0"):
        qwensft.Trainer(model, loraplus_lr_ratio=0.0)


def test_memory_of_an_adapter(checkpoint):
    def estimate(**options):
        return qwensft.estimate_training_memory(checkpoint, qwensft.AdamW(), dtype="bfloat16", tokens=100, **options)

    full, lora = estimate(), estimate(adapter=qwensft.LoraConfig(r=4))
    small = estimate(adapter=qwensft.LoraConfig(r=4), quantization="int4")
    assert lora.gradients * 2 == lora.optimizer < full.optimizer / 10
    assert small.weights < 0.4 * lora.weights and small.optimizer == lora.optimizer
    with pytest.raises(ValueError, match="layer 99"):
        estimate(adapter=qwensft.LoraConfig(layers_to_transform=99))
    with pytest.raises(qwensft.UnsupportedError, match="only an adapter"):
        estimate(quantization="int4")
