#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A file as a C array: embed.py INPUT OUTPUT.c NAME HEADER defines NAME[] and NAME_len, declared in HEADER."""
import sys

source, target, name, header = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
lines = [" ".join(f"0x{b:02x}," for b in data[i:i + 16]) for i in range(0, len(data), 16)]
with open(target, "w") as f:
    f.write("/* Generated. */\n")
    f.write(f'#include "{header}"\n\n')
    f.write(f"const uint8_t {name}[] = {{\n    " + "\n    ".join(lines) + "\n};\n")
    f.write(f"const size_t {name}_len = sizeof {name};\n")
