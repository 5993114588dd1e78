"""What tasks look up: Airflow's connections, variables and pools."""

import json
from collections.abc import Callable, Collection
from typing import Any

from airflow_client import client as rest

from windtunnel.airflow_api.client import AirflowClient, NotThere

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here


class Lookups:
    """The connections, variables and pools of one Airflow."""

    def __init__(self, airflow: AirflowClient) -> None:
        """Log in, unless the client has done so."""
        self._ask = airflow.ask
        self._connections = rest.ConnectionApi(airflow.api)
        self._variables = rest.VariableApi(airflow.api)
        self._pools = rest.PoolApi(airflow.api)

    def _find[T](self, table: str, call: Callable[[str], T], name: str) -> T | None:
        try:
            return self._ask(f"reading the {table} {name}", call, name)
        except NotThere:
            return None

    def connection(self, connection_id: str) -> dict[str, Any] | None:
        """Return what ``add_connection`` takes, secrets as ``***``; None if there is no such connection."""
        found = self._find("connection", self._connections.get_connection, connection_id)
        if found is None:
            return None
        return {name: value for name, value in found.to_dict().items() if name != "connection_id"}

    def add_connection(self, connection_id: str, conn_type: str, **fields: Any) -> None:
        """Add a connection that is not there yet; of its fields ``extra`` may be a text or a dict."""
        if not isinstance(extra := fields.get("extra"), str | None):
            fields["extra"] = json.dumps(extra)
        body = rest.ConnectionBody.from_dict(
            {"connection_id": connection_id, "conn_type": conn_type, **fields}
        )
        self._ask(f"adding the connection {connection_id}", self._connections.post_connection, body)

    def delete_connection(self, connection_id: str) -> None:
        """Delete a connection."""
        call = self._connections.delete_connection
        self._ask(f"deleting the connection {connection_id}", call, connection_id)

    def variable(self, key: str) -> str | None:
        """Return a variable's text, ``***`` if it is named like a secret; None if there is none."""
        found = self._find("variable", self._variables.get_variable, key)
        return str(found.value) if found else None

    def add_variable(self, key: str, value: Any) -> None:
        """Add a variable that is not there yet; a value that is not a text is written as JSON."""
        text = value if isinstance(value, str) else json.dumps(value)
        body = rest.VariableBody.from_dict({"key": key, "value": text})
        self._ask(f"adding the variable {key}", self._variables.post_variable, body)

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""
        self._ask(f"deleting the variable {key}", self._variables.delete_variable, key)

    def pool(self, name: str) -> rest.PoolResponse | None:
        """Return a pool, None if there is none."""
        return self._find("pool", self._pools.get_pool, name)

    def resize_pool(self, pool: rest.PoolResponse, slots: int) -> None:
        """Give a pool another number of slots."""
        # Airflow wants all three, even if two stay.
        body = rest.PoolPatchBody(pool=pool.name, include_deferred=pool.include_deferred, slots=slots)
        call = self._pools.patch_pool
        self._ask(f"resizing the pool {pool.name}", call, pool.name, body, update_mask=["slots"])

    def add_pool(self, name: str, slots: int) -> None:
        """Add a pool that is not there yet."""
        self._ask(f"adding the pool {name}", self._pools.post_pool, rest.PoolBody(name=name, slots=slots))

    def delete_pool(self, name: str) -> None:
        """Delete a pool."""
        self._ask(f"deleting the pool {name}", self._pools.delete_pool, name)


def check_connection_fields(fields: Collection[str]) -> None:
    """Refuse what is no field of a connection; Airflow's client would ignore it.

    :raises TypeError: naming the fields that there are.
    """
    known = {field.alias or name for name, field in rest.ConnectionBody.model_fields.items()}
    if unknown := sorted(set(fields) - known):
        raise TypeError(f"a connection has no {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
