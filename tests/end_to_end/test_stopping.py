import socket
import subprocess
from pathlib import Path

from tests.end_to_end.processes import START_SECONDS, STOP_SECONDS, environment, python


def test_a_gate_told_to_stop_as_soon_as_it_listens_ends_in_order(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(START_SECONDS)
        told = ("--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{upstream.getsockname()[1]}")
        with subprocess.Popen(python("proxy", "serve", *told), cwd=tmp_path, env=environment(tmp_path)) as gate:
            try:
                asked, _ = upstream.accept()  # It listens by now, and waits to hear what is behind it.
                gate.terminate()
                asked.close()
                upstream.close()

                assert 0 == gate.wait(STOP_SECONDS)
            finally:
                gate.kill()
