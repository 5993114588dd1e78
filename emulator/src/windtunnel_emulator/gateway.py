"""LocalStack's side of its address: the gateway listens where GATEWAY_LISTEN says, and nowhere else."""

from collections.abc import Callable
from functools import partial
from typing import Any

from localstack.config import HostAndPort
from localstack.runtime.hooks import on_infra_start
from localstack.runtime.server.twisted import TwistedRuntimeServer
from localstack.utils.patch import patch
from twisted.internet import endpoints


@on_infra_start()  # type: ignore[untyped-decorator]
def listen_on_the_named_interface() -> None:
    """Hand the host on to Twisted, which otherwise takes every interface of the machine.

    LocalStack 4.14 does so for IPv6 alone. In a container only published ports can be reached; a process of this
    machine would be open to the network.
    """

    @patch(TwistedRuntimeServer.register)  # type: ignore[no-untyped-call, untyped-decorator]
    def register(
        original: Callable[..., None],
        server: TwistedRuntimeServer,
        gateway: Any,
        listen: list[HostAndPort],
        ssl_creds: tuple[str, str] | None = None,
    ) -> None:
        plain = endpoints.TCP4ServerEndpoint
        for address in listen:
            endpoints.TCP4ServerEndpoint = partial(plain, interface=address.host)
            try:
                original(server, gateway, [address], ssl_creds)
            finally:
                endpoints.TCP4ServerEndpoint = plain
