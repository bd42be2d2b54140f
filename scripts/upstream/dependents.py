"""The suites of packages that use httpx. scripts/downstream runs them over `install()`.

Left out: respx, whose source distribution has no tests; tests of openai that do not concern its HTTP client; of mcp,
all but the client's and those of what both sides share.
"""

from __future__ import annotations

import functools

from .sources import Suite

_dependent = functools.partial(Suite, way="install", needs=("tests", "pyproject.toml"))
_WITHOUT_ADDOPTS = ("--config-file=pyproject.toml", "--override-ini=addopts=")

SUITES = (
    _dependent(
        "httpx-sse",
        "0.4.3",
        "9b1ed0127459a66014aec3c56bebd93da3c1bc8bb6618c8082039a44889a755d",
        needs=("tests", "setup.cfg"),
        options=("--config-file=setup.cfg", "--override-ini=addopts="),
    ),
    _dependent(
        "httpx-ws",
        "0.9.0",
        "797373326f70eec1ae96f6e43ae9f12002fd7d73aee139a4985eaab964338a08",
        options=_WITHOUT_ADDOPTS,
        # Its fixture continues before the server listens. A client that is made in less time than that finds no server.
        changes=(
            ("tests/conftest.py", "import tempfile\n", "import tempfile\nimport time\n"),
            (
                "tests/conftest.py",
                "startup_queue.get(True)\n",
                f"startup_queue.get(True)\n{16 * ' '}while not server.started:\n{20 * ' '}time.sleep(0.001)\n",
            ),
        ),
    ),
    _dependent(
        "pytest-httpx",
        "0.36.2",
        "05a56527484f7f4e8c856419ea379b8dc359c36801c4992fdb330f294c690356",
    ),
    _dependent(
        "opentelemetry-instrumentation-httpx",
        "0.66b2",
        "b4c81e4a6dc7b8d7cb2d3088eb8848f6db6bd4abdc443ac9586ec176f1460187",
        options=_WITHOUT_ADDOPTS,
    ),
    _dependent(
        "ollama",
        "0.6.3",
        "41fc49a8095c4a75939c4c1f8582e4d0671692fb6eac2a5a7ede8c9872b67096",
        options=_WITHOUT_ADDOPTS,
    ),
    _dependent(
        "openai",
        "3.57.0",
        "5a0a89d6a542efc85e2a8cec701ca9265b795d578c777828e10fafdf80e333b6",
        tests=(
            "tests/test_client.py",
            "tests/test_httpx2*.py",
            "tests/test_module_client.py",
            "tests/test_*response.py",
            "tests/test_streaming.py",
        ),
        options=("--override-ini=addopts=",),
        seconds=30,
    ),
    _dependent(
        "vcrpy",
        "9.4.2",
        "2ffc051adf50d9a83326c8d365c29929cd6788cef647326b55502b59276d443a",
        tests=("tests/integration/test_httpx*.py", "tests/unit/test_*.py"),
        seconds=30,
    ),
    _dependent(
        "mcp",
        "2.3.0",
        "8b147a50441cf059dc88c684e0aeed3687f0aa0f39c6cde7b90330effd2b34d8",
        tests=("tests/client", "tests/shared"),
        # Warnings are errors there: that of a plugin which only other suites need, too.
        options=(*_WITHOUT_ADDOPTS, "-p", "no:asyncio"),
        seconds=30,
    ),
)
