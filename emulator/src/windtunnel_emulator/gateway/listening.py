"""LocalStack's side of its address: the gateway listens where GATEWAY_LISTEN says, and nowhere else."""

from collections.abc import Callable
from typing import Any

from localstack import config
from localstack.runtime.hooks import on_infra_start
from localstack.utils.patch import patch
from twisted.internet.endpoints import TCP4ServerEndpoint


@on_infra_start()  # type: ignore[untyped-decorator]
def listen_on_the_named_interface() -> None:
    """Hand the host on to Twisted, which otherwise takes every interface of the machine.

    LocalStack 4.14 does so for IPv6 alone. In a container only published ports can be reached; a process of
    this machine would be open to its network.
    """

    @patch(TCP4ServerEndpoint.__init__)  # type: ignore[no-untyped-call, untyped-decorator]
    def on_its_interface(
        original: Callable[..., None],
        endpoint: TCP4ServerEndpoint,
        reactor: Any,
        port: int,
        backlog: int = 50,
        interface: str = "",
    ) -> None:
        hosts = {address.port: address.host for address in config.GATEWAY_LISTEN}
        original(endpoint, reactor, port, backlog, interface or hosts.get(port, ""))
