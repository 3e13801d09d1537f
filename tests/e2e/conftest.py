"""A whole stack of its own for each module."""

from collections.abc import Iterator

import pytest

from millrace_testkit.stack import Stack, own_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with own_stack(tmp_path_factory.mktemp("stack"), {"OTEL_TRACES_SAMPLER_ARG": "0.05"}) as stack:
        yield stack
