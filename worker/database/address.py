"""Which door to the database an address is: direct, or a pooler's, as far as host, port and user name tell."""

import re
from collections.abc import Iterator

from psycopg.conninfo import conninfo_to_dict

from worker.database.verdict import Inspection, warning, well

NAME = "address"
TRANSACTION_POOLER_PORTS = (6543, 6432)  # Supabase's, and PgBouncer's own
SUPABASE_POOLER = re.compile(r"\.pooler\.supabase\.(com|co)$", re.IGNORECASE)
SUPABASE_DIRECT = re.compile(r"^db\.[a-z0-9]+\.supabase\.(co|com)$", re.IGNORECASE)
POOLER_USER = (
    "A user name at Supabase's pooler is role.project_ref, such as growth_worker_login.abcdefghijklmnopqrst, and the"
    " one in DATABASE_URL has no project_ref."
)


def describe_address(host: str, port: int, user: str) -> Iterator[Inspection]:
    """Say which door this is; host is empty or a path where it is a local socket."""
    at_port_of_pooler = port in TRANSACTION_POOLER_PORTS
    kept = "which suits the worker: it keeps nothing in a session"
    if SUPABASE_POOLER.search(host):
        if "." not in user:
            yield warning(NAME, POOLER_USER, "Copy the user name from the project's page Connect.")
        if at_port_of_pooler:
            yield well(NAME, f"The address is Supabase's transaction pooler, {kept}.")
        else:
            yield well(NAME, "The address is Supabase's session pooler, of whose places the worker takes at most 4.")
    elif SUPABASE_DIRECT.match(host):
        door = "the project's own transaction pooler" if at_port_of_pooler else "the project's database itself"
        yield well(NAME, f"The address is {door}, reached by IPv6 only unless the project has the IPv4 add-on.")
    elif at_port_of_pooler:
        yield well(NAME, f"The address looks like a pooler in transaction mode (port {port}), {kept}.")
    elif not host or host.startswith(("/", "@")):
        yield well(NAME, "The address is a socket of this machine: a direct connection.")
    else:
        yield well(NAME, "The address looks like a direct connection.")


def explain_refusal(database_url: str) -> list[str]:
    """Say what about an address, by itself, may be why no connection came about; never repeats a user or password."""
    if database_url == "embedded":
        return []
    parts = conninfo_to_dict(database_url)
    host, port = str(parts.get("host") or ""), str(parts.get("port") or 5432)
    if not port.isdecimal():  # several hosts
        return []
    if SUPABASE_DIRECT.match(host):
        return [
            (
                "This host is reached by IPv6 only, unless the project has the IPv4 add-on. Where this machine has"
                " no IPv6, take the address of the session pooler from the project's page Connect."
            )
        ]
    found = describe_address(host, int(port), str(parts.get("user") or ""))
    return [f"{item.message} {item.fix}" for item in found if item.status == "warning"]
