"""Personal data in free text: e-mail addresses, phone numbers, payment cards, bank accounts and identity numbers become tags.

`scrub` is the one truth. `MAYBE` is a pattern that Python and DuckDB read alike and that matches every text which
`scrub` would change, so that bulk loads look closer only at those.

Numbers that carry a check digit must have it right; the others must be written as people write them, or stand behind a
word such as "tel" or "手机". What a shop's own numbers look like (EAN, order and part numbers, sizes, prices) stays.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Any

_APART = "[ -/:-@\u00a0\u2000-\u2015\u202f\u205f\u2212\u3000\ufe63\uff08-\uff0f]"  # named one by one: a negated class makes RE2 forty times slower
MAYBE = (rf"[@＠]|[(\[]\s?[aA][tT]\s?[)\]]| [aA][tT] \S{{1,64}} [dD][oO][tT] |\p{{Nd}}(?:{_APART}{{0,3}}\p{{Nd}}){{6}}"
         r"|\p{L}\s?\p{Nd}(?:\s?\p{Nd}){5}|\p{L}{6}\p{Nd}\p{Nd}\p{L}\p{Nd}")
_MAYBE = re.compile(MAYBE.replace(r"\p{Nd}", r"\d").replace(r"\p{L}", r"[^\W\d_]"))

VALUES = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+\-]*')  # texts, also the names before a colon, and numbers of a JSON text
SURROGATES = re.compile("[\ud800-\udfff]")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−－﹣"), "-")
_CJK = "぀-ヿ㐀-鿿가-힣"  # Chinese and Japanese write without spaces: what stands before an address is not part of it
_LOCAL = rf"[^\W_{_CJK}](?:[\w.%+'&\-](?<![{_CJK}])){{0,63}}"
_TLD = r"(?:com|net|org|edu|info|biz|de|fr|uk|cn|es|it|nl|ru|jp|in|eu|io|ch|at|pl|br|us)"
EMAIL = re.compile(
    rf"{_LOCAL}@(?:[^\W_](?:[\w\-]*[^\W_])?\.)+(?:[^\W\d_{_CJK}]{{2,24}}|公司|中国|网络)(?![a-z0-9_@])"
    rf"|{_LOCAL} @ (?:[^\W_](?:[\w\-]*[^\W_])?\.)+{_TLD}(?![a-z0-9_@])"
    rf"|{_LOCAL}\s?[(\[]\s?at\s?[)\]]\s?(?:[\w\-]+\s?(?:\.|[(\[]?dot[)\]]?)\s?)+[a-z]{{2,24}}(?![a-z0-9])"
    rf"|{_LOCAL} at [\w\-]+ dot {_TLD}(?![a-z0-9])", re.IGNORECASE)

IBAN_LENGTH = {"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21, "CR": 22, "CY": 28, "CZ": 24,
               "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27,
               "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20,
               "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29,
               "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "XK": 20}
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]){11,30}")
GROUPS = re.compile(r"(?<!\d)\d+(?:[ .\-]\d+)*")  # digits as they are grouped: a card may stand beside other numbers
# Issuer prefixes and lengths (ISO/IEC 7812; Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay, Mir, Maestro, RuPay).
ISSUERS = re.compile(r"4\d{15}$|4\d{18}$|5[1-5]\d{14}$|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}$|3[47]\d{13}$|(?:6011|64[4-9]\d|65\d\d)\d{12,15}$"
                     r"|3(?:0[0-5]|[68]\d|95)\d{11}$|35(?:2[89]|[3-8]\d)\d{12,15}$|(?:62|81)\d{14,17}$|220[0-4]\d{12,15}$|(?:50[12]\d|5893|63\d\d|67\d\d)\d{12}$|60\d{14}$")

CHINESE_ID = re.compile(r"(?<![A-Za-z0-9])([1-8]\d{5}) ?((?:18|19|20)\d\d) ?(\d{4}) ?(\d{3}) ?([\dXx])(?![A-Za-z0-9])")
SSN = re.compile(r"(?<![A-Za-z0-9_.\-])(?!000|666)(?:[0-8]\d\d|9\d\d(?=.[5-9]\d))([ .\-])(?!00)\d\d\1(?!0000)\d{4}(?![A-Za-z0-9_\-]|\.\d)")
NINO = re.compile(r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d\d){3} ?[A-D](?![A-Za-z0-9])", re.IGNORECASE)
CPF = re.compile(r"(?<![\d.\-])(\d{3})\.(\d{3})\.(\d{3})-(\d\d)(?!\d)")
DNI = re.compile(r"(?<![A-Za-z0-9\-])([XYZ]?)-?(\d{7,8})-?([A-Z])(?![A-Za-z0-9])", re.IGNORECASE)
FISCALE = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}\d\d[A-EHLMPRST][0-7]\d[A-Z]\d{3}[A-Z](?![A-Za-z0-9])", re.IGNORECASE)
RRN = re.compile(r"(?<![\d\-])\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-[1-8]\d{6}(?!\d)")
NIR = re.compile(r"(?<![A-Za-z0-9])[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?![A-Za-z0-9])", re.IGNORECASE)
HKID = re.compile(r"(?<![A-Za-z0-9])([A-Z]{1,2})(\d{6})\(([\dA])\)", re.IGNORECASE)
CUED_ID = re.compile(r"(?:(?<![A-Za-z])(?:ssn|social security|passport|national id|identity card|id card|tax id|nino|aadhaar|pesel|bsn|dni|nie|cpf|personalausweis|steuer-?id)(?![A-Za-z])|身份证|护照|证件)"
                     r"(?:\s?(?:no\.?|nr\.?|number|号码?|是))?[\s:：#]{0,3}((?=(?:[ \-]?[A-Z]?){0,4}\d)[A-Z]{0,2}\d(?:[ \-]?[A-Z\d]){5,18})(?![A-Za-z0-9])", re.IGNORECASE)

CUED_PHONE = re.compile(r"(?:(?<![A-Za-z])(?:tel|tél|phone|mobile|cell|call|text|sms|fax|ring|whatsapp|wechat|viber|telegram|telefon|handy|móvil|celular|qq)(?![A-Za-z])|my number|电话|手机|微信|联系方式|座机)"
                        r"(?:\s?(?:no\.?|nr\.?|number|me|us|at|on|is|号码?|是))*[\s.:：#]{0,3}(\+?\(?\d(?:[ .\-/()]{0,2}\d){6,14})(?![A-Za-z0-9])", re.IGNORECASE)
# Written as the countries write them. What stands around it keeps the pieces of longer numbers, codes, prices and sizes out.
_BEFORE = r"(?<![A-Za-z0-9_#$€£¥/\-])(?<!\d[.,:])"
_AFTER = r"(?![A-Za-z0-9_]|[.:\-]\d|,\d{1,3}(?!\d)| ?(?:mm|cm|ml|kg|gb|tb|w|v|hz|x|pcs|rub|eur|usd)\b|\s?[%€$£¥°])"
_SPACED = r"(?<!\d )"  # groups between spaces are not the tail of a row of sizes
PHONES = [re.compile(_BEFORE + pattern + _AFTER, re.IGNORECASE) for pattern in (
    r"\+ ?\(?[1-9]\d{0,2}\)?[ .\-/]?(?:\(0?\d{0,4}\)[ .\-/]?)?\d{1,4}(?:[ .\-/]?\d{2,}){1,5}",                  # +CC ...
    _SPACED + r"(?=(?:\d\D{0,3}){10})00[1-9]\d{0,2}[ .\-/](?:\(0\))?\d{1,4}(?:[ .\-/]?\d{2,}){1,5}", r"0086[ \-]?1[3-9]\d{9}",               # 00CC ...
    r"(?:86[ \-]?)?1[3-9]\d[ .\-]?\d{4}[ .\-]?\d{4}",                                                          # China, mobile
    r"(?:\(0\d{2,3}\) ?|0\d{2,3}[ \-])[2-9]\d{6,7}(?:(?:[ \-]|转|ext\.?)\d{1,5})?", r"0(?:10|2\d)[2-8]\d{7}",  # China, landline
    r"(?:1[ .\-])?(?:\([2-9]\d{2}\) ?|[2-9](?!11)\d{2}[.\-])[2-9]\d{2}[ .\-]\d{4}(?: ?(?:x|ext\.?) ?\d{1,5})?",  # North America
    _SPACED + r"(?:1 )?[2-9](?!11)\d{2} [2-9]\d{2} \d{4}",
    r"0[1-9](?:([.\-])\d\d)(?:\1\d\d){3}", _SPACED + r"0[1-9](?: \d\d){4}",                                                   # France
    _SPACED + r"\(?0[123578]\d{1,3}\)? \d{3,4} \d{3,4}", r"07\d{3} ?\d{6}", _SPACED + r"\(?0\d{4}\)? \d{5,6}",        # United Kingdom
    r"01[567]\d-\d{7,8}", r"0[1-9]\d{1,4}/\d{5,8}", _SPACED + r"0[1-9]\d{1,4} \d{5,8}", r"0[1-9]\d{1,4}/\d{3,4}[ \-]?\d{2,5}",    # Germany, Austria, Switzerland
    _SPACED + r"0\d{1,3}[ /\-]\d{2,3}(?:[ .]\d\d){2,3}", r"06[ \-]\d{8}",                                           # Belgium, Netherlands, Sweden, Switzerland
    r"3[2-9]\d[ \-]\d{7}",                                                    # Italy
    r"0[1-9]\d{0,2}-\d{2,4}-\d{4}", r"0[789]0\d{8}", r"09\d\d-\d{3}-\d{3}",                                              # Japan, Korea, Taiwan
    r"04\d\d \d{3} \d{3}", r"\(?0[2378]\)? \d{4} \d{4}",                                                   # Australia
    r"8[ \-]?\(?[3489]\d{2}\)?[ \-]\d{3}[ \-]\d\d[ \-]\d\d", r"89\d{9}",                                # Russia
    r"\([1-9]\d\) ?9?\d{4}-\d{4}", _SPACED + r"[1-9]\d 9\d{4}-\d{4}",                                                                         # Brazil
)]
# A number that its own words call something else is not a phone number.
OTHER = re.compile(r"(?:(?<![A-Za-z])(?:order|sku|ean|upc|gtin|isbn|asin|barcode|item|part|model|art|article|ref|serial|batch|invoice|inv|tracking|imei|po|cas|lot|vin)|订单号?|单号|条码|型号|货号|编号|批号|发票)"
                   r"(?:\s?(?:no\.?|nr\.?|number|code|号码?))?[\s.:：#]{0,3}$", re.IGNORECASE)


def scrub(text: str) -> str:
    """`text` with `<email>`, `<phone>`, `<card>`, `<iban>` and `<id>` in place of what is one. The rest stays as it was, character by character."""
    if not _MAYBE.search(text):
        return text
    plain, spans = _plain(text), []

    def found(start: int, end: int, tag: str) -> None:
        nonlocal plain
        spans.append((start, end, tag))
        plain = plain[:start] + "\0" * (end - start) + plain[end:]  # what is taken is not looked at again

    for tag, finder in (("<email>", _emails), ("<iban>", _ibans), ("<card>", _cards), ("<id>", _ids), ("<phone>", _phones)):
        for start, end in finder(plain):
            if "\0" not in plain[start:end]:
                found(start, end, tag)
    for start, end, tag in sorted(spans, reverse=True):
        text = text[:start] + tag + text[end:]
    return text


def scrub_json(text: str) -> str:
    """A JSON text whose string and whole-number values are scrubbed; names stay. The same text when there is nothing in it."""
    if not _MAYBE.search(text):
        return text
    clean = rewrite(text, scrub, lambda number: scrub(number) if number.lstrip("-").isdigit() else number)
    return text if clean == text else clean


def rewrite(text: str, texts: Callable[[str], str], numbers: Callable[[str], str]) -> str:
    """A JSON text with what `texts` and `numbers` make of its values. All else stands as it stood: read and written again, 1e400 would become Infinity, which is no JSON."""
    def one(found: re.Match) -> str:
        token = found[0]
        if found[1] is not None:
            return token
        value = json.loads(token) if token[0] == '"' else token
        made = texts(value) if token[0] == '"' else numbers(value)
        return token if made == value else dump(made)

    return VALUES.sub(one, text)


def dump(value: Any) -> str:
    """Compact JSON. A lone half of a surrogate pair, which no UTF-8 can hold, stays the escape that it was."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if not SURROGATES.search(text) else json.dumps(value, separators=(",", ":"))


def _plain(text: str) -> str:
    """The text in ASCII digits, letters and signs where it has their full-width or other forms; as long as `text`."""
    if text.isascii():
        return text
    return "".join(map(_character, text.translate(_DASHES)))


def _character(c: str) -> str:
    if c < "\x80":
        return c
    if "！" <= c <= "～":
        return chr(ord(c) - 0xFEE0)
    if c.isspace():
        return " "
    digit = unicodedata.decimal(c, None)
    return c if digit is None else str(digit)


def _emails(text: str):
    return [match.span() for match in EMAIL.finditer(text)] if "@" in text or "at" in text.lower() else []


def _ibans(text: str):
    for match in IBAN.finditer(text):
        start, taken = match.start(), ""
        for end in range(start, match.end()):
            taken += text[end] if text[end].isalnum() else ""
            if len(taken) == IBAN_LENGTH.get(taken[:2].upper(), 99):
                rest = text[end + 1:end + 2]
                if not (rest.isascii() and rest.isalnum()) and int("".join(str(int(c, 36)) for c in taken[4:] + taken[:4])) % 97 == 1:
                    yield start, end + 1
                break


def _cards(text: str):
    for match in GROUPS.finditer(text):
        groups = [(found.start() + match.start(), found.end() + match.start()) for found in re.finditer(r"\d+", match[0])]
        first = 0
        while first < len(groups):
            number, found = "", None
            for last in range(first, min(first + 6, len(groups))):
                number += text[groups[last][0]:groups[last][1]]
                if 14 <= len(number) <= 19 and ISSUERS.match(number) and _luhn(number) and not (last == first and len(number) == 14 and _gtin(number)):
                    found = last
            if found is not None:
                yield groups[first][0], groups[found][1]
                first = found
            first += 1


def _ids(text: str):
    for match in CHINESE_ID.finditer(text):
        if _chinese_id("".join(match.groups())):
            yield match.span()
    for match in CPF.finditer(text):
        if _cpf("".join(match.groups())):
            yield match.span()
    for match in DNI.finditer(text):
        lead, number, letter = match.groups()
        if len(number) == (7 if lead else 8) and "TRWAGMYFPDXBNJZSQVHLCKE"[int(str("XYZ".find(lead.upper())) * bool(lead) + number) % 23] == letter.upper():
            yield match.span()
    for match in HKID.finditer(text):
        if _hkid(*match.groups()):
            yield match.span()
    for match in NIR.finditer(text):
        number = re.sub(r"\s", "", match[0]).upper().replace("2A", "19").replace("2B", "18")
        if (int(number[:13]) + int(number[13:])) % 97 == 0:
            yield match.span()
    for match in CUED_ID.finditer(text):
        yield match.span(1)
    for pattern in (SSN, NINO, FISCALE, RRN):
        for match in pattern.finditer(text):
            if not OTHER.search(text, max(0, match.start() - 24), match.start()):
                yield match.span()


def _phones(text: str):
    for match in CUED_PHONE.finditer(text):
        groups = re.findall(r"\d+", match[1])
        if not all(len(group) <= 2 for group in groups) and not all(re.fullmatch(r"(?:19|20)\d\d", group) for group in groups):
            yield match.span(1)
    for pattern in PHONES:
        for match in pattern.finditer(text):
            if 7 < len(re.sub(r"\D", "", match[0])) <= 17 and not OTHER.search(text, max(0, match.start() - 24), match.start()):
                yield match.span()


def _luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    return sum(sum(divmod(int(c) * (1 + place % 2), 10)) for place, c in enumerate(reversed(number))) % 10 == 0


def _gtin(number: str) -> bool:
    return sum(int(c) * (1 + 2 * (place % 2)) for place, c in enumerate(reversed(number))) % 10 == 0


def _chinese_id(number: str) -> bool:
    """GB 11643-1999: a real birth date and the ISO 7064 MOD 11-2 check character."""
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    return "10X98765432"[sum(int(c) * pow(2, 17 - place, 11) for place, c in enumerate(number[:17])) % 11] == number[17].upper()


def _cpf(number: str) -> bool:
    return len(set(number)) > 1 and all(sum(int(c) * (size + 1 - place) for place, c in enumerate(number[:size])) * 10 % 11 % 10 == int(number[size]) for size in (9, 10))


def _hkid(letters: str, number: str, check: str) -> bool:
    values = [36 if c == " " else int(c, 36) for c in letters.upper().rjust(2)] + [int(c) for c in number] + [int(check, 16)]
    return sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0
