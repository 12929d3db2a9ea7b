"""The words that APIs use for the facts about a page.

Compared without case and separators: `nextPageToken` is `next_page_token`.
"""

import re


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Objects that APIs put such facts into.
CONTAINERS = frozenset(
    _words(
        "meta metadata pagination paging pageinfo pageable page links cursor cursors "
        "responsemetadata resultinfo info next"
    )
)
NEXT_URLS = _words(
    "next nexturl nexturi nextpageurl nextlink @odata.nextlink odata.nextlink "
    "nextpage nextrecordsurl nexthref"
)
TOKENS = _words(
    "nextcursor nextpagetoken nexttoken nextcontinuationtoken continuationtoken nextmarker "
    "endcursor after next nextpage cursor scrollid bookmark offset"
)
# A number under these names counts pages or records; it is no cursor.
COUNTING = frozenset(_words("next nextpage cursor offset"))
MORE = _words("hasmore hasnext hasnextpage hasmorepages hasmoreitems moreavailable more")
NO_MORE = _words("islast islastpage last done")
TOTALS = _words(
    "total totalcount totalresults totalrecords totalitems totalelements totalhits totalsize "
    "recordstotal filteredtablerowscount @odata.count"
)
# Of the whole table in some APIs, of the page in others.
COUNT = _words("count")
PAGES = _words("totalpages pagecount numpages lastpage pages")
NEXT_NUMBERS = _words("nextpage nextpagenumber next")
NUMBERS = _words("page currentpage pagenumber pageindex")
OFFSETS = _words("offset skip startat startindex")

# Parameters that are counts where their value is a number: of pages or of records.
_COUNTS = frozenset(
    (*NUMBERS, *OFFSETS, *_words("p pg pageno pageoffset start from firstresult firstrecord"))
)

MARKS = frozenset(
    (*NEXT_URLS, *TOKENS, *MORE, *NO_MORE, *TOTALS, *COUNT, *PAGES, *NEXT_NUMBERS, *NUMBERS)
)

TOTAL_HEADERS = ("X-Total-Count", "X-Total", "X-WP-Total", "Total-Count")
PAGES_HEADERS = ("X-Total-Pages", "X-WP-TotalPages", "Total-Pages")


def plain(key: str) -> str:
    """Make a key comparable."""
    return key.lower().replace("_", "").replace("-", "")


def counts(param: str, value: str) -> bool:
    """Whether a query parameter says by a count where a page begins: `page[number]=2`."""
    return value.isdecimal() and re.sub(r"[^a-z]", "", param.lower()) in _COUNTS


def param_for(key: str) -> str:
    """Guess the parameter that takes a cursor: `next_page_token` comes back as `page_token`."""
    match plain(key):
        case "next":
            return "cursor"
        case "endcursor":
            return "after"
        case "nexttoken":
            return key
        case _:
            bare = re.sub(r"^next[_-]?", "", key)
            return bare[:1].lower() + bare[1:] if bare != key else key
