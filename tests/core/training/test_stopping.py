"""A training in a terminal that is asked to stop."""

import signal

import pytest

from comfyui_ip_adapter.ip_adapter_core.training import stopping as stopping_module
from comfyui_ip_adapter.ip_adapter_core.training.stopping import StopRequest


def test_a_signal_asks_to_stop_its_echo_does_not_hurry_and_a_later_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        stop.check()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        monkeypatch.setattr(stopping_module, "_ECHO", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
