"""curl, nc, wget and pilot-agent of the sample images: the flags of Istio's documentation, curl's exit codes."""

from __future__ import annotations

import json

import pytest
from sample_process import Start, find_port, run


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-s", "-o", "/dev/null", "-w", "%{http_code}\n", "{url}/status/503"], "503\n"),
        (["-sS", "-o", "/dev/null", "-w", "%{response_code} %{http_version}", "{url}/get"], "200 1.1"),
        (["-s", "-o", "/dev/null", "-w", "%header{content-type}", "{url}/get"], "application/json"),
        (["-sI", "-w", "%{method}", "{url}/get"], "HEAD"),
        (["-s", "-o", "/dev/null", "-w", "%{http_code} %{num_redirects}", "-L", "{url}/redirect/3"], "200 3"),
        (["-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "{url}/redirect/1"], "302 {url}/get"),
        (["-s", "{url}/status/200", "-w", "%{http_code}", "-XPOST"], "200"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_write_out_tells_what_scripts_read(start: Start, flags: list[str], expected: str) -> None:
    url = start("httpbin", "{port}").url("")
    done = run("curl", *(word.replace("{url}", url) for word in flags))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(expected.replace("{url}", url))


def test_headers_bodies_and_names_are_sent_as_asked(start: Start) -> None:
    sample = start("echo", PORT="{port}")
    done = run(
        "curl", "-sS", "-HHost:httpbin.example.com", "--header", "x-two: 2", "-H", "Accept:", "-A", "probe",
        "--user", "a:b", "-d", "x=1", "--data-urlencode", "y=a b", "--resolve",
        f"httpbin.example.com:{sample.port}:127.0.0.1", f"httpbin.example.com:{sample.port}/path?q=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["method"], answer["path"], answer["body"]) == ("POST", "/path", "x=1&y=a+b")
    headers = answer["headers"]
    assert (headers["Host"], headers["x-two"], headers["User-Agent"]) == ("httpbin.example.com", "2", "probe")
    assert "Accept" not in headers
    assert headers["Authorization"] == "Basic YTpi"


def test_get_puts_the_data_into_the_query(start: Start) -> None:
    sample = start("echo", PORT="{port}")
    answer = json.loads(run("curl", "-s", "-G", "-d", "a=1", "-d", "b=2", sample.url("/")).stdout)
    assert (answer["method"], answer["query"]) == ("GET", {"a": ["1"], "b": ["2"]})


def test_verbose_shows_the_exchange_on_standard_error(start: Start) -> None:
    done = run("curl", "-s", "-v", start("httpbin", "{port}").url("/get"))
    assert "> GET /get HTTP/1.1" in done.stderr
    assert "< HTTP/1.1 200 OK" in done.stderr


def test_exit_codes_are_those_of_curl(start: Start) -> None:
    url = start("httpbin", "{port}").url("")
    assert run("curl", "-s", "-f", f"{url}/status/404").returncode == 22
    assert run("curl", "-s", "-m", "0.3", f"{url}/delay/5").returncode == 28
    assert run("curl", "-s", f"http://127.0.0.1:{find_port()}/").returncode == 7
    assert run("curl", "-s", "http://no-such-host.invalid/").returncode == 6
    assert run("curl", "-s", "ftp://127.0.0.1/").returncode == 3
    assert run("curl", "-s", "-k", url.replace("http", "https")).returncode == 35
    assert run("curl").returncode == 2
    refused = run("curl", "--no-such-flag", url)
    assert (refused.returncode, "--no-such-flag" in refused.stderr) == (2, True)


def test_retries_are_made_for_what_may_pass(start: Start) -> None:
    payments = start("shop", "payments", PORT="{port}", FAIL_EVERY="2")
    run("curl", "-s", payments.url("/charge?amount=1"))
    done = run(
        "curl", "-s", "--retry", "2", "--retry-delay", "0", "-w", "%{http_code}", "-o", "/dev/null",
        payments.url("/charge?amount=1"),
    )  # fmt: skip
    assert done.stdout == "200"


def test_wget_prints_or_saves(start: Start) -> None:
    url = start("helloworld", "{port}").url("/hello")
    assert run("wget", "-qO-", url).stdout.startswith("Hello version: v1")
    assert run("wget", "-q", "-O", "-", url).stdout.startswith("Hello version: v1")
    assert run("wget", "--spider", "-q", url + "x").returncode == 1


def test_nc_looks_whether_a_port_is_open(start: Start) -> None:
    sample = start("tcp_echo", "{port}", "hello")
    assert run("nc", "-z", "-v", "127.0.0.1", str(sample.port)).returncode == 0
    assert run("nc", "-z", "-w", "1", "127.0.0.1", str(find_port())).returncode == 1


def test_pilot_agent_asks_the_admin_interface_and_waits(start: Start) -> None:
    sample = start("httpbin", "{port}")
    done = run("pilot_agent", "request", "--debug-port", str(sample.port), "GET", "get?a=1")
    assert json.loads(done.stdout)["args"] == {"a": "1"}
    failed = run("pilot_agent", "request", f"--debug-port={sample.port}", "POST", "/get")
    assert (failed.returncode, "405" in failed.stderr) == (1, True)
    assert run("pilot_agent", "wait", "--url", sample.url("/get")).returncode == 0
    late = run("pilot_agent", "wait", "--timeoutSeconds", "0.3", "--url", sample.url("/status/503"))
    assert (late.returncode, "503" in late.stderr) == (1, True)
