"""What the programs of this directory have in common: a small checkpoint in two versions, and a look at what is on the disk."""

import os
import shutil

import numpy as np
import qwensft

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURE = os.path.join(ROOT, "Tests/Fixtures/models/tied-f32")
NAME = "model.norm.weight"
FOREIGN = {"diary.txt": b"mine", "optimizer.pt": b"a trainer's"}


def make_base(directory):
    """A checkpoint with files beside the weights."""
    os.makedirs(directory)
    for name in ["config.json", "generation_config.json", "model.safetensors"]:
        if os.path.exists(os.path.join(FIXTURE, name)):
            shutil.copy(os.path.join(FIXTURE, name), directory)
    for name in ["vocab.json", "merges.txt", "README.md"]:
        with open(os.path.join(directory, name), "w") as file:
            file.write(name)
    return directory


def versions(base):
    """Two models that differ in one parameter: all of it is 1, or 2."""
    models = []
    for value in (1, 2):
        model = qwensft.Model.from_pretrained(base)
        shape = model.parameter_shapes()[NAME]
        model.set_parameter(NAME, np.full(shape, value, dtype=np.float32))
        models.append(model)
    return models


def version(directory):
    """Which of the two a directory holds, 1 or 2; everything is read and checked."""
    values = dict(qwensft.Model.from_pretrained(directory).named_parameters())[NAME]
    assert (values == values[0]).all() and values[0] in (1, 2), "parts of two versions"
    return int(values[0])


def content(directory):
    """Every file of a directory, those of directories in it included; None where there is no directory."""
    if not os.path.isdir(directory):
        return None
    found = {}
    for place, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if ".saving-" not in name and not name.startswith("saved-")]
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


def leftovers(*directories):
    """Temporary files and directories in these directories."""
    return [
        os.path.join(directory, name)
        for directory in directories
        if os.path.isdir(directory)
        for name in os.listdir(directory)
        if ".saving-" in name
    ]


def make_target(kind, target, models):
    """Puts at `target` what a save is to meet there."""
    shutil.rmtree(target, ignore_errors=True)
    if kind == "new":
        return
    os.makedirs(target)
    if kind == "empty":
        return
    models[0].save_pretrained(target)
    for name, data in FOREIGN.items():
        with open(os.path.join(target, name), "wb") as file:
            file.write(data)
    if kind in ("kept", "mixed"):
        os.makedirs(os.path.join(target, ".cache/deep"))
        with open(os.path.join(target, ".cache/deep/blob"), "wb") as file:
            file.write(b"theirs")
    if kind == "mixed":
        # Another checkpoint's parts, which would be read with the new weights.
        with open(os.path.join(target, "added_tokens.json"), "w") as file:
            file.write('{"<old>": 3}')
        os.rename(os.path.join(target, "model.safetensors"), os.path.join(target, "model-00001-of-00001.safetensors"))
        with open(os.path.join(target, "model.safetensors.index.json"), "w") as file:
            names = ", ".join(f'"{name}": "model-00001-of-00001.safetensors"' for name in models[0].parameter_shapes())
            file.write('{"weight_map": {%s}}' % names)


def dtype_of(kind):
    """The mixed save changes the configuration too."""
    return "bfloat16" if kind == "mixed" else "float32"
