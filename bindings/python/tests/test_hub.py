"""Checkpoints by their name on a hub: a stand-in on loopback has the interface of Hugging Face's."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import qwensft
from qwensft import _hub

NAME = "somebody/tiny-qwen2"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    root = ""
    asked = []

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.split("?")[0]
        Hub.asked.append(path)
        names = sorted(name for name in os.listdir(self.root) if os.path.isfile(os.path.join(self.root, name)))
        headers, body = {"Content-Type": "application/json"}, None
        if path.startswith(f"/api/models/{NAME}/tree/"):
            body = json.dumps([
                {"type": "file", "path": name, "size": os.path.getsize(os.path.join(self.root, name)), "oid": "0" * 40}
                for name in names
            ])
        elif path.startswith(f"/api/models/{NAME}"):
            body = json.dumps({
                "id": NAME, "modelId": NAME, "sha": COMMIT, "private": False, "tags": [],
                "siblings": [{"rfilename": name} for name in names],
            })
        elif path.startswith(f"/{NAME}/resolve/") and path.rsplit("/", 1)[1] in names:
            with open(os.path.join(self.root, path.rsplit("/", 1)[1]), "rb") as file:
                body = file.read()
            headers = {"ETag": '"' + hashlib.sha1(body).hexdigest() + '"', "X-Repo-Commit": COMMIT}
        if body is None:
            self.send_response(404)
            self.end_headers()
            return
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def test_a_checkpoint_is_fetched_by_its_name(checkpoint, tmp_path):
    Hub.root = str(checkpoint)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = (
        "import qwensft\n"
        f"tok = qwensft.Tokenizer.from_pretrained({NAME!r})\n"
        f"model = qwensft.Model.from_pretrained({NAME!r})\n"
        "print(model.chat(tok, '2+2等于几', do_sample=False, repetition_penalty=1.0))\n"
    )
    environment = {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
    }
    try:
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "2+2等于4。\n"
        assert any(path.endswith("model.safetensors") for path in Hub.asked)
        # From now on it is there without a hub.
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        again = subprocess.run([sys.executable, "-c", program], env=offline, capture_output=True, text=True, timeout=120)
        assert again.stdout == "2+2等于4。\n", again.stderr
    finally:
        server.shutdown()
        server.server_close()


def test_modelscope_serves_where_huggingface_hub_is_not(checkpoint, monkeypatch):
    """By its function of the same name; the package itself is large."""
    import types

    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, "*.safetensors" in allow_patterns))
        return str(checkpoint)

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    module = types.ModuleType("modelscope")
    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "modelscope", module)
    assert qwensft.Tokenizer.from_pretrained(NAME).eos_token_id is not None
    assert qwensft.Model.from_pretrained(NAME).config.num_hidden_layers == 4
    assert asked == [(NAME, False), (NAME, True)]


def test_without_a_hub_a_name_is_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr(_hub, "_snapshot_download", lambda: None)
    with pytest.raises(FileNotFoundError, match="somebody/tiny-qwen2: no such directory; to fetch it from a hub, install"):
        qwensft.Model.from_pretrained(NAME)
    # What looks like a path is one, and a directory of that name is taken as it is.
    for path in ("./a/b", "/nowhere/x", "a/b/c", "nowhere"):
        assert _hub.directory_of(path, True) == path
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert _hub.directory_of("a/b", True) == "a/b"
