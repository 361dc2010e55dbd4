#!/usr/bin/env python3
"""Changes of the header that scripts/check_abi.py has to find, and those that it has to let pass."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from check_abi import HEADER, differences  # noqa: E402

CASES = [  # what is written, what is written instead, whether programs break
    ("    int32_t reserved;             /* 0 */\n} sft_encode_options;", "    int32_t reserved;\n    size_t more;\n} sft_encode_options;", False),
    ("} sft_step_metrics;", "    double perplexity;\n} sft_step_metrics;", False),
    ("uint32_t sft_version(void);", "uint32_t sft_version(void);\nvoid sft_more(void);", False),
    ("    SFT_BUSY = 12 ", "    SFT_MORE = 13,\n    SFT_BUSY = 12 ", False),
    ("    size_t max_length;            /* 0: rows", "    size_t more;\n    size_t max_length;            /* 0: rows", True),
    ("    double grad_norm;          /* L2", "    float grad_norm;          /* L2", True),
    ("uint32_t sft_version(void);", "uint64_t sft_version(void);", True),
    ("uint32_t sft_version(void);", "uint32_t sft_version(int32_t which);", True),
    ("const char *sft_version_string(void);", "", True),
    ("    SFT_BUSY = 12 ", "    SFT_BUSY = 13 ", True),
]

text = HEADER.read_text()
wrong = []
for old, new, breaks in CASES:
    assert text.count(old) == 1, old
    with tempfile.TemporaryDirectory() as directory:
        header = Path(directory, "qwensft.h")
        header.write_text(text.replace(old, new))
        if bool(differences(header)) != breaks:
            wrong.append(f"{old!r} -> {new!r} should {'be refused' if breaks else 'pass'}")
print("\n".join(wrong) or f"{len(CASES)} changes of the header, each as it should be")
sys.exit(bool(wrong))
