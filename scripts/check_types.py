#!/usr/bin/env python3
"""check_types.py PERCENT: how much of the Python package's public interface pyright knows the types of; less is an error."""

import json
import subprocess
import sys

# pyright runs on node; where there is none its package fetches one. What it says of that comes before the JSON.
command = [sys.executable, "-m", "pyright", "--verifytypes", "qwensft", "--ignoreexternal", "--outputjson"]
output = subprocess.run(command, capture_output=True, text=True).stdout
report = json.loads(output[output.index("{") :])["typeCompleteness"]
score = 100 * report["completenessScore"]
for symbol in report["symbols"]:
    if symbol["isExported"] and not symbol["isTypeKnown"]:
        print(f"{symbol['name']}: {symbol['diagnostics'][0]['message'] if symbol['diagnostics'] else 'unknown type'}")
print(f"types of the public interface: {score:.1f} % known")
sys.exit(score < float(sys.argv[1]))
