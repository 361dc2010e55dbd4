"""Fine-tuning an adapter with Ray Train: its workers are a group of torch.distributed, which adds up the gradients.

    python ray_train.py CHECKPOINT DATA.jsonl OUTPUT [WORKERS]     # pip install "ray[train]" torch

Paths are absolute, and the same on every machine.
"""

import sys

from ray.train import ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

import qwensft


def train(config: dict) -> None:
    ranks = qwensft.distributed.torch()
    qwensft.set_num_threads(config["threads"])
    tokenizer = qwensft.Tokenizer.from_pretrained(config["checkpoint"])
    model = qwensft.Model.from_pretrained(config["checkpoint"], dtype="float32")
    model.add_adapter(qwensft.LoraConfig(r=8, lora_alpha=16))
    trainer = qwensft.Trainer(model, qwensft.AdamW(lr=2e-4), max_grad_norm=1.0, all_reduce=ranks)
    for step in qwensft.Run(trainer, qwensft.Dataset(tokenizer, config["data"]), batch_size=4):
        if step.metrics and ranks.rank == 0:
            print(f"step {step.step} of {step.total_steps}: loss {step.metrics.loss:.4f}")  # that of all workers
    if ranks.rank == 0:
        model.save_adapter(config["output"])


checkpoint, data, output = sys.argv[1:4]
workers = int(sys.argv[4]) if len(sys.argv) > 4 else 2
threads = max(1, qwensft.get_num_threads() // workers)
TorchTrainer(
    train,
    train_loop_config={"checkpoint": checkpoint, "data": data, "output": output, "threads": threads},
    torch_config=TorchConfig(backend="gloo"),
    scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": threads}),
).fit()
