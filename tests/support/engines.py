"""The TLS engine of a test: rustls, Python's `ssl`, or native-tls if the build has it. Over plain TCP there is none."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpcore_rs

if TYPE_CHECKING:
    from certificates import Certificates


def _has_native_tls() -> bool:
    try:
        httpcore_rs.TLSConfig(engine="native-tls")
    except ValueError:
        return False
    return True


ENGINES = ("rustls", "ssl", "native-tls") if _has_native_tls() else ("rustls", "ssl")


class Engine:
    """The engine of the test that runs now, set by the fixture `engine`."""

    name = "rustls"

    def trusting(self, certificates: Certificates, **arguments: Any) -> Any:
        """Returns an `ssl_context` that trusts the tests' authority; the arguments are those of a `TLSConfig`."""
        if self.name != "ssl":
            return self.config(verify=str(certificates.ca), **arguments)
        context = ssl.create_default_context(cafile=str(certificates.ca))
        cert = arguments.pop("cert", None)
        if cert is not None:
            context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
        assert not arguments
        return context

    def trusting_nothing(self) -> Any:
        """Returns an `ssl_context` that trusts certifi's authorities, which have signed no certificate of the tests."""
        return ssl.create_default_context() if self.name == "ssl" else self.config()

    def config(self, **arguments: Any) -> Any:
        """Returns a `TLSConfig` for this engine, which is not Python's `ssl`."""
        if self.name == "native-tls":
            arguments["engine"] = self.name
        return httpcore_rs.TLSConfig(**arguments)

    def verifying_nothing(self) -> Any:
        if self.name != "ssl":
            return self.config(verify=False)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


current = Engine()
