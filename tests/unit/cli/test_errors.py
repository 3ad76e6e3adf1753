import pytest

from pgcast.cli.errors import report_errors
from pgcast.model.errors import ConnectionFailed, SettingsError


def test_an_error_is_one_line_and_its_fix_and_no_traceback(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught, report_errors():
        raise ConnectionFailed("localhost:5432: connection refused", hint="is Postgres running there?")
    printed = capsys.readouterr()
    assert printed.err == "pgcast: localhost:5432: connection refused\n  fix: is Postgres running there?\n"
    assert printed.out == ""
    assert caught.value.code == 1


def test_an_error_without_a_fix_is_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit), report_errors():
        raise ConnectionFailed("refused")
    assert capsys.readouterr().err == "pgcast: refused\n"


def test_a_wrong_setting_is_a_mistake_in_usage():
    with pytest.raises(SystemExit) as caught, report_errors():
        raise SettingsError("PORT: expected a number")
    assert caught.value.code == 2


def test_an_interrupt_ends_quietly(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught, report_errors():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_a_fault_of_ours_is_not_dressed_up():
    with pytest.raises(ZeroDivisionError), report_errors():
        raise ZeroDivisionError


def test_without_an_error_nothing_happens(capsys: pytest.CaptureFixture[str]):
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")
