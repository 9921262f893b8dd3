"""What hone profile and hone report wrote, read by other eyes: check_profile.py WHAT FILE [RECORD]."""
import csv
import json
import re
import sys
import xml.dom.minidom

PHASES = {"fwd", "loss", "dgrad", "wgrad", "update"}


def near(a, b, rel=1e-6, abs_=1e-9):
    return abs(a - b) <= rel * max(abs(a), abs(b)) + abs_


def sums(r):
    steps = r["steps"]
    parts = sum(s["ms"]["median"] for s in steps)
    assert near(parts, r["parts_ms"])
    assert near(r["parts_ms"] + r["held_up_ms"] + r["gap_ms"], r["step_ms"]["median"])
    assert near(sum(p["ms"] for p in r["phases"]), parts) and sum(p["parts"] for p in r["phases"]) == len(steps)
    assert {p["phase"] for p in r["phases"]} == PHASES
    for p in r["phases"]:
        assert near(p["ms"], sum(s["ms"]["median"] for s in steps if s["phase"] == p["phase"]))
    ranked = sorted(steps, key=lambda s: -s["ms"]["median"])
    assert near(sum(s["share"] for s in steps), 1)
    assert near(ranked[0]["cumulative"], ranked[0]["share"]) and near(ranked[-1]["cumulative"], 1)
    assert all(a["cumulative"] <= b["cumulative"] + 1e-9 for a, b in zip(ranked, ranked[1:]))
    for s in steps:
        assert s["ms"]["lo"] <= s["ms"]["median"] <= s["ms"]["hi"] and s["bytes"] > 0
        assert near(s["share_of_roof"], s["roof_ms"] / s["ms"]["median"])
        assert s["warm_ms"]["median"] > 0 and s["first_ms"] > 0
        assert s["cold_ms"] is None or s["cold_ms"]["median"] > 0
        assert len(s["thread_ms"]) == len(steps[0]["thread_ms"]) >= 1 and min(s["thread_ms"]) >= 0
        assert s["refused"] == sorted(s["refused"], key=lambda x: -x["weight"])
    ends = 0
    for s in steps:
        assert near(s["at_ms"], ends, 1e-5)
        ends = s["at_ms"] + s["took_ms"]
    m = r["memory"]
    assert m["planned"] == sum(m[k] for k in ("weights", "gradients", "optimizer", "activations", "workspace", "batch"))
    assert m["predicted_peak"] == m["planned"] + m["base"] + m["libraries"]
    assert m["activations"] + m["workspace"] >= max(v + s["workspace_bytes"] for v, s in zip(m["live"], steps))
    assert len(m["live"]) == len(m["resident"]) == len(steps) and max(m["live"]) <= m["activations"]
    assert sum(l["weights"] for l in m["layers"]) <= m["weights"]
    assert r["advice"] and "untuned" in r["advice"][0]


def arena(r):
    blocks, live = r["memory"]["arena"], r["memory"]["live"]
    for i, a in enumerate(blocks):
        assert a["offset"] + a["bytes"] <= r["memory"]["activations"] + r["memory"]["workspace"]
        for b in blocks[:i]:
            if a["first"] <= b["last"] and b["first"] <= a["last"]:
                assert a["offset"] + a["bytes"] <= b["offset"] or b["offset"] + b["bytes"] <= a["offset"], (a, b)
    for s, bytes_ in enumerate(live):
        assert bytes_ == sum(b["bytes"] for b in blocks if b["first"] <= s <= b["last"])


def counters(r):
    for s in r["steps"]:
        c = s["counters"]
        assert c["model:flops"] == s["flops"] and c["model:bytes"] == s["bytes"]
        assert near(c["flops/byte"], s["flops"] / s["bytes"]) and c["GFLOP/s"] >= 0
        assert c["minflt"] >= 0
        for name in ("PAPI_TOT_INS", "IPC"):
            v = c[name]
            assert v["not_available"] if isinstance(v, dict) else v > 0


def trace(t, r):
    last = {}
    kinds = {"M": 0, "X": 0, "C": 0}
    named = {(e["pid"], e["tid"]) for e in t["traceEvents"] if e["ph"] == "M" and e["name"] == "thread_name"}
    planned = r["memory"]["planned"]
    for e in t["traceEvents"]:
        kinds[e["ph"]] += 1
        assert isinstance(e["pid"], int) and e["name"]
        if e["ph"] == "X":
            track = (e["pid"], e["tid"])
            assert track in named and e["dur"] >= 0 and e["ts"] >= last.get(track, 0) - 1e-3, e
            last[track] = e["ts"] + e["dur"]
        if e["ph"] == "C":
            assert all(isinstance(v, int) and v >= 0 for v in e["args"].values())
            assert sum(e["args"].values()) <= planned
    n = len(r["steps"])
    assert kinds["C"] == n + 1 and kinds["X"] >= 2 * n
    kernels = [e for e in t["traceEvents"] if e["ph"] == "X" and e["pid"] == 1 and e["tid"] == 3]
    assert [e["name"] for e in kernels] == [s["kernel"] for s in r["steps"]]
    whole = max(e["ts"] + e["dur"] for e in kernels) / 1e3
    assert near(whole, r["steps"][-1]["at_ms"] + r["steps"][-1]["took_ms"], 1e-5)


def html(text, r):
    assert text.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|src\s*=|href\s*=|@import|url\(|<link|//[a-z]", text), "it asks for something"
    page = xml.dom.minidom.parseString(text.split("\n", 1)[1])
    body = [t for t in page.getElementsByTagName("tbody") if len(t.getElementsByTagName("tr")) == len(r["steps"])]
    assert body, "no table of all parts"
    words = lambda e: "".join(words(c) if c.nodeType == 1 else c.data for c in e.childNodes)
    for row, s in zip(body[0].getElementsByTagName("tr"), r["steps"]):
        cells = row.getElementsByTagName("td")
        assert words(cells[0]) == s["layer"] and words(cells[1]) == s["phase"]
        assert cells[2].getAttribute("data-v") and near(float(cells[2].getAttribute("data-v")), s["ms"]["median"], 1e-8)
    assert r["net"] in words(page.getElementsByTagName("h1")[0])
    heads = {len(t.getElementsByTagName("th")) for t in page.getElementsByTagName("thead")}
    assert 17 in heads and len(page.getElementsByTagName("svg")) == 3
    dots = [c for c in page.getElementsByTagName("circle")]
    assert len(dots) == sum(s["flops"] > 0 and s["bytes"] > 0 for s in r["steps"])
    for svg in page.getElementsByTagName("svg"):
        w, h = map(float, svg.getAttribute("viewBox").split()[2:])
        for c in svg.getElementsByTagName("circle"):
            assert 0 <= float(c.getAttribute("cx")) <= w and 0 <= float(c.getAttribute("cy")) <= h
        for c in svg.getElementsByTagName("rect"):
            assert -0.1 <= float(c.getAttribute("x")) and float(c.getAttribute("width")) > 0 < float(c.getAttribute("height"))
    assert 'name="viewport"' in text and "@media(max-width" in text


def table(rows, r):
    head, rows = rows[0], rows[1:]
    assert len(rows) == len(r["steps"]) and all(len(x) == len(head) for x in rows)
    for x, s in zip(rows, r["steps"]):
        d = dict(zip(head, x))
        assert d["net"] == r["net"] and d["layer"] == s["layer"] and d["kernel"] == s["kernel"]
        assert d["config"] == s["config"] and d["problem"] == s["problem"]
        assert near(float(d["ms"]), s["ms"]["median"], 1e-8) and near(float(d["share"]), s["share"], 1e-8)


def memory(r):
    m = r["memory"]
    off = (m["peak_resident"] - m["predicted_peak"]) / m["peak_resident"]
    print("predicted %.2f MiB, measured %.2f, %+.1f %%" % (m["predicted_peak"] / 2**20, m["peak_resident"] / 2**20, 100 * off))
    if m["peak_is_of_whole_process"]:
        print("the peak is of the process from its start: not compared")
    else:
        # 2 % where the net is most of the process.  Of a small one's 20 MiB that would be a few pages: there a mebibyte
        # of the process's own may come and go, stacks of threads and pages of libraries.
        own = 0 if 2 * m["planned"] > m["peak_resident"] else 2**20
        assert abs(m["peak_resident"] - m["predicted_peak"]) < 0.02 * m["peak_resident"] + own
    assert m["resident"][-1] <= m["peak_resident"] * 1.02


def overhead(r):
    step = r["step_ms"]["median"]
    print("looking %+.1f %%, between the parts %+.1f %%, held up %+.1f %%" % (
        100 * r["profiler_overhead"]["median"], 100 * r["gap_ms"] / step, 100 * r["held_up_ms"] / step))
    parts = sum(s["ms"]["median"] for s in r["steps"])
    assert near(parts + r["held_up_ms"] + r["gap_ms"], step, 1e-6)
    o = r["profiler_overhead"]
    assert o["lo"] <= o["median"] <= o["hi"]


def main():
    what, files = sys.argv[1], sys.argv[2:]
    text = [open(f, encoding="utf-8").read() for f in files]
    if what == "html":
        html(text[0], json.loads(text[1]))
    elif what == "csv":
        with open(files[0], newline="", encoding="utf-8") as f:
            table(list(csv.reader(f)), json.loads(text[1]))
    else:
        globals()[what](*[json.loads(t) for t in text])


main()
