"""Bare sockets: prebuilt requests, bytes counted. No HTTP client in Python can be faster; this is the limit.

They read only what the benchmark's servers send: a head in one piece, and a body with a content-length.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections import defaultdict
from itertools import chain
from typing import Any, cast
from urllib.parse import urlsplit

from bench.checks import CHUNK, CHUNKS, Answer

_FRAME = b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_READ = 256 * 1024
_Address = tuple[str, int]


def get_request(url: str) -> bytes:
    """The bytes of a GET, with the headers that httpcore sends."""
    parts = urlsplit(url)
    return f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()


def put_head(url: str) -> bytes:
    """The head of a PUT whose body follows in chunks."""
    parts = urlsplit(url)
    return f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def _read_head(data: bytes) -> tuple[int, int, int]:
    """Status, length of the head, length of the body. The head arrives in one piece from the benchmark's server."""
    end = data.index(b"\r\n\r\n") + 4
    found = _LENGTH.search(data, 0, end)
    return int(data[9:12]), end, int(found[1]) if found else 0


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


class BareSocket:
    """A blocking socket for each thread and server, with Python's TLS on it if there is a context."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._local = threading.local()
        self._sockets: list[socket.socket] = []

    def target(self, url: str) -> tuple[_Address, bytes]:
        return _address(url), get_request(url)

    def get(self, target: tuple[_Address, bytes]) -> Answer:
        sock = self._socket(target[0])
        sock.sendall(target[1])
        data = sock.recv(_READ)
        status, head, length = _read_head(data)
        got = len(data) - head
        while got < length:
            got += len(sock.recv(_READ))
        return status, got

    def download(self, url: str) -> Answer:
        return self.get(self.target(url))

    def upload(self, url: str) -> Answer:
        sock = self._socket(_address(url))
        sock.sendall(put_head(url))
        for _ in range(CHUNKS):
            sock.sendall(_FRAME)
        sock.sendall(b"0\r\n\r\n")
        status, head, _ = _read_head(data := sock.recv(_READ))
        return status, len(data) - head

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def _socket(self, address: _Address) -> socket.socket:
        sockets: dict[Any, socket.socket] = self._local.__dict__
        if address not in sockets:
            sock = socket.create_connection(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_hostname=address[0])
            sockets[address] = sock
            self._sockets.append(sock)
        return sockets[address]


class _Exchange(asyncio.Protocol):
    """One connection: counts the bytes of one response at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not inherit from asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes) -> asyncio.Future[Answer]:
        self._missing = -1
        self._answer: asyncio.Future[Answer] = self._loop.create_future()
        self.transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._status, head, self._length = _read_head(data)
            self._missing = self._length - len(data) + head
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._answer.set_result((self._status, self._length - self._missing))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable


class BareProtocol:
    """As many connections as there are tasks, each an `asyncio.Protocol`, with Python's TLS if there is a context."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._idle: defaultdict[_Address, list[_Exchange]] = defaultdict(list)

    def target(self, url: str) -> tuple[_Address, bytes]:
        return _address(url), get_request(url)

    async def get(self, target: tuple[_Address, bytes]) -> Answer:
        idle = self._idle[target[0]]
        exchange = idle.pop() if idle else await self._open(target[0])
        answer = await exchange.send(target[1])
        idle.append(exchange)
        return answer

    async def download(self, url: str) -> Answer:
        return await self.get(self.target(url))

    async def upload(self, url: str) -> Answer:
        idle = self._idle[_address(url)]
        exchange = idle.pop() if idle else await self._open(_address(url))
        answer = exchange.send(put_head(url))
        for _ in range(CHUNKS):
            exchange.transport.write(_FRAME)
            await exchange.drain()
        exchange.transport.write(b"0\r\n\r\n")
        result = await answer
        idle.append(exchange)
        return result

    async def close(self) -> None:
        for exchange in chain.from_iterable(self._idle.values()):
            exchange.transport.close()
        # The transports close in the loop's next iteration.
        await asyncio.sleep(0)

    async def _open(self, address: _Address) -> _Exchange:
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(_Exchange, *address, ssl=self._context)
        return exchange
