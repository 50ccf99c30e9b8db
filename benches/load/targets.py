"""What fastnet promises, as functions of what was measured. Every ratio is between turns of the same repetition."""

import statistics
from collections.abc import Mapping, Sequence

from benches.load.report import Verdict
from benches.load.runner import Result
from benches.load.scenarios import ASGI

Results = Mapping[str, Mapping[str, Result]]
"""By scenario, then by server."""

SUBJECT = "fastnet"


def paired_ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Element by element; both come from the same repetitions, so that what disturbed one disturbed both."""
    return [a / b for a, b in zip(over, under, strict=False)]


def spread(values: Sequence[float]) -> tuple[float, float] | None:
    """The middle half of the values, from four of them on."""
    if len(values) < 4:
        return None
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _costs(results: Results, scenario: str, server: str) -> list[float]:
    result = results.get(scenario, {}).get(server)
    return result.costs if result is not None else []


def _why(results: Results, *wanted: tuple[str, str]) -> str:
    """Why a verdict could not be reached."""
    for scenario, server in wanted:
        result = results.get(scenario, {}).get(server)
        if result is None:
            return f"{server} was not asked for in {scenario}"
        if result.fault:
            return f"{server} {result.fault.partition(':')[0]}"
    return ""


def _verdict(
    text: str, limit: float, values: list[float], unit: str = "", remark: str = "", *, below: bool = False
) -> Verdict:
    measured = statistics.median(values) if values else None
    return Verdict(text, limit, measured, unit, below, spread=spread(values), remark=remark)


def _ratio(results: Results, scenario: str, to: str, limit: float, text: str, *, below: bool = False) -> Verdict:
    ratios = paired_ratios(_costs(results, scenario, SUBJECT), _costs(results, scenario, to))
    remark = "" if ratios else _why(results, (scenario, SUBJECT), (scenario, to))
    return _verdict(f"{scenario}: {text}", limit, ratios, "×", remark, below=below)


def _pipelined(results: Results) -> list[Verdict]:
    costs = _costs(results, "pipelined", SUBJECT)
    remark = "" if costs else _why(results, ("pipelined", SUBJECT))
    return [
        _verdict("pipelined: cost of a request", 2.0, costs, " µs", remark),
        _ratio(results, "pipelined", "socketify", 1.0, "to socketify", below=True),
        _ratio(results, "pipelined", "uvicorn", 1 / 7, "to uvicorn's raw ASGI", below=True),
    ]


def _browser(results: Results) -> list[Verdict]:
    # Two scenarios run one after the other: what is compared are medians, and the spread is not known.
    plain, browser = (_costs(results, scenario, SUBJECT) for scenario in ("hello", "browser"))
    extra = [statistics.median(browser) - statistics.median(plain)] if plain and browser else []
    remark = "" if extra else _why(results, ("hello", SUBJECT), ("browser", SUBJECT))
    return [_verdict("browser: more than hello", 2.0, extra, " µs", remark)]


def _asgi(results: Results, scenario: str) -> list[Verdict]:
    """The same application under us and under the others."""
    to_uvicorn = {"asgi": 0.6, "asgi-browser": 0.6, "asgi-stream": 0.7}
    if scenario.startswith(("starlette", "fastapi")):
        verdicts = [_ratio(results, scenario, "uvicorn", 1.0, "to uvicorn", below=True)]
    else:
        verdicts = [_ratio(results, scenario, "uvicorn", to_uvicorn.get(scenario, 0.8), "to uvicorn")]
    if not scenario.startswith("asgi-") or scenario == "asgi-browser":
        verdicts.append(_ratio(results, scenario, "granian-asgi", 1.0, "to Granian", below=True))
    return verdicts


def _callbacks(results: Results, scenario: str, to: str, limit: float) -> Verdict:
    subject = f"{SUBJECT}-callbacks"
    ratios = paired_ratios(_costs(results, scenario, subject), _costs(results, scenario, to))
    remark = "" if ratios else _why(results, (scenario, subject), (scenario, to))
    return _verdict(f"{scenario}: callbacks, to {to}", limit, ratios, "×", remark)


def _deflated(results: Results, scenario: str) -> list[Verdict]:
    """Cheaper than websockets, and not by compressing less."""
    ours, theirs = (results.get(scenario, {}).get(server) for server in (SUBJECT, "websockets"))
    sizes = paired_ratios(ours.sizes, theirs.sizes) if ours and theirs else []
    remark = "" if sizes else _why(results, (scenario, SUBJECT), (scenario, "websockets"))
    return [
        _ratio(results, scenario, "websockets", 0.75, "to websockets"),
        _verdict(f"{scenario}: bytes of a message, to websockets", 1.0, sizes, "×", remark),
    ]


def of_scenarios(results: Results, scenarios: Sequence[str]) -> dict[str, list[Verdict]]:
    """The targets of the scenarios that were asked for, by scenario."""
    verdicts = {
        "hello": [_ratio(results, "hello", "floor", 1.6, "to the floor")],
        "pipelined": _pipelined(results),
        "browser": _browser(results),
        "typed": [
            _ratio(results, "typed", "floor", 2.0, "to the floor"),
            _ratio(results, "typed", "fastapi", 1 / 6, "to FastAPI"),
        ],
        "post": [
            _ratio(results, "post", "floor", 2.3, "to the floor"),
            _ratio(results, "post", "fastapi", 1 / 6, "to FastAPI"),
        ],
        "tls": [_ratio(results, "tls", "nginx", 1.3, "to nginx")],
        "handshakes": [_ratio(results, "handshakes", "nginx", 1.3, "to nginx")],
        "grpc-8x1": [
            _ratio(results, "grpc-8x1", "grpc-aio", 1 / 9, "to grpc.aio"),
            _ratio(results, "grpc-8x1", "nginx", 1.3, "to nginx"),
        ],
        "grpc-4x32": [
            _ratio(results, "grpc-4x32", "grpc-aio", 1 / 12, "to grpc.aio"),
            _ratio(results, "grpc-4x32", "nginx", 1.4, "to nginx"),
        ],
        "grpc-stream": [_ratio(results, "grpc-stream", "grpc-aio", 0.1, "per message, to grpc.aio")],
        "ws-128": [
            _ratio(results, "ws-128", "picows", 1.1, "async for, to picows"),
            _callbacks(results, "ws-128", "picows", 1.0),
        ],
        "ws-64k": [
            _ratio(results, "ws-64k", "picows", 1.0, "async for, to picows"),
            _callbacks(results, "ws-64k", "picows", 1.0),
        ],
        "ws-deflate": _deflated(results, "ws-deflate"),
        "ws-deflate-kept": _deflated(results, "ws-deflate-kept"),
    }
    verdicts |= {scenario.name: _asgi(results, scenario.name) for scenario in ASGI}
    return {name: verdicts.get(name, []) for name in scenarios}
