"""The tables of all pages, with values of the maximal length, in windows of any width."""

from itertools import count

from playwright.async_api import Browser, Page

from tests.runtime.services.console.generated_responses import Responses
from tests.runtime.services.console.web_pages import (
    MARKS,
    PAGES,
    expand,
    loads_nothing,
    navigate,
    page_of,
    resize,
    sign_in,
)

pytestmark = MARKS
#: Below the first of these widths, tables are cards; the others are the windows of the numbers of
#: rows that are visible.
CARDS, LOW, WIDE = 600, ((1024, 768), (768, 1024)), (1280, 800)
WIDTHS = (320, CARDS - 1, CARDS, 768, 896, 897, 1280, 1920)
#: Pages that do not begin with a list, or show totals above it.
NO_LISTS = frozenset(
    {
        *("overview", "usage", "health", "settings", "request"),
        *("key", "customer", "plan", "limit", "secret"),
        *(f"{name}-new" for name in ("key", "customer", "plan", "limit", "secret", "request")),
        "key-missing",
    }
)
ROWS = 20

#: Problems of the page in this window.
_PROBLEMS = """() => {
  const found = []
  const report = (problem, element) =>
    found.push(`${problem}: ${element.outerHTML.slice(0, 120)} ${element.innerText?.slice(0, 20)}`)
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls to the side')
  const controls = 'a[href], button, input, select, textarea, summary'
  for (const control of document.querySelectorAll(controls)) {
    if (!control.checkVisibility() || control.closest('.skip, .visually-hidden')) continue
    const { left, right } = control.getBoundingClientRect()
    let [start, end] = [0, innerWidth]
    for (let part = control.parentElement; part; part = part.parentElement) {
      if (getComputedStyle(part).overflowX === 'visible') continue
      const box = part.getBoundingClientRect()
      start = Math.max(start, box.left)
      end = Math.min(end, box.right)
    }
    if (left < start - 1 || right > end + 1) report(`out of reach by ${right - end}`, control)
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.checkVisibility()) continue
    const isCards = getComputedStyle(table).display !== 'table'
    if (isCards !== innerWidth < CARDS) report('wrong form', table)
    for (const time of table.querySelectorAll('tr:not(.details) time'))
      if (time.getClientRects().length && time.getBoundingClientRect().height > 30)
        report('time on several lines', time)
    const { scrollWidth, clientWidth } = table.parentElement
    if (scrollWidth > clientWidth) report('wider than its card', table)
    for (const cell of isCards ? [] : table.querySelectorAll('tr > *'))
      if (cell.checkVisibility() && cell.scrollWidth > cell.clientWidth + 1)
        report('over its cell', cell)
  }
  return found
}""".replace("CARDS", str(CARDS))

#: Hidden columns, and texts that are cut.
_CUT = """() => [
  ...[...document.querySelectorAll('main th[hidden]')].map(({ textContent }) => textContent),
  ...[...document.querySelectorAll(':is(.name, .text) > .cell > *')]
    .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
    .map(({ textContent }) => textContent),
]"""

#: What a printed page cannot need, its overflow, and what it lacks: columns, and parts of values.
_PRINTED = """() => [
  ...[...document.querySelectorAll('button:not(.sort), a.button, nav, .filters input')]
    .filter((control) => control.checkVisibility())
    .map((control) => `printed: ${control.outerHTML.slice(0, 100)}`),
  ...(document.documentElement.scrollWidth > innerWidth ? ['wider than the paper'] : []),
  ...[...document.querySelectorAll('main thead th[data-name]:not(.actions)')]
    .filter((column) => !column.checkVisibility())
    .map((column) => `not printed: ${column.dataset.name}`),
  ...[...document.querySelectorAll('main .table tr:not(.details) > :is(th, td), main .cell > *')]
    .filter((part) => part.checkVisibility() && !part.closest('.visually-hidden'))
    .filter((part) => part.scrollWidth > part.clientWidth + 1 && part.clientWidth)
    .map((part) => `cut: ${part.outerHTML.slice(0, 100)}`),
  ...(document.querySelector('main h1')?.checkVisibility() ? [] : ['no content']),
]"""

#: Rows of the first table that are wholly visible.
_VISIBLE = """() => [...document.querySelector('main table').tBodies[0].rows].filter((row) => {
  const { top, bottom } = row.getBoundingClientRect()
  return top >= 0 && bottom <= innerHeight
}).length"""


def longest(field: str) -> str:
    """A text without a blank, which is different in each row."""
    number = next(_numbers)
    name = field.rpartition(".")[2]
    if name in ("url", "destination"):
        return f"https://{number}-{'host' * 12}.example.com/{'path/' * 80}"
    if name.endswith("id") and name not in ("customer_id", "target_id", "actor_id"):
        return f"{number:022}"
    if name in ("outcome", "code", "environment", "level"):
        return "some state"
    return f"{number}{'W' * 100}"


_numbers = count(10)


async def test_longest_values_leave_every_control_within_reach(
    browser: Browser, origin: str
) -> None:
    problems: dict[str, list[str]] = {}
    tables = 0
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        await sign_in(page)
        await page.route("**/v1/**", Responses(longest, ROWS, 10**9).replace)
        for name, path in PAGES.items():
            await resize(page, WIDTHS[-1])
            await navigate(page, path.format_map(_Ids()))
            await loads_nothing(page)
            tables += await page.locator("table").count()
            for width in WIDTHS:
                problems[f"{name} {width}"] = await _problems(page, width)
            if name not in NO_LISTS:
                await _count_rows(page, name, problems)
            await expand(page)
            for width in (320, CARDS, 1280):
                problems[f"{name} {width} expanded"] = await _problems(page, width)
            problems[f"{name} printed"] = await _problems_of_print(page)
    found = {place: texts for place, texts in problems.items() if texts}
    assert found == {}
    assert tables > 20


async def test_nothing_is_cut_or_hidden_in_a_window_with_enough_space(
    browser: Browser, origin: str
) -> None:
    found = {}
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        await sign_in(page)
        await page.route("**/v1/**", Responses(lambda _: f"a name {next(_numbers):09}").replace)
        for name, path in PAGES.items():
            if name not in NO_LISTS:
                await resize(page, WIDTHS[-1])
                await navigate(page, path.format_map(_Ids()))
                found[name] = await page.evaluate(_CUT)
    assert {name: texts for name, texts in found.items() if texts} == {}
    assert len(found) > 10


async def _problems(page: Page, width: int) -> list[str]:
    await resize(page, width)
    found: list[str] = await page.evaluate(_PROBLEMS)
    return found


async def _problems_of_print(page: Page) -> list[str]:
    """On paper of the size A4, with margins of a centimetre."""
    await resize(page, 718, 1000)
    await page.emulate_media(media="print")
    found: list[str] = await page.evaluate(_PRINTED)
    await page.emulate_media(media="screen")
    return found


async def _count_rows(page: Page, name: str, problems: dict[str, list[str]]) -> None:
    for (width, height), least in ((WIDE, 14), *((size, 8) for size in LOW)):
        await resize(page, width, height)
        rows = await page.evaluate(_VISIBLE)
        if rows < least:
            problems[f"{name} {width} rows"] = [f"{rows} are visible"]


class _Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "3fGh82kLmQ0a"
