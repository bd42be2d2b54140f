"""The OpenAI SDK over httpcore_rs: streamed answers, and errors.

Run: OPENAI_API_KEY=... python examples/openai_sdk.py [MODEL].

The SDK makes its clients with httpx2, which `install()` covers. `OPENAI_BASE_URL` names another server than OpenAI's.
"""

from __future__ import annotations

import asyncio
import sys

import openai

import httpcore_rs


async def main(model: str) -> None:
    """Asks five questions at once, and prints the answers as they come."""
    httpcore_rs.install()
    async with openai.AsyncOpenAI(timeout=30, max_retries=2) as client:

        async def ask(question: str) -> None:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": question}], stream=True
            )
            answer = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            print(f"{question} {''.join(answer)}")

        try:
            await asyncio.gather(*(ask(f"What is {number} times {number}?") for number in range(5)))
        except openai.APIConnectionError as exc:
            # The text of the cause names the phase, the peer and the seconds.
            sys.exit(f"{exc} {exc.__cause__}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "gpt-5-mini"))
