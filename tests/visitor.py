"""Someone with a browser before Airflow's web page."""

from urllib.parse import quote

import urllib3

from tests.run_logs import Try
from tests.support import StackUnderTest

TIMEOUT = 30.0


class Visitor:
    """Asks for pages.

    :param address: of the web page.
    :param cookies: of a login.
    """

    def __init__(self, address: str, cookies: str = "") -> None:
        self.address = address
        self._headers = {"Cookie": cookies} if cookies else {}

    @classmethod
    def admin(cls, stack: StackUnderTest) -> "Visitor":
        """The administrator, logged in."""
        user, password = stack.stack.login()
        address = stack.stack.address("webserver")
        login = {"username": user, "password": password}
        answer = urllib3.request("POST", f"{address}/auth/token", json=login, timeout=TIMEOUT)
        return cls(address, f"_token={answer.json()['access_token']}")

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        """Open a page, and follow where it leads."""
        url = f"{self.address}/{path}"
        return urllib3.request("GET", url, headers=self._headers, timeout=TIMEOUT)

    def links(self, of: Try) -> dict[str, str | None]:
        """Where the buttons on the page of a task's try lead; None for one that is not shown.

        Empty before the try begins.
        """
        run = f"api/v2/dags/{of.dag_id}/dagRuns/{quote(of.run_id)}"
        query = f"map_index={of.map_index}&try_number={of.number}"
        answer = self.get(f"{run}/taskInstances/{of.task_id}/links?{query}")
        found: dict[str, str | None] = {} if answer.status == 404 else answer.json()["extra_links"]
        return found
