"""Tells in which encoding a text file is, or that nobody can tell."""

import re
from typing import Final

from milepost.connectors.files.content import encoding_mark

# A guess, which goes for a text as long as it looks_western.
GUESS: Final = "cp1252"
# What Western texts hold beside ASCII. Other single-byte encodings read as cp1252 put other
# characters there, or these where no Western word has them: £ódŸ, Gdañsk, Gyõr, Iaşi.
# ruff: noqa: RUF001
_LETTERS: Final = "ÄÖÜäöüßÀÂÆÇÈÉÊËÎÏÔŒÙÛŸàâæçèéêëîïôœùûÿÁÍÑÓÚáíñóúÃÕãõÅØåøÌìòÒ"
_SIGNS: Final = "€£¥§°©®™·–—…‘’“”„‚«»‹›¿¡ªº²³½¼¾×±µ¢¨´\xa0"
_STRANGE: Final = re.compile(
    "|".join(
        [
            rf"[^\x00-\x7f{_LETTERS}{_SIGNS}]",
            # A sign inside a word, or before a letter where only numbers follow it.
            r"(?<=[A-Za-z])[^\x00-\x7fÀ-ÿŒœŸ’´·](?=[A-Za-z])|[£¥¢±µ](?=[^\W\d_])",
            # A capital letter after a small one, in a word that has no others.
            r"(?<=[a-zß-ÿ])[À-ÞŒŸ]",
            r"[øØ]\w*[áéíóúèìù]|[áéíóúèìù]\w*[øØ]",
            r"ñ(?![aeiouáéíóúü\W])|õ(?!e)|[ãÃ](?![oeOE\W])",
        ]
    )
)
_WORDS: Final = re.compile(r"[^\W\d_]{2,}")


def encoding_of(sample: bytes, *, whole: bool) -> str | None:
    """Tell by a byte order mark, by being UTF-8, or by looking Western; None: somebody must say.

    `whole`: the sample is all there is; otherwise its last character may be cut.
    """
    marked = encoding_mark(sample)
    if marked is not None:
        return marked
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        if not whole and error.end == len(sample) and error.reason == "unexpected end of data":
            return "utf-8"
    else:
        return "utf-8"
    try:
        return GUESS if looks_western(sample.decode(GUESS)) else None
    except UnicodeDecodeError:
        return None


def looks_western(text: str) -> bool:
    """Whether a text that was read as cp1252 has nothing in it that speaks against that."""
    if _STRANGE.search(text) is not None:
        return False
    # A word of a Western language has an ASCII letter; one in another script read so has none.
    return all(re.search("[A-Za-z]", word) for word in _WORDS.findall(text))
