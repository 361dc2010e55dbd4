"""Fine-tuning in several processes, on one machine or many.

    mpirun -n 4 python train.py CHECKPOINT DATA.jsonl OUTPUT             # with mpi4py
    torchrun --nproc-per-node 4 train.py CHECKPOINT DATA.jsonl OUTPUT    # with PyTorch

Every process opens the same checkpoint and the same data, and takes its part of each step's conversations. With --lora an
adapter is trained: megabytes go over the network instead of gigabytes. The first process saves; with --state FILE it also
writes after every epoch where the run stands, and a run that finds such a file goes on from there, with as many processes.
"""

import argparse
import os

import qwensft

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint")
parser.add_argument("data")
parser.add_argument("output")
parser.add_argument("--lora", action="store_true")
parser.add_argument("--lr", type=float, default=1e-4)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch-size", type=int, default=4, help="conversations a step, of each process")
parser.add_argument("--state")
args = parser.parse_args()

if "TORCHELASTIC_RUN_ID" in os.environ:
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    ranks = qwensft.distributed.torch()
else:
    ranks = qwensft.distributed.mpi4py()

# Processes on one machine share its processors.
names = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")  # torchrun, Open MPI, MPICH
here = next((int(os.environ[name]) for name in names if name in os.environ), ranks.world_size)
qwensft.set_num_threads(max(1, qwensft.get_num_threads() // here))

resumes = args.state is not None and os.path.exists(args.state)
tokenizer = qwensft.Tokenizer.from_pretrained(args.checkpoint)
data = qwensft.Dataset(tokenizer, args.data)
model = qwensft.Model.from_pretrained(args.output if resumes and not args.lora else args.checkpoint, dtype="float32")
if args.lora and resumes:
    model.load_adapter(args.output)
elif args.lora:
    model.add_adapter(qwensft.LoraConfig(r=8, lora_alpha=16))
trainer = qwensft.Trainer(model, qwensft.AdamW(lr=args.lr), max_grad_norm=1.0, all_reduce=ranks)
run = qwensft.Run(trainer, data, epochs=args.epochs, batch_size=args.batch_size)
if resumes:
    run.load_state(args.state)


def save() -> None:
    if ranks.rank == 0:
        model.save_adapter(args.output) if args.lora else model.save_pretrained(args.output, dtype="float32")
        if args.state is not None:
            run.save_state(args.state)


for step in run:
    if ranks.rank == 0:
        loss = step.metrics.loss if step.metrics else float("nan")
        print(f"step {step.step}/{step.total_steps}: loss {loss:.6f}, {step.tokens} tokens", flush=True)
    if step.step % (step.total_steps // args.epochs) == 0:
        save()
