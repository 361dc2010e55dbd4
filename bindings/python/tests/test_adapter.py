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
    with pytest.raises(qwensft.UnsupportedError, match="adapter"):
        trainer.gradient_norms(batch)
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


def test_bad_configurations_are_named(checkpoint):
    model = qwensft.Model.from_pretrained(checkpoint)
    for config, message in [
        (qwensft.LoraConfig(r=0), "'r'"),
        (qwensft.LoraConfig(lora_dropout=1.0), "lora_dropout"),
        (qwensft.LoraConfig(target_modules=["nothing"]), "target_modules"),
        (qwensft.LoraConfig(target_modules="("), "regular expression"),
        (qwensft.LoraConfig(layers_to_transform=99), "layer 99"),
        (qwensft.LoraConfig(rank_pattern={"q_proj": -1}), "rank_pattern"),
    ]:
        with pytest.raises(qwensft.InvalidArgumentError, match=message):
            model.add_adapter(config)
    assert model.adapters == []
