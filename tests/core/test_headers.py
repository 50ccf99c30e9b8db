"""HeaderBlock, and the list of known names against the switch that finds them."""

import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.core.headers import HeaderBlock

HEADER = Path(__file__).parents[2] / "fastnet_ext" / "core" / "headers.h"
KNOWN = re.findall(r'X\(([A-Z0-9_]+), "([^"]+)"\)', HEADER.read_text())
PXD = HEADER.with_suffix(".pxd").read_text()

FIELDS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=200)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(FIELDS)
def test_fields_come_back_in_order_with_lower_case_names(fields: list[tuple[bytes, bytes]]) -> None:
    block = HeaderBlock(fields)
    assert len(block) == len(fields)
    assert block.items() == [(name.lower(), value) for name, value in fields]


def test_an_empty_block() -> None:
    block = HeaderBlock()
    assert (len(block), block.items()) == (0, [])
    assert block.start == {"method": b"", "target": b"", "scheme": b"", "authority": b"", "status": 0}


def test_a_block_grows_over_many_fields() -> None:
    fields = [(b"name-%d" % i, b"v" * i) for i in range(1000)]
    assert HeaderBlock(fields).items() == fields


def test_the_list_of_known_names_is_sorted_and_lower_case() -> None:
    names = [name for _, name in KNOWN]
    assert len(names) > 40
    assert names == sorted(names) == [name.lower() for name in names]


@pytest.mark.parametrize(("identifier", "name"), KNOWN)
def test_identifiers_are_the_names(identifier: str, name: str) -> None:
    assert identifier == name.upper().replace("-", "_")
    assert f'HEADER_{identifier} "FN_HEADER_{identifier}"' in PXD


def test_the_pxd_knows_no_other_identifiers() -> None:
    listed = set(re.findall(r'HEADER_(\w+) "FN_HEADER_\1"', PXD))
    assert listed == {identifier for identifier, _ in KNOWN} | {"OTHER", "COUNT"}


# Finds every known name, and no name that differs from one in a single place; prints what fails.
FINDER = r"""
#include <stdio.h>
#include "fastnet_ext/core/headers.h"
int main(void) {
    for (int id = 1; id < FN_HEADER_COUNT; id++) {
        const char *name = FN_HEADER_NAMES[id].name;
        size_t size = FN_HEADER_NAMES[id].size;
        char other[64];
        if ((int)fn_find_header_id(name, size) != id) printf("%s is not found\n", name);
        for (size_t i = 0; i < size; i++) {
            memcpy(other, name, size);
            other[i] = '~';
            if (fn_find_header_id(other, size) != FN_HEADER_OTHER) printf("%s is found with a change\n", name);
        }
        if ((int)fn_find_header_id(name, size - 1) == id) printf("%s is found cut short\n", name);
    }
    for (size_t size = 0; size < 64; size++) {
        static const char none[64] = {0};
        if (fn_find_header_id(none, size) != FN_HEADER_OTHER) printf("%zu zeros are found\n", size);
    }
    return 0;
}
"""


def test_every_known_name_is_found(tmp_path: Path) -> None:
    source, program = tmp_path / "finder.c", tmp_path / "finder"
    source.write_text(FINDER)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]
    subprocess.run([*compiler, "-std=gnu11", f"-I{HEADER.parents[2]}", str(source), "-o", str(program)], check=True)
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == ""
