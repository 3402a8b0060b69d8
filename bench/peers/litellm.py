"""LiteLLM's proxy at its cheapest: one model, one worker, no keys, no database, no callbacks, nothing but loopback."""

import json
from pathlib import Path

from bench.peers import LITELLM, found
from bench.servers import Plan, clean_environment, free_port
from bench.upstream import MODEL

START_SECONDS = 180.0


def plan(folder: Path, before: Plan) -> Plan:
    """In a folder that is not there yet. Raises NotInstalled."""
    program = found(LITELLM, lambda at: at / "bin" / "litellm")
    port = free_port()
    folder.mkdir()
    behind = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{before.port}/v1", "api_key": "none"}
    told = {
        "model_list": [{"model_name": MODEL, "litellm_params": behind}],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "set_verbose": False, "json_logs": False},
        "general_settings": {"disable_spend_logs": True},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(told, indent=2))  # Which is YAML too.
    own = clean_environment(
        LITELLM_MODE="PRODUCTION",
        LITELLM_LOG="ERROR",
        LITELLM_TELEMETRY="False",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        DISABLE_ADMIN_UI="True",
        LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true",  # A key would have to be looked at. On loopback.
        HOME=str(folder),
    )
    command = (str(program), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    note = "its cheapest: no keys, no limits, no ledger, errors logged only"
    return Plan(LITELLM, port, command, own, exact=False, start_seconds=START_SECONDS, note=note)
