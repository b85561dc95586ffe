"""The script that translates headers in responses takes a time in proportion to their length. The
interpreter is that of Valkey.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gatehouse
import pytest
import valkey
from gatehouse.platform.envoy import bootstrap

ROOT = Path(gatehouse.__file__).parent
VALUE_BYTES_MAX = 8192
URLS = "/cores/docs /app gateway.test 127.0.0.1:8080 -"
#: Beginnings of the values of each header that the script reads, and what is repeated after them.
BEGINNINGS = {
    "location": ("", "/", "/app", "//", "https://", "http://127.0.0.1:8080", "https:\\\\"),
    "content-location": ("/",),
    "set-cookie": ("", "a=b; Path=/", "a=b; path=", "=", "__Host-", "a=b;", "a=b; Domain="),
    "connection": ("", "close,"),
}
UNITS = (
    *(*" \t/\\;,=@:.?#a8%", "; path=", ";path =", "path=/;", ":80", ":443", "@h", "//", "/app"),
    *("x-hop,", "__Host-", "https://", " ;", "= ", ", "),
)

#: Headers with the methods that the script calls, and the CPU time of a call in seconds.
HARNESS = """
local function headers_of(fields)
  local own = {}
  function own:get(name) return fields[name] and table.concat(fields[name], ",") end
  function own:getAtIndex(name, index) return fields[name] and fields[name][index + 1] end
  function own:getNumValues(name) return fields[name] and #fields[name] or 0 end
  function own:remove(name) fields[name] = nil end
  function own:replace(name, value) fields[name] = {value} end
  function own:add(name, value)
    fields[name] = fields[name] or {}
    table.insert(fields[name], value)
  end
  return own
end
local function run(fields)
  local handle = {}
  function handle:headers() return headers_of(fields) end
  function handle:streamInfo() return {routeName = function() return "60s" end} end
  local began = os.clock()
  envoy_on_response(handle)
  return os.clock() - began
end
local fields = {[":status"] = {"200"}, ["x-gh-urls"] = {ARGV[1]}}
"""
#: Returns a time for each unit that is repeated.
MEASURE = """
local name, beginning, number, length = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local times = {}
for at = 6, #ARGV do
  fields[name] = {}
  local value = beginning .. string.rep(ARGV[at], math.floor(length / #ARGV[at])) .. "x"
  for index = 1, number do fields[name][index] = value end
  fields["x-gh-urls"] = {ARGV[1]}
  times[#times + 1] = tostring(run(fields))
end
return times
"""
TRANSLATE = """
fields[ARGV[2]] = {ARGV[3]}
run(fields)
return fields[ARGV[2]] or {}
"""
#: Number and length of values: a short one, and heads of up to the maximum size.
SHORT, HEADS = (1, 1_000), ((1, VALUE_BYTES_MAX - 50), (180, 500), (1, 98_000))
#: CPU time below which the ratio of two times is not meaningful.
SHORT_S = 0.02


@pytest.fixture(scope="module")
def client(redis_url: str) -> Iterator[Any]:
    with valkey.Valkey.from_url(redis_url, socket_timeout=60) as client:
        yield client


def script(part: str, translation: str | None = None) -> str:
    text = bootstrap.translation() if translation is None else translation
    return text.replace("function envoy_on", "local function envoy_on") + HARNESS + part


def slow_values(client: Any, translation: str | None = None) -> Iterator[str]:
    """The values whose CPU time grows faster than the size of the head."""
    measure = client.register_script(script(MEASURE, translation))

    def cpu_s(size: tuple[int, int], *units: str) -> list[float]:
        return [float(each) for each in measure(args=[URLS, name, beginning, *size, *units])]

    for name, beginning in ((name, each) for name, texts in BEGINNINGS.items() for each in texts):
        for head in HEADS:
            growth = 3 * math.prod(head) / math.prod(SHORT)
            for unit, measured_s in zip(UNITS, cpu_s(head, *UNITS), strict=True):
                if measured_s > SHORT_S and all(
                    cpu_s(head, unit)[0] > max(SHORT_S, growth * cpu_s(SHORT, unit)[0])
                    for _ in range(3)
                ):
                    yield f"{name}: {beginning}{unit} {head}"


def test_translation_takes_linear_time(client: Any) -> None:
    assert list(slow_values(client)) == []


@pytest.mark.parametrize(
    ("function", "body"),
    [
        ("trim", 'text:match("^%s*(.-)%s*$")'),
        ("cookie_attributes", 'attributes:gsub("[ \t]+=", "=")'),
    ],
)
def test_slow_translation_is_recognized(client: Any, function: str, body: str) -> None:
    code = bootstrap.translation()
    beginning = re.search(rf"local function {function}\(.*\)\n", code)
    assert beginning is not None
    slow = code.replace(beginning[0], f"{beginning[0]}  do local slow = {body} end\n")
    assert next(slow_values(client, slow))


def test_pattern_is_a_set_of_characters() -> None:
    """Another one can take quadratic time. A new script needs a test of its time."""
    scripts = list(ROOT.rglob("*.lua"))
    assert [path.name for path in scripts] == ["translation.lua"]
    text = re.sub(r"--.*", "", scripts[0].read_text())
    assert re.findall(r"(?:string\.|:)(?:g?match|gsub|format|rep)\b", text) == []
    searches = re.findall(r"find\((.*)", text)
    allowed = r'(.*, )?("\[[^]]+\]"|characters)(, \w+)?\)( .*)?|(.*), true\)( .*)?'
    assert len(searches) > 5
    assert [each for each in searches if re.fullmatch(allowed, each) is None] == []
    sets = re.findall(r"find_any\((.*?)\)", text)
    assert [
        each for each in sets if re.fullmatch(r'\w+, ("\[[^]]+\]"|\w+), \w+', each) is None
    ] == []


@pytest.mark.bound
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("set-cookie", "a=" + "b" * (VALUE_BYTES_MAX - 2), None),
        ("set-cookie", "a=" + "b" * (VALUE_BYTES_MAX - 1), []),
        ("location", "/app/" + "a" * 90_000, ["/cores/docs/" + "a" * 90_000]),
        ("location", "http://127.0.0.1:8080" + "a" * 90_000, None),
        ("location", f"http://{'a' * (VALUE_BYTES_MAX - 22)}@127.0.0.1:8080/app", None),
    ],
)
def test_bounded_part_of_a_value_is_translated(
    client: Any, name: str, value: str, expected: list[str] | None
) -> None:
    result = [each.decode() for each in client.eval(script(TRANSLATE), 0, URLS, name, value)]
    assert result == ([value] if expected is None else expected)
