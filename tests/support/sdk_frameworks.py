"""SDKs that are for more than one provider of models: mcp, litellm, langchain."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from sdk_base import QUESTION, Sdk, items, settled
from sdk_providers import OpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
