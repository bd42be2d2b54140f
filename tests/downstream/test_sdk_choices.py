"""The choices of single SDKs: HTTP/2, an `SSLContext`, private extensions of requests, another backend."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import httpcore_rs
from sdk_base import Settings
from sdk_frameworks import LiteLLMAnthropic, LiteLLMOpenAI
from sdk_providers import Google, OpenAI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server, Traffic

    from certificates import Certificates


@pytest.fixture
def installed() -> Iterator[None]:
    httpcore_rs.install()
    yield
    httpcore_rs.uninstall()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("is_async", [False, True])
def test_litellm_speaks_http2(
    server: Server, traffic: Traffic, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    # It passes an `SSLContext`, which trusts the authorities of this file.
    monkeypatch.setenv("LITELLM_HTTP2", "True")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))

    async def main() -> str:
        async with LiteLLMAnthropic(Settings(server.https, is_async)) as sdk:
            return await sdk.ask(server.model("plain"))

    assert asyncio.run(main()) == "hello"
    assert [request["version"] for request in server.seen()] == ["2"]
    assert [response.http_version for response in traffic.responses] == ["HTTP/2"]
    assert traffic.are_all_ours(server)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("is_async", [False, True])
def test_google_uses_its_own_context(
    server: Server, traffic: Traffic, certificates: Certificates, is_async: bool
) -> None:
    from google import genai
    from google.genai import types

    context = ssl.create_default_context(cafile=str(certificates.ca))
    arguments: dict[str, Any] = {"client_args": {"verify": context}}
    if is_async:
        arguments = {"httpx_async_client": Google.library().AsyncClient(verify=context)}
    client = genai.Client(api_key="key", http_options=types.HttpOptions(base_url=server.https, **arguments))

    async def main() -> str:
        answer = await client.aio.models.generate_content(model=server.model("plain"), contents="hi")
        return answer.text

    text = (
        asyncio.run(main())
        if is_async
        else client.models.generate_content(model=server.model("plain"), contents="hi").text
    )
    assert text == "hello"
    assert traffic.are_all_ours(server)
    assert context.session_stats()["connect_good"] == 1


@pytest.mark.usefixtures("installed")
def test_private_extensions_of_requests_pass_through(server: Server, traffic: Traffic) -> None:
    library = OpenAI.library()
    with library.Client() as client:
        response = client.post(
            f"{server.http}/v1/chat/completions",
            json={"model": server.model("plain")},
            extensions={"sdk_private": {"retries": 2}, "timeout": {"read": 30.0}},
        )
    assert response.status_code == 200
    assert response.request.extensions["sdk_private"] == {"retries": 2}
    assert traffic.are_all_ours(server)


# Prints what `install()` logs: before the SDK is imported, after that, and after the switch that the log names.
PROGRAM = """
import logging, sys
import httpcore_rs

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
logging.getLogger("httpcore_rs").addHandler(handler)
logging.getLogger("httpcore_rs").setLevel(logging.INFO)
httpcore_rs.install()
print("imported", flush=True)
import {0}
httpcore_rs.install()
print("switched", flush=True)
if "{0}" == "litellm":
    litellm.disable_aiohttp_transport = True
httpcore_rs.install()
"""


@pytest.mark.parametrize("name", ["litellm", "google.genai"])
def test_the_log_of_install_names_sdks_that_prefer_aiohttp(name: str) -> None:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    version = importlib.metadata.version(name.replace(".", "-"))
    text = f" install() does not cover {name} {version}: "
    before, _, rest = output.partition("imported\n")
    imported, _, switched = rest.partition("switched\n")
    assert f"INFO{text}" in before
    assert f"WARNING{text}" in imported
    assert (text in switched) == (name == "google.genai")
    remedy = "disable_aiohttp_transport = True" if name == "litellm" else f"{Google.package_name()}.AsyncTransport()"
    assert remedy in before
    assert all(f"INFO install() covers {library}" in before for library in ("httpx ", "httpx2 ") if has(library))


def has(library: str) -> bool:
    return importlib.util.find_spec(library.strip()) is not None


@pytest.mark.usefixtures("installed")
def test_the_environment_switches_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "litellm" in [each.library for each in httpcore_rs.install().not_covered]
    monkeypatch.setenv("DISABLE_AIOHTTP_TRANSPORT", "True")
    assert "litellm" not in [each.library for each in httpcore_rs.install().not_covered]


@pytest.mark.usefixtures("installed")
def test_litellm_prefers_aiohttp_unless_it_is_told(server: Server, traffic: Traffic) -> None:
    import litellm

    async def main(is_disabled: bool) -> None:
        async with LiteLLMOpenAI(Settings(server.http, is_async=True)) as sdk:
            litellm.disable_aiohttp_transport = is_disabled
            assert await sdk.ask(server.model("plain")) == "hello"

    asyncio.run(main(is_disabled=False))
    assert not traffic.are_all_ours(server)
    traffic.responses.clear()
    asyncio.run(main(is_disabled=True))
    assert len(traffic.responses) == 1
    assert traffic.count_ours() == 1


@pytest.mark.usefixtures("installed")
def test_google_prefers_aiohttp_unless_it_is_told(server: Server, traffic: Traffic) -> None:
    from google import genai
    from google.genai import types

    client = genai.Client(api_key="key", http_options=types.HttpOptions(base_url=server.http))

    async def main() -> None:
        await client.aio.models.generate_content(model=server.model("plain"), contents="hi")
        await client.aio.aclose()

    asyncio.run(main())
    assert len(server.seen()) == 1
    assert traffic.count_ours() == 0


def test_the_example_of_openai(server: Server) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "openai_sdk.py"
    model = server.model("plain")
    environment = {**os.environ, "OPENAI_API_KEY": "key", "OPENAI_BASE_URL": f"{server.http}/v1"}
    done = subprocess.run(
        [sys.executable, str(example), model], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(f"What is {number} times {number}? one two three" for number in range(5))
    assert sorted(done.stdout.splitlines()) == lines
    # A server that does not exist.
    environment["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
    failed = subprocess.run(
        [sys.executable, str(example), model], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert failed.returncode == 1
    assert "connecting to http://127.0.0.1:1 failed" in failed.stderr
