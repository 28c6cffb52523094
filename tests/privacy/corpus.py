"""The corpus that the scrubbing is measured on: queries with personal data in them, and queries that only look so.

Everything is made up: values are drawn at random and given right (or wrong) check digits. Two halves that share no
sentence and, where a kind has several, no spelling: `development`, which the rules may be tuned on, and `held_out`, which is
reported. `corpus(half)` gives the same list every time.
"""

import random
from dataclasses import dataclass

HALVES = ("development", "held_out")
SENTENCES = {  # around the datum; {} is where it stands
    "development": ["{}", "{} ", "send to {}", "iphone 15 case {}", "{} running shoes 42", "where is my parcel {}", "发货到 {}", "我的{}退款", "red dress size 38 {}",
                    "refund, {}", "pls contact: {}", "({})", "2 x usb cable 2m / {}", "call me: {} after 18:00"],
    "held_out": ["{}", " {}", "deliver it to {} please", "samsung galaxy s24 {}", "{} coffee machine 1450w", "change my address {}", "收货人 {}", "{}在哪里", "lego 10497 {}",
                 "invoice for {}", "my details - {}", "[{}]", "4 chairs + table; {}", "{} ring before 9:30"],
}
BARE = {"development": ["{}", "buy {}", "{} black", "{} 价格", "spare part {}", "cheap {} offer"],
        "held_out": ["{}", "{} review", "need {} today", "有没有 {}", "{} compatible", "2 pieces {}"]}


@dataclass(frozen=True)
class Case:
    """One query; `clean` is what must be left of it (the query itself for a look-alike)."""

    text: str
    clean: str
    kind: str

    @property
    def positive(self) -> bool:
        return self.text != self.clean


def corpus(half: str) -> list[Case]:
    """The cases of one half: at least 200 positives and 200 look-alikes, no two alike."""
    source, cases = random.Random(f"ecomrec pii {half}"), {}
    for kind, tag, count, spellings in POSITIVES:
        mine = _half(spellings, half)
        for number in range(count):
            value, sentence = mine[number % len(mine)](source), source.choice(SENTENCES[half])
            if sentence.startswith("call me") and tag != "<phone>":
                sentence = "{}"
            cue, value = value if isinstance(value, tuple) else ("", value)
            cases[sentence.format(cue + value)] = Case(sentence.format(cue + value), sentence.format(cue + tag), kind)
    for kind, count, spellings in LOOKALIKES:
        mine = _half(spellings, half)
        for number in range(count):
            text = source.choice(BARE[half]).format(mine[number % len(mine)](source))
            cases[text] = Case(text, text, kind)
    return list(cases.values())


def _half(spellings: list, half: str) -> list:
    return spellings if len(spellings) == 1 else spellings[HALVES.index(half)::2]


# -- drawing -------------------------------------------------------------------------------------------------------------

def digits(count: int, first: str = "0123456789") -> object:
    return lambda r: r.choice(first) + "".join(r.choice("0123456789") for _ in range(count - 1))


def shape(pattern: str, **sets: str):
    """A value from a pattern: `#` any digit, `~` 2-9, `§` 1-9, anything else itself."""
    draw = {"#": "0123456789", "~": "23456789", "§": "123456789", **sets}
    return lambda r: "".join(r.choice(draw[c]) if c in draw else c for c in pattern)


def one(*values: str):
    return lambda r: r.choice(values)


def cued(cue: str, inner):
    """A number that only the word before it makes personal; the word stays."""
    return lambda r: (cue, inner(r))


def wide(inner):
    """The same in full-width characters, as Chinese input methods write it."""
    return lambda r: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in inner(r))


def luhn_digit(body: str) -> str:
    total = sum(sum(divmod(int(c) * (2 - place % 2), 10)) for place, c in enumerate(reversed(body)))
    return str(-total % 10)


def card(prefixes: tuple[str, ...], length: int, groups: tuple[int, ...] = (), between: str = " ", good: bool = True):
    def make(r):
        prefix = r.choice(prefixes)
        body = prefix + "".join(r.choice("0123456789") for _ in range(length - 1 - len(prefix)))
        last = luhn_digit(body)
        return cut(body + (last if good else str((int(last) + r.randrange(1, 10)) % 10)), groups, between)
    return make


def cut(value: str, groups: tuple[int, ...], between: str) -> str:
    parts, at = [], 0
    for size in groups:
        parts.append(value[at:at + size])
        at += size
    return between.join([*parts, *([value[at:]] if at < len(value) else [])])


def gtin(length: int, first: str = "0123456789"):
    def make(r):
        body = r.choice(first) + "".join(r.choice("0123456789") for _ in range(length - 2))
        return body + str(-sum(int(c) * (3 - 2 * (place % 2)) for place, c in enumerate(reversed(body))) % 10)
    return make


def isbn10(r) -> str:
    body = "0" + "".join(r.choice("0123456789") for _ in range(8))
    last = -sum(int(c) * (10 - place) for place, c in enumerate(body)) % 11
    return body + ("X" if last == 10 else str(last))


def chinese_id(between: tuple[int, ...] = (), good: bool = True, lower: bool = False):
    def make(r):
        body = (r.choice(("110101", "310115", "440305", "510104", "330106", "420111", "610113")) + str(r.randrange(1945, 2012))
                + f"{r.randrange(1, 13):02}{r.randrange(1, 29):02}{r.randrange(1000):03}")
        right = sum(int(c) * w for c, w in zip(body, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True)) % 11
        last = "10X98765432"[right if good else (right + r.randrange(1, 11)) % 11]
        return cut(body + (last.lower() if lower else last), between, " ")
    return make


def iban(country: str, bank: str, count: int, grouped: bool, lower: bool = False, good: bool = True):
    def make(r):
        body = bank + "".join(r.choice("0123456789") for _ in range(count))
        number = int("".join(str(int(c, 36)) for c in body + country + "00"))
        value = f"{country}{(98 - number % 97) if good else (98 - number % 97) % 97 + 1:02}{body}"
        value = cut(value, (4,) * (len(value) // 4), " ") if grouped else value
        return value.lower() if lower else value
    return make


def cpf(r) -> str:
    body = [r.randrange(10) for _ in range(9)]
    for _ in range(2):
        rest = sum(d * w for d, w in zip(body, range(len(body) + 1, 1, -1), strict=True)) * 10 % 11
        body.append(rest % 10)
    text = "".join(map(str, body))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def dni(r) -> str:
    number = r.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def email(pattern: str):
    names = ("anna.schmidt", "j.doe", "li_wei88", "tom+shop", "maria-garcia", "x99", "o'brien", "12345678", "wang.fang", "Bob", "müller", "zhang.san_1990")
    hosts = ("example.com", "qq.com", "163.com", "gmail.com", "mail.example.co.uk", "web.de", "uni-bonn.example.org", "GMAIL.COM", "outlook.fr", "company.shop")
    return lambda r: pattern.format(name=r.choice(names), host=r.choice(hosts))


CN_MOBILE = {"M": "3456789"}
POSITIVES = [  # kind, tag, cases in each half, spellings
    ("e-mail", "<email>", 48, [email("{name}@{host}"), email("{name}@{host}"), wide(lambda r: f"user{r.randrange(999)}@qq.com"), email("{name}@{host}"),
                               lambda r: f"kate{r.randrange(99)} @ gmail.com", lambda r: f"sam{r.randrange(99)}＠example.com",
                               lambda r: f"joe{r.randrange(99)} (at) example.com", lambda r: f"ann{r.randrange(99)} [at] example.org",
                               lambda r: f"bob{r.randrange(99)} at gmail dot com", lambda r: f"eve{r.randrange(99)}(at)web(dot)de"]),
    ("phone +", "<phone>", 30, [shape("+861M#########", **CN_MOBILE), shape("+86 1M# #### ####", **CN_MOBILE), shape("+1 (~12) ~~#-####"), shape("+1-~0~-~~#-####"),
                                shape("+44 20 7### ####"), shape("+44 (0)7### ######"), shape("+49 151 ########"), shape("+49-30-#######"), shape("+33 6 ## ## ## ##"),
                                shape("+33.1.##.##.##.##"), shape("0086 1M# #### ####", **CN_MOBILE), shape("0044 7### ######"), shape("+91 9####-#####"), shape("+852 9### ####"),
                                shape("+7 916 ###-##-##"), shape("+81 90-####-####"), wide(shape("+861M#########", **CN_MOBILE)), wide(shape("+65 9### ####"))]),
    ("phone, Chinese mobile", "<phone>", 32, [shape("1M#########", **CN_MOBILE), shape("1M# #### ####", **CN_MOBILE), shape("1M#-####-####", **CN_MOBILE),
                                              shape("1M#.####.####", **CN_MOBILE), wide(shape("1M#########", **CN_MOBILE)), wide(shape("1M#-####-####", **CN_MOBILE)),
                                              shape("861M#########", **CN_MOBILE), shape("86-1M#########", **CN_MOBILE)]),
    ("phone, Chinese landline", "<phone>", 16, [shape("010-6#######"), shape("021-5#######"), shape("0755-8#######"), shape("0571 8#######"), shape("(010)8#######"),
                                                shape("（021）6#######"), shape("0512-6#######-###"), shape("0531-8#######转###")]),
    ("phone, national", "<phone>", 48, [shape("(~12) ~~#-####"), shape("~0~-~~#-####"), shape("~1~.~~#.####"), shape("1-~0~-~~#-####"), shape("020 7### ####"), shape("0161 4## ####"),
                                        shape("074## ######"), shape("079########"), shape("06 ## ## ## ##"), shape("01.##.##.##.##"), shape("030/########"), shape("0151 ########"),
                                        shape("090-####-####"), shape("03-####-####"), shape("04## ### ###"), shape("02 9### ####"), shape("010-####-####"), shape("8 916 ###-##-##"),
                                        shape("(11) 9####-####"), shape("8 (495) ###-##-##"), cued("tel ", shape("9### ####")), cued("phone: ", shape("~~########")), cued("手机号", shape("~~######")), cued("whatsapp ", shape("6########"))]),
    ("card", "<card>", 40, [card(("4",), 16, (4, 4, 4, 4)), card(("4",), 16), card(("51", "55"), 16, (4, 4, 4, 4), "-"), card(("52", "54"), 16),
                            card(("34", "37"), 15, (4, 6, 5)), card(("37",), 15), card(("62",), 16, (4, 4, 4, 4)), card(("6222",), 19, (4, 4, 4, 4)), card(("62",), 19), card(("6228",), 19, (6, 13)),
                            card(("2221", "2720"), 16, (4, 4, 4, 4)), card(("6011", "65"), 16), card(("3528", "3589"), 16), card(("36", "38"), 14, (4, 6, 4)), wide(card(("4",), 16, (4, 4, 4, 4))),
                            wide(card(("62",), 16))]),
    ("Chinese ID", "<id>", 20, [chinese_id(), chinese_id((6, 8)), chinese_id(lower=True), chinese_id((6, 4, 4)), wide(chinese_id()), chinese_id()]),
    ("IBAN", "<iban>", 18, [iban("DE", "", 18, True), iban("DE", "", 18, False), iban("GB", "WEST", 14, True), iban("GB", "BARC", 14, False), iban("FR", "", 23, True), iban("ES", "", 20, True),
                            iban("NL", "ABNA", 10, False, lower=True), iban("NL", "RABO", 10, True, lower=True)]),
    ("ID, other", "<id>", 24, [shape("123-4#-§###"), shape("4§#-§#-§###"), shape("52# 1# §###"), shape("078-05-§###"), shape("AB######C"), shape("JG ## ## ## A"), cued("ssn ", shape("21######§")),
                               cued("social security ", shape("31######§")), cpf, cpf, dni, dni, one("RSSMRA85T10A562S", "BNCLRA90A41H501X"), one("VRDGPP13R10B293P", "RSSMRA80A01H501U")]),
]
LOOKALIKES = [  # kind, cases in each half, spellings
    ("EAN and ISBN", 40, [gtin(13, "5"), gtin(13, "6"), gtin(13, "4"), gtin(13, "9"), gtin(12), gtin(8), gtin(14, "1"), gtin(14, "0"), isbn10, lambda r: cut(gtin(13, "9")(r), (3, 1, 4, 4), "-"),
                          lambda r: "EAN " + gtin(13)(r), lambda r: "barcode " + gtin(12)(r)]),
    ("order number", 40, [shape("20241105######"), shape("2025#####-####"), shape("#10####"), shape("order 10########"), shape("订单号 28##########"), shape("订单 131########"),
                          shape("113-#######-#######"), shape("302-#######-#######"), shape("SO-2024-00####"), shape("INV/2024/00###"), shape("ORD########"), shape("PO 45######"),
                          shape("1Z999AA1##########"), shape("RR#########CN"), card(("4",), 16, good=False), card(("62",), 16, good=False)]),
    ("model and part number", 48, [one("WH-1000XM5", "RTX 4090 24GB", "SM-G998B/DS"), one("ThinkPad T14 20W0003HUS", "PS5 CFI-1216A", "MacBook A2338 M1 2020"), shape("04465-3#4#1"), shape("90915-1000#"),
                                   shape("0 986 49# ###"), shape("1 987 302 0##"), shape("0986494###"), shape("A000989#####"), shape("310-20##-#"), shape("12-3##-####"), shape("LEGO 7519# 1029#"),
                                   shape("74HC595 20## 16##"), shape("CAS 7732-18-#"), shape("DIN 912 8.8 10x1## 20x2##"), shape("FK-23#####"), shape("GB ######C"), shape("QQ######A"), shape("555-12##"),
                                   shape("6ES7 214-1AG40-0XB#"), shape("06A 115 561 B"), shape("no 1# 2# 3# 4# 5#"), shape("BX80715 1#700K")]),
    ("size and quantity", 30, [shape("90x200x1# 140x200x1#"), shape("1920x1080 144hz 2#ms"), shape("size 36 37 38 39 40 4#"), shape("phone case 11 12 13 14 15"), shape("600 400 20## mm"), shape("m8 x 120 100 pcs 8.8"),
                               shape("18650 3500mah 10a 3.7v"), shape("205/55 r16 91v 225/45 r17"), shape("5.0 4.5 4.0 3.5 3.0 +1.25 1.50 2.00 2.50"), shape("100 200 300 400 500 600 ml"), shape("500-1000-1500 w"), shape("1:18 1:24 1:43 2023 2024")]),
    ("price and date", 26, [shape("$1,29#.00 - $1,59#.99"), shape("1 299 0## rub"), shape("¥12,9## 到 ¥15,9##"), shape("under 1500000 vnd 2000000"), shape("2024-11-05 12:30:1#"), shape("05.11.2024 - 1#.11.2024"),
                            shape("calendar 2024 2025 2026"), shape("20241105 20251#05"), shape("€ 1.299,00 statt 1.59#,00"), shape("11/05/2024 11/1#/2024")]),
    ("number of another kind", 30, [card(("35", "86"), 15), shape("ip 192.168.100.2##"), shape("10.0.0.1 255.255.255.0"), shape("52.5200 13.4050"), shape("v1.2.3.4567 build 890#"), shape("00:1A:2B:3C:4D:5E"),
                                    shape("#FF5733 #33FF57"), shape("batch 170936####"), shape("1709366400###"), shape("100200300"), chinese_id(good=False), iban("DE", "", 18, True, good=False), shape("batch 9##-4#-####"),
                                    shape("000-12-34##"), shape("666-12-34##"), shape("DE12 3456 78")]),
    ("an @ without an address", 16, [one("@home decor", "follow @nike.official"), one("cake @ 50% off", "nike @ adidas"), shape("2 @ 5.9#"), shape("shirt@size m #"), one("email template book", "e-mail marketing for dummies"),
                                     one("dot to dot book", "look at me doll"), one("@", "a@b"), one("meet @ 10.30am", "10k@8.5mm")]),
]
