"""The programs in the README do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
LIBRARY = ROOT / "build" / "lib"
ANSWER = "2+2等于5。"


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.S | re.M)
    return text


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_python(tmp_path):
    # Its paths are the repository's; what it writes goes elsewhere.
    (tmp_path / "Examples").symlink_to(ROOT / "Examples")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python" / "src")}
    lines = run([sys.executable, "-c", block("python")], cwd=tmp_path, env=environment)
    assert len(lines) == 11 and float(lines[9]) < float(lines[0]) and lines[10] == ANSWER
    assert (tmp_path / "build" / "fine-tuned" / "model.safetensors").exists()


def test_program_in_c(tmp_path):
    (tmp_path / "chat.c").write_text(block("c"))
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    run(["cc", *warnings, f"-I{ROOT}/include", tmp_path / "chat.c", f"-L{LIBRARY}", "-lqwensft", "-o", tmp_path / "chat"])
    lines = run([tmp_path / "chat"], cwd=ROOT, env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARY)})
    assert len(lines) == 11 and lines[9].startswith("step 10: loss 0") and lines[10] == ANSWER


MODULES = ROOT / ".build" / "shared" / "release" / "Modules"
SWIFT_HEADERS = [f"-I{MODULES}", f"-I{ROOT}/Sources/COpenBLAS", f"-I{ROOT}/Sources/CKernels/include"]
SWIFT_HEADERS += ["-Xcc", f"-fmodule-map-file={MODULES.parent}/CMemory.build/module.modulemap"]


def test_program_in_swift(tmp_path):
    """It compiles. What such a program does, Examples/swift shows."""
    (tmp_path / "main.swift").write_text(block("swift"))
    run(["swiftc", "-typecheck", "-swift-version", "6", *SWIFT_HEADERS, tmp_path / "main.swift"])


def test_correction(checkpoint):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python" / "src")}
    program = [sys.executable, str(ROOT / "Examples" / "python" / "correction.py"), str(checkpoint), "1e-2"]
    run([str(ROOT / "scripts" / "test-correction.sh"), *program], env=environment)
