import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from accounts import audit
from accounts.audit import START, ChainBroken


def record(control, action="keys.create", **more):
    with control.write() as connection:
        return audit.record(
            connection,
            organization="acme",
            actor="user_1 (Ada)",
            action=action,
            object="key/1",
            **more,
        )


def verified(control):
    with control.read() as connection:
        return audit.verify(connection)


def tampered(control, statement):
    """The statement, carried out by somebody who may do anything to the database."""
    with control.write() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_refuses_update"))
            connection.execute(text("DROP TRIGGER audit_refuses_delete"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text(statement))


def test_an_empty_chain_holds(control):
    assert verified(control) == (0, START)


def test_entries_follow_each_other(control):
    first, second = record(control), record(control)
    assert second.previous == first.hash
    assert verified(control) == (2, second.hash)


@pytest.mark.parametrize("statement", ["UPDATE audit SET reason = 'x'", "DELETE FROM audit"])
def test_the_database_itself_refuses_changes(control, statement):
    record(control)
    with pytest.raises(DBAPIError, match="append-only"), control.write() as connection:
        connection.execute(text(statement))


def test_a_changed_entry_breaks_the_chain(control):
    for _ in range(3):
        record(control)
    tampered(control, "UPDATE audit SET reason = 'nothing' WHERE number = 2")
    with pytest.raises(ChainBroken, match="entry 2"):
        verified(control)


def test_a_removed_entry_breaks_the_chain(control):
    for _ in range(3):
        record(control)
    tampered(control, "DELETE FROM audit WHERE number = 2")
    with pytest.raises(ChainBroken, match="entry 2 is missing"):
        verified(control)


def test_a_cut_off_end_shows_in_the_head(control):
    for _ in range(3):
        record(control)
    before = verified(control)
    tampered(control, "DELETE FROM audit WHERE number = 3")
    assert verified(control) != before


def test_what_is_rolled_back_is_not_in_the_chain(control):
    record(control)
    with pytest.raises(ZeroDivisionError), control.write() as connection:
        audit.record(
            connection, organization="acme", actor="a", action="keys.create", object="key/2"
        )
        raise ZeroDivisionError
    assert verified(control).entries == 1


def test_many_writers_at_once_make_one_chain(control):
    record(control)
    threads = [
        threading.Thread(target=lambda: [record(control) for _ in range(5)]) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified(control).entries == 31


def test_a_search_finds_words_anywhere_and_nothing_of_others(control):
    record(control, action="keys.create")
    record(control, action="users.remove")
    with control.write() as connection:
        audit.record(connection, organization="other", actor="b", action="keys.create", object="k")
    with control.read() as connection:
        result = audit.search(connection, "acme", action="create").entries
    assert [entry.action for entry in result] == ["keys.create"]


def test_a_search_takes_wildcards_as_letters(control):
    record(control, action="keys.create")
    with control.read() as connection:
        assert audit.search(connection, "acme", action="%").entries == []


def test_before_and_after_are_kept(control):
    record(control, before={"role": "user"}, after={"role": "admin"})
    with control.read() as connection:
        (entry,) = audit.search(connection, "acme").entries
    assert (entry.before, entry.after) == ('{"role": "user"}', '{"role": "admin"}')


def test_a_search_looks_through_a_window_and_says_where_it_goes_on(control, monkeypatch):
    monkeypatch.setattr(audit, "WINDOW", 10)
    with control.write() as connection:
        for number in range(35):
            audit.record(
                connection,
                organization="acme" if number % 2 else "other",
                actor="ada",
                action="rare" if number == 1 else "usual",
                object=f"o/{number}",
                decision="allowed",
                reason="",
            )
        looked, before = [], None
        while True:
            result = audit.search(connection, "acme", action="rare", before_number=before)
            looked.append([entry.object for entry in result.entries])
            before = result.next
            if before is None:
                break
    assert looked == [[], ["o/1"]]
