"""Query speed against DuckDB and ClickHouse over the same Parquet files, ratios in one run.

    pip install duckdb chdb
    cargo build --release
    python benches/compare.py [ROWS] [RUNS]

DuckDB and chDB answer inside this process, which goes on; so does Vidette, as `vidette batch`. A second time Vidette is a
process of its own for every query (start, schema, plan, run, print). The same files are read each time. `has`, `has_any` of
Kusto match whole terms, without regard to case: the SQL says so by regular expressions.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import chdb
import duckdb

TERMS = [
    "dropboxapi", "githubusercontent", "pastebin", "telegram", "discordapp", "slack", "notion", "trello", "graph", "gist",
    "firebaseio", "herokuapp", "ngrok", "workers", "blogspot", "wordpress", "tumblr", "reddit", "imgur", "steamcommunity",
    "yandex", "mediafire", "mega", "anonfiles", "transfer", "ghostbin", "hastebin", "rentry", "controlc", "justpaste",
    "docs", "drive", "sheets", "script", "onedrive", "sharepoint", "box", "dropbox", "evernote", "asana",
]

PEOPLE = "['chrome.exe','svchost.exe','powershell.exe','cmd.exe','OneDrive.exe','msedge.exe','python.exe','git.exe','teams.exe','explorer.exe']"
COMMANDS = """['chrome.exe --type=renderer --lang=en-US --id=','svchost.exe -k netsvcs -p -s Schedule -x ','powershell.exe -NoProfile
 -Command "Get-ChildItem ','cmd.exe /c type app','python.exe sync.py --job ']"""
HOSTS = """['login.microsoftonline.com/','www.example.com/index?q=','cdn.contoso.net/asset/','api.dropboxapi.com/2/files/',
 'raw.githubusercontent.com/u/r/','update.vendor.io/v2/','outlook.office365.com/mapi/','mail.example.org/box/']"""


def generate(folder, rows):
    common = f"""TIMESTAMP '2024-05-01 00:00:00' + to_microseconds((i*86400000000//{rows})::BIGINT) AS Timestamp,
        'id' || (hash(i)%500) AS DeviceId, 'host' || (hash(i)%500) || '.corp.example' AS DeviceName,
        (hash(i*3)%40000)::BIGINT AS InitiatingProcessId, ({PEOPLE})[1+(hash(i*7)%10)::INT] AS InitiatingProcessFileName,
        ({COMMANDS})[1+(hash(i*11)%5)::INT] || (hash(i*13)%200000) AS InitiatingProcessCommandLine,
        'user' || (hash(i*17)%800) AS InitiatingProcessAccountName"""
    options = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
    duckdb.execute(
        f"""COPY (SELECT {common}, 'ConnectionSuccess' AS ActionType, (443 + hash(i*19)%5)::INT AS RemotePort,
        '10.' || (hash(i*23)%255) || '.' || (hash(i*29)%255) || '.' || (hash(i*31)%255) AS RemoteIP,
        ({HOSTS})[1+(hash(i*37)%8)::INT] || (hash(i*41)%300000) AS RemoteUrl,
        '{{"n":' || (hash(i*43)%1000) || ',"tags":["a' || (hash(i*47)%20) || '","b","c' || (hash(i*53)%9) || '"]}}' AS AdditionalFields
        FROM range({rows}) t(i)) TO '{folder}/DeviceNetworkEvents.parquet' {options}"""
    )
    duckdb.execute(
        f"""COPY (SELECT {common}, 'ProcessCreated' AS ActionType, (hash(i*5)%40000)::BIGINT AS ProcessId,
        ({PEOPLE})[1+(hash(i*59)%10)::INT] AS FileName, ({COMMANDS})[1+(hash(i*61)%5)::INT] || (hash(i*67)%200000) AS ProcessCommandLine
        FROM range({rows // 2}) t(i)) TO '{folder}/DeviceProcessEvents.parquet' {options}"""
    )


def pattern(terms):
    return f"(?i)(^|[^0-9a-z])({'|'.join(terms)})([^0-9a-z]|$)"


ANY = pattern(TERMS)
LIST = ", ".join(f'"{term}"' for term in TERMS)

TEXTS = "DeviceName, ActionType, RemoteIP, RemoteUrl, InitiatingProcessFileName, InitiatingProcessCommandLine, InitiatingProcessAccountName, AdditionalFields"

# name, KQL, DuckDB, ClickHouse; {n} and {p} are the network and the process events.
QUERIES = [
    (
        "has_any of 40 terms",
        f"DeviceNetworkEvents | where RemoteUrl has_any ({LIST}) | count",
        f"SELECT count(*) FROM {{n}} WHERE regexp_matches(RemoteUrl, '{ANY}')",
        f"SELECT count(*) FROM {{n}} WHERE match(RemoteUrl, '{ANY}')",
    ),
    (
        "has in a command line",
        'DeviceNetworkEvents | where InitiatingProcessCommandLine has "noprofile" | summarize dcount(DeviceId)',
        f"SELECT count(DISTINCT DeviceId) FROM {{n}} WHERE regexp_matches(InitiatingProcessCommandLine, '{pattern(['noprofile'])}')",
        f"SELECT uniq(DeviceId) FROM {{n}} WHERE match(InitiatingProcessCommandLine, '{pattern(['noprofile'])}')",
    ),
    (
        "filter and join on (device, pid)",
        'DeviceNetworkEvents | where RemoteUrl has "dropboxapi" and RemotePort == 443 | join kind=inner (DeviceProcessEvents | where FileName =~ "powershell.exe") '
        "on DeviceId, $left.InitiatingProcessId == $right.ProcessId | count",
        f"""SELECT count(*) FROM {{n}} n JOIN {{p}} p ON n.DeviceId = p.DeviceId AND n.InitiatingProcessId = p.ProcessId
        WHERE regexp_matches(RemoteUrl, '{pattern(['dropboxapi'])}') AND RemotePort = 443 AND lower(p.FileName) = 'powershell.exe'""",
        f"""SELECT count(*) FROM {{n}} n JOIN {{p}} p ON n.DeviceId = p.DeviceId AND n.InitiatingProcessId = p.ProcessId
        WHERE match(RemoteUrl, '{pattern(['dropboxapi'])}') AND RemotePort = 443 AND lower(p.FileName) = 'powershell.exe'""",
    ),
    (
        "leftanti join",
        "DeviceNetworkEvents | join kind=leftanti (DeviceProcessEvents | where FileName == 'cmd.exe') on $left.InitiatingProcessId == $right.ProcessId | count",
        "SELECT count(*) FROM {n} n ANTI JOIN (SELECT ProcessId FROM {p} WHERE FileName = 'cmd.exe') p ON n.InitiatingProcessId = p.ProcessId",
        "SELECT count(*) FROM {n} n LEFT ANTI JOIN (SELECT ProcessId FROM {p} WHERE FileName = 'cmd.exe') p ON n.InitiatingProcessId = p.ProcessId",
    ),
    (
        "parse",
        "DeviceNetworkEvents | parse RemoteUrl with host '/' rest | summarize n = count() by host | where n > 1 | count",
        "SELECT count(*) FROM (SELECT split_part(RemoteUrl, '/', 1) host, count(*) n FROM {n} GROUP BY 1) WHERE n > 1",
        "SELECT count(*) FROM (SELECT splitByChar('/', assumeNotNull(RemoteUrl))[1] host, count(*) n FROM {n} GROUP BY 1) WHERE n > 1",
    ),
    (
        "summarize dcount, arg_max",
        "DeviceNetworkEvents | summarize dcount(RemoteIP), arg_max(Timestamp, RemoteUrl) by DeviceName | where dcount_RemoteIP > 0 and RemoteUrl != '' | count",
        "SELECT count(*) FROM (SELECT DeviceName, approx_count_distinct(RemoteIP) a, arg_max(RemoteUrl, Timestamp) b FROM {n} GROUP BY DeviceName) WHERE a > 0 AND b <> ''",
        "SELECT count(*) FROM (SELECT DeviceName, uniq(RemoteIP) a, argMax(RemoteUrl, Timestamp) b FROM {n} GROUP BY DeviceName) WHERE a > 0 AND b <> ''",
    ),
    (
        "arg_max of all columns",
        f"DeviceNetworkEvents | summarize arg_max(Timestamp, *) by DeviceId | where strlen(strcat({TEXTS})) > 0 | count",
        f"SELECT count(*) FROM (SELECT unnest(arg_max(t, Timestamp)) FROM {{n}} t GROUP BY DeviceId) WHERE length(concat({TEXTS})) > 0",
        f"SELECT count(*) FROM (SELECT argMax(({TEXTS}), Timestamp) r FROM {{n}} GROUP BY DeviceId) WHERE length(toString(r)) > 0",
    ),
    (
        "make_set of 100 addresses",
        "DeviceNetworkEvents | summarize s = make_set(RemoteIP, 100) by DeviceName, InitiatingProcessFileName | where array_length(s) == 100 | count",
        "SELECT count(*) FROM (SELECT list(DISTINCT RemoteIP)[1:100] s FROM {n} GROUP BY DeviceName, InitiatingProcessFileName) WHERE len(s) = 100",
        "SELECT count(*) FROM (SELECT groupUniqArray(100)(RemoteIP) s FROM {n} GROUP BY DeviceName, InitiatingProcessFileName) WHERE length(s) = 100",
    ),
    (
        "make-series",
        "DeviceNetworkEvents | make-series n = count() default = 0 on Timestamp from datetime(2024-05-01) to datetime(2024-05-02) step 5m by InitiatingProcessFileName | where array_length(n) > 1 | count",
        """SELECT count(*) FROM (SELECT InitiatingProcessFileName, list(n ORDER BY t) l FROM (SELECT InitiatingProcessFileName, time_bucket(INTERVAL 5 MINUTE, Timestamp) t, count(*) n
        FROM {n} GROUP BY 1, 2) GROUP BY 1) WHERE len(l) > 1""",
        """SELECT count(*) FROM (SELECT InitiatingProcessFileName, groupArray(n) l FROM (SELECT InitiatingProcessFileName, toStartOfInterval(Timestamp, INTERVAL 5 MINUTE) t, count(*) n
        FROM {n} GROUP BY 1, 2 ORDER BY 2) GROUP BY 1) WHERE length(l) > 1""",
    ),
    (
        "mv-expand over dynamic",
        "DeviceNetworkEvents | mv-expand tag = AdditionalFields.tags to typeof(string) | summarize n = count() by tag | where n > 1 | count",
        "SELECT count(*) FROM (SELECT unnest(json_extract_string(AdditionalFields, '$.tags[*]')) tag, count(*) n FROM {n} GROUP BY 1) WHERE n > 1",
        "SELECT count(*) FROM (SELECT arrayJoin(JSONExtract(assumeNotNull(AdditionalFields), 'tags', 'Array(String)')) tag, count(*) n FROM {n} GROUP BY 1) WHERE n > 1",
    ),
    (
        "top 100 by time",
        "DeviceNetworkEvents | where RemotePort == 445 | top 100 by Timestamp | project Timestamp, DeviceName, RemoteUrl | count",
        "SELECT count(*) FROM (SELECT Timestamp, DeviceName, RemoteUrl FROM {n} WHERE RemotePort = 445 ORDER BY Timestamp DESC LIMIT 100)",
        "SELECT count(*) FROM (SELECT Timestamp, DeviceName, RemoteUrl FROM {n} WHERE RemotePort = 445 ORDER BY Timestamp DESC LIMIT 100)",
    ),
    (
        "top 100 by time, all columns",
        f"DeviceNetworkEvents | where RemotePort == 445 | top 100 by Timestamp | where strlen(strcat({TEXTS})) > 0 | count",
        f"SELECT count(*) FROM (SELECT * FROM {{n}} WHERE RemotePort = 445 ORDER BY Timestamp DESC LIMIT 100) WHERE length(concat({TEXTS})) > 0",
        f"SELECT count(*) FROM (SELECT * FROM {{n}} WHERE RemotePort = 445 ORDER BY Timestamp DESC LIMIT 100) WHERE length(concat({TEXTS})) > 0",
    ),
]


def timed(run, runs):
    times, answer = [], run()
    for _ in range(runs):
        start = time.perf_counter()
        answer = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), str(answer).strip()


def ask(batch, kql):
    print(json.dumps({"id": "1", "query": kql}), file=batch.stdin, flush=True)
    return json.loads(batch.stdout.readline())["rows"][-1][-1]


def run(binary, kql, folder):
    return subprocess.run([binary, "query", kql, folder, "--format", "csv"], capture_output=True, text=True, check=True).stdout.split()[-1]


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    target = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(__file__).resolve().parents[1] / "target"
    binary = pathlib.Path(target) / "release" / "vidette"
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, rows)
        os.sync()
        network, process = f"{folder}/DeviceNetworkEvents.parquet", f"{folder}/DeviceProcessEvents.parquet"
        print(f"{rows} and {rows // 2} rows, medians of {runs}\n")
        print("| query | Vidette, s | DuckDB, times | ClickHouse, times | a process of its own, s | DuckDB, times | ClickHouse, times | answers |")
        print("|---|---|---|---|---|---|---|---|")
        batch = subprocess.Popen([binary, "batch", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, kql, duck, click in QUERIES:
            duck_sql = duck.format(n=f"read_parquet('{network}')", p=f"read_parquet('{process}')")
            click_sql = click.format(n=f"file('{network}', Parquet)", p=f"file('{process}', Parquet)")
            kept, answer = timed(lambda: ask(batch, kql), runs)
            whole, whole_answer = timed(lambda: run(binary, kql, folder), runs)
            theirs, duck_answer = timed(lambda: duckdb.execute(duck_sql).fetchone()[0], runs)
            others, click_answer = timed(lambda: str(chdb.query(click_sql, "CSV")), runs)
            answers = answer if answer == whole_answer == duck_answer == click_answer else f"{answer} / {whole_answer} / {duck_answer} / {click_answer}"
            times = [cell for own in (kept, whole) for cell in (f"{own:.3f}", f"{theirs / own:.2f}", f"{others / own:.2f}")]
            print("|", " | ".join([name, *times, answers]), "|", flush=True)
        batch.stdin.close()
        batch.wait()


main()
