"""What ``scripts.reference`` runs for each call, in a shell, with the place of the service as people have it."""

_JSON = "-H 'content-type: application/json'"

EXAMPLES: dict[str, str] = {
    "post /predict": f"curl -s localhost:8000/predict {_JSON} \\\n"
    """     -d '{"sequences":[["e4","e5"], {"moves":["d4"],"context":{"white_elo":2200}}],"top_k":2,"score":true}'""",
    "post /sessions": f"curl -s localhost:8000/sessions {_JSON} \\\n"
    """     -d '{"session":"board-7","moves":["e4"],"context":{"white_elo":1500,"black_elo":1500},"top_k":2}'""",
    "get /sessions": "curl -s 'localhost:8000/sessions?prefix=board&min_ply=1'",
    "post /sessions/{session}/moves": f"curl -s localhost:8000/sessions/board-7/moves {_JSON} \\\n"
    """     -d '{"moves":["c5","Nf3"],"ply":1,"top_k":2}'""",
    "post /sessions/{session}/peek": f"curl -s localhost:8000/sessions/board-7/peek {_JSON} \\\n"
    """     -d '{"moves":["Nc6"],"top_k":1}'""",
    "post /sessions/{session}/takeback": f"curl -s localhost:8000/sessions/board-7/takeback {_JSON} \\\n"
    """     -d '{"to_ply":2,"top_k":1}'""",
    "post /sessions/{session}/fork": f"curl -s localhost:8000/sessions/board-7/fork {_JSON} \\\n"
    """     -d '{"session":"what-if","at_ply":1,"top_k":1}'""",
    "get /sessions/{session}": "curl -s 'localhost:8000/sessions/board-7?top_k=1'",
    "delete /sessions/{session}": "curl -s -X DELETE localhost:8000/sessions/what-if",
    "get /sessions/{session}/explain": f"curl -s localhost:8000/sessions {_JSON} \\\n"
    """     -d '{"session":"rounds","model":"rock_paper_scissors","moves":["rock-paper"],"top_k":1}'\n"""
    "curl -s 'localhost:8000/sessions/rounds/explain?units=2'",
    "get /sessions/{session}/state": "curl -s localhost:8000/sessions/board-7/state --output board-7.state",
    "put /sessions/{session}/state": "curl -s -X PUT 'localhost:8000/sessions/board-8/state' "
    "--data-binary @board-7.state",
    "post /steps": f"curl -s localhost:8000/steps {_JSON} \\\n"
    """     -d '{"steps":[{"session":"board-7","moves":["d4"]},{"session":"board-9","moves":["d4"]}],"top_k":1}'""",
    "get /sessions/{session}/events": "curl -s -N --max-time 1 'localhost:8000/sessions/board-8/events?top_k=1' "
    "| grep -v retry",
    "get /models": "curl -s localhost:8000/models",
    "post /models/reload": "curl -s -X POST localhost:8000/models/reload",
    "get /health/live": "curl -s localhost:8000/health/live",
    "get /health/ready": "curl -s localhost:8000/health/ready",
    "get /metrics": "curl -s localhost:8000/metrics --output metrics.txt",
}

WRONG = f"""curl -s localhost:8000/sessions/board-8/moves {_JSON} -d '{{"moves":["Kd2"]}}'"""
