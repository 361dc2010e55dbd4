"""Saves to directories that are mounted, as volumes of containers are.

    unshare --user --map-root-user --mount env PYTHONPATH=bindings/python/src python Tests/Files/mounts.py
"""

import os
import subprocess
import tempfile

import qwensft
from common import content, leftovers, make_base, version, versions


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def main():
    with tempfile.TemporaryDirectory() as directory:
        base = make_base(os.path.join(directory, "base"))
        models = versions(base)
        volume = os.path.join(directory, "volume")
        target = os.path.join(directory, "target")
        os.makedirs(volume)
        os.makedirs(target)
        trainer = qwensft.Trainer(models[0], qwensft.AdamW(1e-9))
        for kind, arguments in (
            ("another file system", ["-t", "tmpfs", "none", target]),
            ("a part of the same file system", ["--bind", volume, target]),
        ):
            mount(*arguments)
            before = os.stat(target)
            with open(os.path.join(target, "diary.txt"), "w") as file:
                file.write("mine")
            models[0].check_destination(target)
            for number in (0, 1, 0):
                models[number].save_pretrained(target)
                assert version(target) == number + 1
            assert content(target)["diary.txt"] == b"mine"
            assert leftovers(directory, target) == []
            assert os.stat(target).st_ino == before.st_ino
            # A file that is mounted, as a container may have it for a state: it cannot be replaced, and stays as it is.
            state, mounted = os.path.join(directory, "state"), os.path.join(target, "state")
            for path in (state, mounted):
                open(path, "w").close()
            mount("--bind", state, mounted)
            try:
                trainer.save_state(mounted)
                raise AssertionError("a mounted file was replaced")
            except OSError as error:
                assert "cannot put it in its place" in str(error), error
            assert os.path.getsize(state) == 0 and leftovers(directory, target) == []
            subprocess.run(["umount", mounted, target], check=True)
            print(f"{kind}: saved in place")

        mount("-t", "tmpfs", "-o", "size=64k", "none", target)
        for attempt in (models[0].check_destination, models[0].save_pretrained):
            try:
                attempt(target)
                raise AssertionError("there is no room")
            except OSError as error:
                print(f"no room: {error}")
            assert os.listdir(target) == []
        subprocess.run(["umount", target], check=True)

        mount("-t", "tmpfs", "-o", "ro", "none", target)
        for attempt in (models[0].check_destination, models[0].save_pretrained):
            try:
                attempt(target)
                raise AssertionError("it is read-only")
            except OSError as error:
                assert "Read-only file system" in str(error), error
        subprocess.run(["umount", target], check=True)


main()
