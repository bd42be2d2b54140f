"""The SDKs that scripts/downstream tests.

An SDK is used in a flavour, sync or async, and in a way: `install` (under `httpcore_rs.install()`) or `explicit` (it
is given transports of this package).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdk_frameworks import LangChain, LiteLLMAnthropic, LiteLLMOpenAI, Mcp
from sdk_providers import Anthropic, Google, HuggingFace, Mistral, OpenAI

if TYPE_CHECKING:
    from sdk_base import Sdk

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
