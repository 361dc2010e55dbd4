"""Federated fine-tuning with Flower: clients keep their conversations and send an adapter of a few megabytes.

    python flower_client.py CHECKPOINT DATA.jsonl [CLIENTS [ROUNDS]]     # pip install "flwr[simulation]" safetensors

simulates them in one machine, each with a part of the data. A client opens the base, takes the adapter that it is sent, goes
once through its conversations and sends the adapter back; the server averages A and B, weighted by numbers of conversations
(FedAvg).
"""

import json
import sys
import tempfile
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from safetensors.numpy import load_file, save_file

import qwensft

checkpoint, data, clients, rounds = (sys.argv[1:] + ["4", "3"][len(sys.argv) - 3 :])[:4]
client, server = ClientApp(), ServerApp()


def exchange(model: qwensft.Model, arrays: "ArrayRecord | None" = None) -> ArrayRecord:
    """Gives the model's adapter these values, or finds out its own: A and B in the order of their names."""
    with tempfile.TemporaryDirectory() as place:
        model.save_adapter(place)
        file = Path(place, "adapter_model.safetensors")
        own = dict(sorted(load_file(file).items()))
        if arrays is None:
            return ArrayRecord(list(own.values()))
        save_file(dict(zip(own, arrays.to_numpy_ndarrays())), file)
        model.delete_adapter()
        model.load_adapter(place)
        return arrays


def opened() -> qwensft.Model:
    model = qwensft.Model.from_pretrained(checkpoint)
    model.add_adapter(qwensft.LoraConfig(r=8, lora_alpha=16))
    return model


@client.train()
def train(message: Message, context: Context) -> Message:
    number, count = (int(context.node_config[key]) for key in ("partition-id", "num-partitions"))
    model = opened()
    exchange(model, message.content["arrays"])
    own = [json.loads(line)["messages"] for line in Path(data).read_text().splitlines()][number::count]
    run = qwensft.train(model, qwensft.Tokenizer.from_pretrained(checkpoint), own, optimizer=qwensft.AdamW(lr=2e-3))
    metrics = MetricRecord({"loss": float(run.losses.mean()), "num-examples": len(own)})
    return Message(RecordDict({"arrays": exchange(model), "metrics": metrics}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    strategy = FedAvg(fraction_evaluate=0, min_available_nodes=int(clients))
    result = strategy.start(grid, exchange(opened()), num_rounds=int(rounds))
    for number, metrics in result.train_metrics_clientapp.items():
        print(f"round {number}: loss {metrics['loss']:.4f}")


if __name__ == "__main__":
    run_simulation(server, client, num_supernodes=int(clients))
