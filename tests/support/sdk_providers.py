"""The SDKs of providers of models."""

from __future__ import annotations

import importlib
import importlib.metadata
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from sdk_base import QUESTION, Sdk, items, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
        # The client has each response on an `ExitStack` of its own, until it is closed itself. httpx2 also closes a
        # response whose iterator is closed; httpx does not.
        return cls.library().__name__ == "httpx2"

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
