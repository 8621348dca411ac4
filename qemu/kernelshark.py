#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""kernelshark.py FILE: the rows of trace.dat that KernelShark's library makes of it."""

import ctypes
import sys

kshark = ctypes.CDLL("libkshark.so.2")
kshark.kshark_load_entries.restype = ctypes.c_ssize_t
kshark.kshark_get_event_name.restype = ctypes.c_char_p
kshark.kshark_get_info.restype = ctypes.c_char_p

context = ctypes.c_void_p()
if not kshark.kshark_instance(ctypes.byref(context)):
    sys.exit("KernelShark does not start")
stream = kshark.kshark_open(context, sys.argv[1].encode())
if stream < 0:
    sys.exit(f"KernelShark does not open {sys.argv[1]}: {stream}")

rows = ctypes.POINTER(ctypes.c_void_p)()
for i in range(kshark.kshark_load_entries(context, stream, ctypes.byref(rows))):
    row = ctypes.c_void_p(rows[i])
    print(kshark.kshark_get_event_name(row).decode(), kshark.kshark_get_info(row).decode())
