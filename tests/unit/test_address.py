"""Which door to the database an address is, told from its host, port and user name alone."""

import pytest

from worker.database.address import describe_address, explain_refusal

POOLER = "aws-0-ca-central-1.pooler.supabase.com"
DIRECT = "db.abcdefghijklmnopqrst.supabase.co"
USER = "worker.abcdefghijklmnopqrst"


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        (POOLER, 6543, "Supabase's transaction pooler"),
        (POOLER, 5432, "Supabase's session pooler"),
        (DIRECT, 5432, "the project's database itself, reached by IPv6 only unless"),
        (DIRECT, 6543, "the project's own transaction pooler"),
        ("db.example.org", 6543, "looks like a pooler in transaction mode (port 6543)"),
        ("10.0.0.7", 6432, "looks like a pooler in transaction mode (port 6432)"),
        ("db.example.org", 5432, "looks like a direct connection"),
        ("pooler.supabase.com.example.org", 5432, "looks like a direct connection"),
        ("/var/run/postgresql", 5432, "a socket of this machine"),
        ("", 5432, "a socket of this machine"),
    ],
)
def test_each_door_is_told(host, port, said):
    (only,) = describe_address(host, port, USER)
    assert (only.name, only.status) == ("address", "ok")
    assert said in only.message
    assert only.message.endswith(".")


def test_a_user_name_without_its_project_at_the_pooler():
    for port in (5432, 6543):
        warned, told = describe_address(POOLER, port, "my_worker")
        assert (warned.status, told.status) == ("warning", "ok")
        assert "role.project_ref" in warned.message
        assert "my_worker" not in warned.message + warned.fix
    assert [item.status for item in describe_address(DIRECT, 5432, "my_worker")] == ["ok"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://my_worker:hunter2secret@{POOLER}:6543/postgres", "role.project_ref"),
        (f"postgresql://{USER}:hunter2secret@{POOLER}:6543/postgres", ""),
        (f"postgresql://my_worker:hunter2secret@{DIRECT}:5432/postgres", "IPv6 only"),
        ("postgresql://my_worker:hunter2secret@a.example.org,b.example.org:5432,5433/postgres", ""),
        ("host=localhost user=my_worker password=hunter2secret", ""),
        ("embedded", ""),
    ],
)
def test_what_an_address_says_of_a_refused_connection(url, said):
    text = " ".join(explain_refusal(url))
    assert said in text
    assert bool(said) == bool(text)
    assert "hunter2secret" not in text
    assert "my_worker" not in text
