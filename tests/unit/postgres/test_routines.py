from __future__ import annotations

from pgcast.postgres.routines import auth_routines, new_id, realtime_routines, send_routine


def test_every_function_pins_its_search_path_and_is_marked_as_ours():
    for routine in [*realtime_routines(180_000), *auth_routines(), send_routine()]:
        create, comment = routine.statements()
        assert "SET search_path = ''" in create
        assert "SECURITY DEFINER" not in create
        assert comment.startswith(f"COMMENT ON FUNCTION {routine.signature} IS 'pgcast: ")


def test_old_versions_have_neither_uuids_nor_records():
    assert new_id(130_000) == "gen_random_uuid()"
    assert "md5" in new_id(129_999)
    assert "record, record" in realtime_routines(110_000)[-1].signature
    assert "anyelement, anyelement" in realtime_routines(109_999)[-1].signature
