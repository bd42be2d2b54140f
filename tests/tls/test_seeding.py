"""The random generator of TLS: docs/decisions/0014-seeding-of-the-random-generator.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers import Connection, Serve

SHAKE_HANDS = """
def shake_hands():
    with httpcore_rs.ConnectionPool(httpcore_rs.TLSConfig()) as pool:
        try:
            pool.request("GET", url)
        except httpcore_rs.ConnectError:
            pass

def in_child():
    child = os.fork()
    if child == 0:
        shake_hands()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

shake_hands()
in_child()
in_child()
shake_hands()
"""


def test_forked_children_and_their_parent_draw_different_numbers(serve: Serve, program: Any) -> None:
    drawn: list[bytes] = []

    def read_hello(connection: Connection) -> None:
        length = int.from_bytes(connection.read_exactly(5)[3:], "big")
        hello = connection.read_exactly(length)
        # After the type and the length of the message and a version: the random number and the number of a session.
        drawn.extend([hello[6:38], hello[39:71]])

    peer = serve(read_hello)
    program(SHAKE_HANDS, peer.url.replace("http:", "https:")).output()
    assert len(drawn) == 8
    assert len(set(drawn)) == 8
    assert {len(number) for number in drawn} == {32}
