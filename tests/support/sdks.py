"""SDKs over httpx or httpx2, each behind the same few methods, so that one test is for all of them.

An SDK is used in a flavour, sync or async, and in a way: `install` (under `httpcore_rs.install()`) or `explicit` (it
is given transports of this package). SDKS is the table.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

import httpcore_rs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION: list[Any] = [{"role": "user", "content": "hi"}]


async def settled(value: Any) -> Any:
    """Returns the value, or what an awaitable returns."""
    return await value if inspect.isawaitable(value) else value


async def items(iterable: Any, is_async: bool) -> AsyncIterator[Any]:
    """Yields the items of an iterable, and closes it at the end. Some are of both kinds."""
    try:
        if is_async:
            async for item in iterable:
                yield item
        else:
            for item in iterable:
                yield item
    finally:
        close = (getattr(iterable, "aclose", None) if is_async else None) or getattr(iterable, "close", None)
        if close is not None:
            await settled(close())


@dataclasses.dataclass
class Settings:
    """The use of an SDK by a test. `timeout` in seconds; `arguments` are those of transports in the explicit way."""

    url: str
    is_async: bool
    is_explicit: bool = False
    retries: int = 0
    timeout: float = 30.0
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


class Sdk:
    """A client of an SDK. `ask` sends a request, `pieces` reads a stream of events."""

    distribution: ClassVar[str]
    # Those in which it can be used, and in which it can be given a transport.
    flavours: ClassVar[tuple[str, ...]] = ("sync", "asyncio")
    explicit_flavours: ClassVar[tuple[str, ...]] = ("sync", "asyncio")
    # Whether it sends a request again that was answered with status 429, and whether its clients have a timeout.
    retries: ClassVar[bool] = True
    # Whether its exceptions tell the status of a response.
    statuses: ClassVar[bool] = True
    # Whether it gives the events of a stream to its caller one by one.
    streams: ClassVar[bool] = True
    # The options of its own that it sets on sockets, if it does.
    keepalive: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client: Any = None

    @classmethod
    def library(cls) -> Any:
        """Returns httpx or httpx2, on which the installed version is built."""
        requires = importlib.metadata.requires(cls.distribution) or []
        names = {re.split(r"[^\w.-]", requirement)[0] for requirement in requires if "extra ==" not in requirement}
        return importlib.import_module("httpx2" if "httpx2" in names else "httpx")

    @classmethod
    def gives_streams_back(cls) -> bool:
        """Returns whether the SDK itself lets go of the response of a stream that its caller drops."""
        return True

    def transport(self, **arguments: Any) -> Any:
        package: Any = httpcore_rs.httpx2 if self.library().__name__ == "httpx2" else httpcore_rs
        make = package.AsyncTransport if self.settings.is_async else package.SyncTransport
        return make(**self.settings.arguments, **arguments)

    def http_client(self, **arguments: Any) -> Any:
        """Returns a client of httpx over a transport of httpcore_rs."""
        library = self.library()
        make = library.AsyncClient if self.settings.is_async else library.Client
        return make(transport=self.transport(), timeout=self.settings.timeout, **arguments)

    async def __aenter__(self) -> Sdk:
        self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        await settled(self.client.close())

    async def ask(self, model: str) -> str:
        raise NotImplementedError

    def pieces(self, model: str) -> AsyncIterator[str]:
        raise NotImplementedError

    def status_of(self, error: Exception) -> int | None:
        """Returns the status of a response that was made an exception of."""
        return getattr(error, "status_code", None)

    def timeouts(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions for a response that is too late."""
        return (self.library().TimeoutException,)


class OpenAI(Sdk):
    distribution = "openai"

    def open(self) -> None:
        import openai

        settings = self.settings
        arguments: dict[str, Any] = {}
        if settings.is_explicit:
            make = openai.DefaultAsyncHttpxClient if settings.is_async else openai.DefaultHttpxClient
            arguments["http_client"] = make(transport=self.transport())
        kind = openai.AsyncOpenAI if settings.is_async else openai.OpenAI
        self.client = kind(
            base_url=f"{settings.url}/v1",
            api_key="key",
            max_retries=settings.retries,
            timeout=settings.timeout,
            **arguments,
        )

    async def ask(self, model: str) -> str:
        answer = await settled(self.client.chat.completions.create(model=model, messages=QUESTION))
        return answer.choices[0].message.content

    async def pieces(self, model: str) -> AsyncIterator[str]:
        stream = await settled(self.client.chat.completions.create(model=model, messages=QUESTION, stream=True))
        async with aclosing(items(stream, self.settings.is_async)) as chunks:
            async for chunk in chunks:
                yield chunk.choices[0].delta.content

    def timeouts(self) -> tuple[type[Exception], ...]:
        import openai

        return (openai.APITimeoutError,)


class Anthropic(Sdk):
    distribution = "anthropic"
    keepalive = True

    def open(self) -> None:
        import anthropic

        settings = self.settings
        arguments: dict[str, Any] = {}
        if settings.is_explicit:
            make = anthropic.DefaultAsyncHttpxClient if settings.is_async else anthropic.DefaultHttpxClient
            arguments["http_client"] = make(transport=self.transport())
        kind = anthropic.AsyncAnthropic if settings.is_async else anthropic.Anthropic
        self.client = kind(
            base_url=settings.url, api_key="key", max_retries=settings.retries, timeout=settings.timeout, **arguments
        )

    async def ask(self, model: str) -> str:
        answer = await settled(self.client.messages.create(model=model, max_tokens=10, messages=QUESTION))
        return answer.content[0].text

    async def pieces(self, model: str) -> AsyncIterator[str]:
        create = self.client.messages.create
        stream = await settled(create(model=model, max_tokens=10, messages=QUESTION, stream=True))
        async with aclosing(items(stream, self.settings.is_async)) as events:
            async for event in events:
                if event.type == "content_block_delta":
                    yield event.delta.text

    def timeouts(self) -> tuple[type[Exception], ...]:
        import anthropic

        return (anthropic.APITimeoutError,)


class HuggingFace(Sdk):
    """The client for inference, whose endpoint is OpenAI's, and that of the hub. Both use one client of httpx."""

    distribution = "huggingface_hub"
    retries = False

    @classmethod
    def gives_streams_back(cls) -> bool:
        # Before 2.0 the client keeps the response until it is closed itself.
        return int(importlib.metadata.version(cls.distribution).partition(".")[0]) >= 2

    def open(self) -> None:
        import huggingface_hub

        settings = self.settings
        huggingface_hub.close_session()
        if settings.is_explicit:
            set_factory = (
                huggingface_hub.set_async_client_factory if settings.is_async else huggingface_hub.set_client_factory
            )
            set_factory(lambda: self.http_client(follow_redirects=True))
        kind = huggingface_hub.AsyncInferenceClient if settings.is_async else huggingface_hub.InferenceClient
        self.client = kind(base_url=f"{settings.url}/v1", api_key="key", timeout=settings.timeout)

    async def close(self) -> None:
        import huggingface_hub
        from huggingface_hub.utils import _http

        if self.settings.is_async:
            await self.client.close()
        huggingface_hub.close_session()
        huggingface_hub.set_client_factory(_http.default_client_factory)
        huggingface_hub.set_async_client_factory(_http.default_async_client_factory)

    async def ask(self, model: str) -> str:
        answer = await settled(self.client.chat_completion(QUESTION, model=model))
        return answer.choices[0].message.content

    async def pieces(self, model: str) -> AsyncIterator[str]:
        stream = await settled(self.client.chat_completion(QUESTION, model=model, stream=True))
        async with aclosing(items(stream, self.settings.is_async)) as chunks:
            async for chunk in chunks:
                yield chunk.choices[0].delta.content

    def status_of(self, error: Exception) -> int | None:
        response = getattr(error, "response", None)
        return None if response is None else response.status_code

    def timeouts(self) -> tuple[type[Exception], ...]:
        import huggingface_hub

        return (huggingface_hub.InferenceTimeoutError, self.library().TimeoutException)


class Mcp(Sdk):
    """A client of the Model Context Protocol. The name of the model is part of the path."""

    distribution = "mcp"
    flavours = ("asyncio",)
    retries = False
    statuses = False
    streams = False

    def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def _call(self, tool: str, model: str, pieces: list[str]) -> str:
        from mcp import ClientSession
        from mcp.client import streamable_http

        connect = getattr(streamable_http, "streamable_http_client", None) or streamable_http.streamablehttp_client
        url = f"{self.settings.url}/mcp/{model}"
        library = self.library()
        timeout = self.settings.timeout
        client = self.http_client() if self.settings.is_explicit else library.AsyncClient(timeout=timeout)

        async def log(params: Any) -> None:
            pieces.append(params.data)

        async with client, connect(url, http_client=client) as (reader, writer, *_):
            async with ClientSession(reader, writer, logging_callback=log) as session:
                await session.initialize()
                result = await session.call_tool(tool, {})
                return result.content[0].text

    async def ask(self, model: str) -> str:
        return await self._call("say", model, [])

    async def pieces(self, model: str) -> AsyncIterator[str]:
        pieces: list[str] = []
        await self._call("tell", model, pieces)
        for piece in pieces:
            yield piece


class Google(Sdk):
    distribution = "google-genai"

    def open(self) -> None:
        from google import genai
        from google.genai import types

        settings = self.settings
        library = self.library()
        arguments: dict[str, Any] = {}
        if settings.is_explicit:
            arguments["async_client_args" if settings.is_async else "client_args"] = {"transport": self.transport()}
        elif settings.is_async:
            # Without a client of httpx it would prefer aiohttp.
            arguments["httpx_async_client"] = library.AsyncClient(timeout=settings.timeout)
        self.client = genai.Client(
            api_key="key",
            http_options=types.HttpOptions(
                base_url=settings.url,
                timeout=int(settings.timeout * 1000),
                retry_options=types.HttpRetryOptions(attempts=1 + settings.retries, initial_delay=0.01),
                **arguments,
            ),
        )
        self.models = self.client.aio.models if settings.is_async else self.client.models

    async def close(self) -> None:
        await settled(self.client.aio.aclose() if self.settings.is_async else self.client.close())

    async def ask(self, model: str) -> str:
        return (await settled(self.models.generate_content(model=model, contents="hi"))).text

    async def pieces(self, model: str) -> AsyncIterator[str]:
        stream = await settled(self.models.generate_content_stream(model=model, contents="hi"))
        async with aclosing(items(stream, self.settings.is_async)) as chunks:
            async for chunk in chunks:
                yield chunk.text

    def status_of(self, error: Exception) -> int | None:
        return getattr(error, "code", None)


class Mistral(Sdk):
    distribution = "mistralai"

    def open(self) -> None:
        try:
            client = importlib.import_module("mistralai.client")
            kind = client.Mistral
        except (ImportError, AttributeError):
            client = importlib.import_module("mistralai")
            kind = client.Mistral
        retries = importlib.import_module(
            "mistralai.client.utils.retries" if client.__name__ == "mistralai.client" else "mistralai.utils.retries"
        )
        settings = self.settings
        arguments: dict[str, Any] = {}
        if settings.is_explicit:
            # One argument each for threads and event loops.
            arguments["async_client" if settings.is_async else "client"] = self.http_client(follow_redirects=True)
        if settings.retries:
            backoff = retries.BackoffStrategy(10, 100, 1.5, 60_000)
            arguments["retry_config"] = retries.RetryConfig("backoff", backoff, retry_connection_errors=True)
        self.client = kind(api_key="key", server_url=settings.url, timeout_ms=int(settings.timeout * 1000), **arguments)

    async def close(self) -> None:
        if self.settings.is_async:
            await self.client.__aexit__(None, None, None)
        else:
            self.client.__exit__(None, None, None)

    async def ask(self, model: str) -> str:
        complete = self.client.chat.complete_async if self.settings.is_async else self.client.chat.complete
        return (await settled(complete(model=model, messages=QUESTION))).choices[0].message.content

    async def pieces(self, model: str) -> AsyncIterator[str]:
        make = self.client.chat.stream_async if self.settings.is_async else self.client.chat.stream
        stream = await settled(make(model=model, messages=QUESTION))
        # Such a stream is closed by its context manager.
        async with aclosing(items(stream, self.settings.is_async)) as events:
            async for event in events:
                yield event.data.choices[0].delta.content


class LiteLLM(Sdk):
    """litellm by one of the two ways that it has to providers: the SDK of OpenAI, and its own client."""

    distribution = "litellm"
    provider: ClassVar[str]
    path: ClassVar[str]

    def open(self) -> None:
        import litellm

        settings = self.settings
        litellm.in_memory_llm_clients_cache.flush_cache()
        self.restored = {
            name: getattr(litellm, name, None)
            for name in ("disable_aiohttp_transport", "client_session", "aclient_session", "sync_transport")
        }
        if settings.is_explicit:
            self.set_explicit(litellm)
        elif settings.is_async:
            # It would prefer aiohttp.
            litellm.disable_aiohttp_transport = True

    def set_explicit(self, litellm: Any) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        import litellm

        litellm.in_memory_llm_clients_cache.flush_cache()
        for name, value in self.restored.items():
            setattr(litellm, name, value)

    async def _complete(self, model: str, **arguments: Any) -> Any:
        import litellm

        settings = self.settings
        return await settled(
            (litellm.acompletion if settings.is_async else litellm.completion)(
                model=f"{self.provider}/{model}",
                api_base=settings.url + self.path,
                api_key="key",
                messages=QUESTION,
                timeout=settings.timeout,
                max_retries=settings.retries,
                **arguments,
            )
        )

    async def ask(self, model: str) -> str:
        return (await self._complete(model)).choices[0].message.content

    async def pieces(self, model: str) -> AsyncIterator[str]:
        stream = await self._complete(model, stream=True)
        async with aclosing(items(stream, self.settings.is_async)) as chunks:
            async for chunk in chunks:
                if chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    def timeouts(self) -> tuple[type[Exception], ...]:
        import litellm

        return (litellm.Timeout,)


class LiteLLMOpenAI(LiteLLM):
    provider = "openai"
    path = "/v1"

    def set_explicit(self, litellm: Any) -> None:
        setattr(litellm, "aclient_session" if self.settings.is_async else "client_session", self.http_client())


class LiteLLMAnthropic(LiteLLM):
    provider = "anthropic"
    path = ""
    retries = False
    explicit_flavours = ("sync",)

    def set_explicit(self, litellm: Any) -> None:
        litellm.sync_transport = self.transport()


class LangChain(Sdk):
    distribution = "langchain-openai"
    keepalive = True

    @classmethod
    def library(cls) -> Any:
        return OpenAI.library()

    def open(self) -> None:
        from langchain_openai import ChatOpenAI

        settings = self.settings
        self.http: Any = None
        arguments: dict[str, Any] = {}
        if settings.is_explicit:
            self.http = self.http_client()
            arguments["http_async_client" if settings.is_async else "http_client"] = self.http
        self.make = lambda model: ChatOpenAI(
            model=model,
            base_url=f"{settings.url}/v1",
            api_key="key",
            max_retries=settings.retries,
            timeout=settings.timeout,
            **arguments,
        )

    async def close(self) -> None:
        if self.http is not None:
            await settled(self.http.aclose() if self.settings.is_async else self.http.close())

    async def ask(self, model: str) -> str:
        client = self.make(model)
        return (await settled(client.ainvoke("hi") if self.settings.is_async else client.invoke("hi"))).content

    async def pieces(self, model: str) -> AsyncIterator[str]:
        client = self.make(model)
        stream = client.astream("hi") if self.settings.is_async else client.stream("hi")
        async with aclosing(items(stream, self.settings.is_async)) as chunks:
            async for chunk in chunks:
                if chunk.content:
                    yield chunk.content

    def timeouts(self) -> tuple[type[Exception], ...]:
        import openai

        return (openai.APITimeoutError,)


SDKS: dict[str, type[Sdk]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "huggingface_hub": HuggingFace,
    "mcp": Mcp,
    "google-genai": Google,
    "mistralai": Mistral,
    "litellm-openai": LiteLLMOpenAI,
    "litellm-anthropic": LiteLLMAnthropic,
    "langchain-openai": LangChain,
}
