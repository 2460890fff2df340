"""Notations of every class, equal and different, by hand: `=` must be correct, `!` incorrect, `?` neither.

One pair a line: gold, sign, answer. A pair marked `?` is one that a reader without the question could not decide.
"""

import pytest

from redistill.records import DECIDED, Outcome
from redistill.verify import judge_answer

PAIRS = {
    "units": r"""
8 km = 8000 m
8 km = 8,000 meters
8km = 8000m
2.4 kg = 2400 g
90 minutes = 1.5 hours
1.5 h = 90 min
3 weeks = 21 days
7 yards = 21 feet
36 inches = 1 yard
2 miles = 10560 ft
4 gallons = 16 quarts
350 mL = 0.35 L
2 L = 2000 cm^3
9 square feet = 1 square yard
9\text{ ft}^2 = 1\text{ yd}^2
5\text{ cm}^2 = 500\text{ mm}^2
2\text{ m}^3 = 2000000\text{ cm}^3
72 km/h = 20 m/s
72\text{ km/h} = 20\text{ m/s}
60 mph = 60 miles per hour
30 miles per hour = 30 mph
3\,\mathrm{m/s} = 300\,\mathrm{cm/s}
1.5\pi \text{ m} = 150\pi \text{ cm}
2\sqrt{3}\text{ m} = 200\sqrt{3}\text{ cm}
18 months = 1.5 years
5-km = 5000 m
6 kg. = 6000 grams
2 h 15 min = 135 minutes
2 hours and 15 minutes = 2.25 hours
5 feet 6 inches = 66 inches
5'6" = 66 in
12 = 12 apples
12 apples = 12
48 clips = 48 paper clips
10 square units = 10 cm^2
45^\circ = 45 degrees
45^\circ = 45
20^\circ C = 20
1 kWh = 3600 kJ
8 km ! 8 cm
8 km ! 9 km
3 hours ! 3 minutes
2.4 kg ! 240 g
90 minutes ! 2 hours
5 m ! 5 cm
5\text{ cm}^2 ! 50\text{ mm}^2
72 km/h ! 72 m/s
7 \pi \text{ m} ! 7 \pi \text{ cm}
180 L ! 180 mL
2 h 15 min ! 125 minutes
12 apples ! 13 apples
8 km ? 8 kg
10 cm^2 ? 10 cm^3
10 cm^2 ? 10 cm
3 m/s ? 3 m
12 apples ? 12 oranges
20^\circ C ? 68^\circ F
20^\circ C ? 20^\circ F
30^\circ ? 30 \text{ rad}
1 year ? 365 days
8 blorps ? 8 km
5 ? 5000 m
5 km ? 5000
2 ? 120 minutes
6 ? 0.5 feet
3 kWh = 3000 Wh
2 GHz = 2000 MHz
3 bar = 3000 mbar
2 atm = 202650 Pa
5 kcal = 5000 cal
1 eV ! 1 keV
1 GB ? 1000 MB
1 GB ? 1024 MB
5 MB ? 5 GB
10 dB ? 10
10 dB ? 11
3 u ? 3
2 AU ? 2
25^\circ C ? 298.15 K
0^\circ C ? 273.15\text{ K}
50 ppm ? 0.005%
180^\circ ? \pi
90 ? \frac{\pi}{2}
3x ! 3
5xy ! 6xy
""",
    "money": r"""
\$0.60 = 60 cents
\$0.60 = 60¢
\$3 = 300 cents
3 dollars = \$3
3 dollars = 3 USD
USD 3 = \$3.00
€5 = 5 €
5 euros = €5
£7.50 = 7.5
Rs. 40 = 40 rupees
₹40 = 40 rupees
\$1,250 = 1250
\$12.50 = 12.5
25000 = \$25,000/year
40 = \$40 per hour
40 = 40 dollars a day
\$40 per hour = \$40/hour
\$2 and 50 cents = \$2.50
-\$5 = -5
\$3 ! 3 cents
\$0.60 ! 6 cents
10 dollars ! 10 cents
€5 ! €6
25000 ! \$24,000/year
\$1,000,000.50 ! \$1,000,000.00
\$5 ? €5
\$5 ? 500
\$40 per hour ? \$40 per day per person
""",
    "magnitudes": r"""
4000000 = 4 million
4{,}000{,}000 = 4\text{ million}
4 million = 4,000,000
1.25 million = 1250000
\$2.5\text{ billion} = \$2500 \text{ million}
3\text{ million dollars} = \$3,000,000
500 = 5 hundred
36 = 3 dozen
300000 = 3 lakh
20000000 = 2 crore
12000 = 12k
\$12k = 12000
\$4M = 4000000
7 thousand = 7000
2 million ! 2 billion
2 million ! 2 thousand
4000000 ! 5 million
36 ! 4 dozen
\$2.5\text{ billion} ! \$2.5\text{ million}
3 ? 3 million
2 ? 2 dozen
""",
    "decimals": r"""
0.28125 = 0.2812
0.28125 = 0.2813
\frac{9}{32} = 0.28125
0.75 = \frac{3}{4}
2.50 = 2.5
8/3 = 2.6667
\frac{22}{7} = 3.142857
0.3 = 0.30000000000000004
\pi = 3.14159
2\sqrt{2} = 2.8284
x + \sqrt{2} = x + 1.41421
1234567.5 ! 1234568.5
2.000001 ! 2.000002
99.95 ! 99.96
10^{30} ! 10^{30}+1
0.2812 ! 0.2813
8/3 ! 2.71
2\sqrt{2} ! 2.9
x + \sqrt{2} ! x + 1.52
2000000.5 ? 2000001
8/3 ? 2.67
8/3 ? 2.6666
\pi ? 3.14
""",
    "repeating and mixed": r"""
\frac{5}{6} = 0.8\overline{3}
\frac{5}{6} = 0.8333...
\frac{5}{6} = 0.8\dot{3}
\frac{5}{6} = 0.8\dot3
\frac{4}{33} = 0.\overline{12}
\frac{4}{33} = 0.(12)
\frac{4}{33} = 0.\dot{1}\dot{2}
\frac{41}{333} = 0.\dot{1}2\dot{3}
\frac{13}{6} = 2.1\overline{6}
\frac{2}{3} = 0.666\ldots
\frac{7}{2} = 3½
\frac{7}{2} = 3 1/2
\frac{7}{2} = 3\frac{1}{2}
-\frac{7}{2} = -3½
\frac{11}{4} = 2¾
\frac{2}{3} = ⅔
\frac{x}{2} = ½x
\frac{5}{6} ! 0.8\overline{4}
\frac{31}{2} ! 3½
0.1\overline{6} ! 0.\overline{16}
\frac{13}{6} ! 2.\overline{16}
3 ! 3½
2 1/2 ! 21/2
3 4/5 ! 34/5
2½ ! 21/2
2½ = 2 1/2
""",
    "factorials and choices": r"""
120 = 5!
105 = 7!!
48 = 6!!
(3!)! = 720
9 = !4
10 = \binom{5}{2}
10 = C(5,2)
10 = C_5^2
10 = C^2_5
10 = {}_5C_2
10 = {}^{5}C_{2}
10 = 5C2
20 = P(5,2)
20 = A_5^2
20 = {}_5P_2
\binom{n}{2} = \frac{n(n-1)}{2}
(n+1)! = (n+1)\cdot n!
12 = \text{lcm}(4, 6)
2 = \gcd(4, 6)
3 = \lfloor 3.7 \rfloor
(4!)! ! 4!!
105 ! 7!
10 ! C(6,2)
20 ! A_6^2
""",
    "marks of numbers": r"""
1234567 = 1,234,567
1234567 = 1.234.567
1234567 = 12,34,567
1234567 = 1'234'567
1234567 = 1 234 567
1234567.89 = 1.234.567,89
12 = １２
25 = ٢٥
-4 = −4
10^{6} = 10⁶
x_1 = x₁
6\sqrt{3} = 6√3
47 = 047
73 = **73**
73 = 73**
0.00032 = 3.2\times10^{-4}
0.00032 = 3.2e-4
31 = 0x1f
1234567 ! 1.234.568
1234567 ! 12,34,568
6.02\times10^{23} ! 6.02\times10^{22}
1.234 ? 1,234
101_2 ? 101
5 ? 101_2
12 345 678 = 12345678
1.234 ? 1234
1234 ? 1.234
1.234 ! 1235
55,71,520 = 2 \times 2785760
55,71,521 ? 2 \times 2785760
""",
    "words": r"""
21 = twenty-one
100 = one hundred
115 = one hundred and fifteen
2300000 = two million three hundred thousand
\frac{3}{4} = three quarters
\frac{3}{2} = one and a half
20 = twenty dollars
July 4 = 4 July
Yes = Yes, it converges
\emptyset = no solution
25 ! twenty-six
even ! odd
True ! False
Monday ! Friday
24 ! There is no solution
12 ! impossible
12 ? zwölf
12 ? a few
cat ? cats
0 ? none
甲 ? 乙
IV = 4
XII = 12
VI ? 7
VI ? IV
CD ? 5
-3 hours later ! 3 hours later
5/6 of the cake ? 5 6 of the cake
\sqrt{5} meters high above ? 5 meters high above
July 4, 1776 = July 4 1776
5 apples remaining = $5$ apples remaining.
a 20-year old man = the 20 year old man
""",
    "clock and ratio": r"""
8:34 PM = 20:34
08:34 P.M. = 20:34
8:34 p.m. = 8:34 PM
12:05 AM = 00:05
3:4 = \frac{3}{4}
3:4 = 3 to 4
noon = 12:00 PM
8:34 PM ! 8:34 AM
8:34 PM ! 20:35
8:34 ? 8:34 PM
3:4 ? 6:8
""",
    "congruences": r"""
3 \pmod 7 = 10 \pmod 7
3 \pmod{7} = 3 (mod 7)
3 \pmod 7 = 3 \bmod 7
x\equiv 3\pmod 7 = x\equiv -4 \pmod 7
x\equiv 3\pmod 7 = x = 7k + 3
n=4k+1 = n=4k+1, k\in\mathbb{Z}
\frac{\pi}{3}+2k\pi = \frac{\pi}{3}+2n\pi
\frac{\pi}{3}+k\pi = \frac{4\pi}{3}+k\pi
3 \pmod 7 ! 4 \pmod 7
3 \pmod 7 ! 3 \pmod 5
x\equiv 3\pmod 7 ! x\equiv 5 \pmod 7
\frac{\pi}{3}+2k\pi ! \frac{\pi}{3}+k\pi
3 \pmod 7 ? 3
3 ? 3 \pmod 7
""",
    "inequalities and sets": r"""
x<3 = 2x<6
x<3 = 3>x
x<3 = (-\infty,3)
|x-3|<2 = 1<x<5
|x-3|<2 = (1,5)
|x|\ge 2 = x\le -2 \text{ or } x\ge 2
x^2<4 = -2<x<2
x^2\ge 9 = (-\infty,-3]\cup[3,\infty)
(2,5) = ]2,5[
[2,5) = [2,5[
(2,5] = ]2;5]
(-\infty,1)\cup(1,\infty) = \mathbb{R}\setminus\{1\}
x\ne 1 = \mathbb{R}\setminus\{1\}
\{x \mid x>2\} = (2,\infty)
x>0 = \mathbb{R}^+
\mathbb{R} = (-\infty,\infty)
\{1,2\} = \{1\}\cup\{2\}
x\in[1,3] = 1\le x\le 3
2x+2y<6 = x+y<3
\frac{1}{x}>0 = x>0
x<3 ! x\le 3
x<3 ! x>3
|x-3|<2 ! 1<x<6
x^2<4 ! x<2
(2,5) ! ]2,6[
(-\infty,1)\cup(1,\infty) ! \mathbb{R}\setminus\{2\}
2x+2y<6 ! x+y<4
x^2+y^2=4 ! x^2+y^2=9
n>3 ? n\ge 4
x>3 ? t>3
1,2 ? x^2-3x+2=0
1,2,3 ? 1\le n\le 3
""",
    "trigonometry and logarithms": r"""
\cos x = \sin(90^\circ - x)
\sin 30^\circ = \frac12
\cos x = \sin(\frac{\pi}{2}-x)
\sin^2 x = 1-\cos^2 x
2\sin x\cos x = \sin 2x
\sin^{-1}(x) = \arcsin x
\log_3 9 = 2
\ln 9 = 2\ln 3
\log 100 = 2
\tan x = \frac{\sin x}{\cos x}
\sin x ! \cos x
\sin 2x ! 2\sin x
\ln 9 ! 3\ln 3
""",
    "integrals and letters": r"""
x^3+C = C+x^3+5
\frac{x^2}{2}+C = \frac{(x+1)^2}{2}-x+C
\ln x + C = \ln(5x) + C
C_1 e^x + C_2 e^{-x} = C_2 e^x + C_1 e^{-x}
x^3+C ! x^2+C
x+c ! x+5+c
2^{-x} ! 2^x
\int f=2 ? \int g=2
2^k ? 2^n
\frac{1}{2x} ? 1/2x
\undefined{x} ? 5
""",
    "vectors": r"""
(3,-4) = 3\mathbf{i}-4\mathbf{j}
(3,-4) = 3\vec{i}-4\vec{j}
(3,-4) = 3\hat{i} - 4\hat{j}
(1,2,3) = \mathbf{i}+2\mathbf{j}+3\mathbf{k}
2\mathbf{i}+\mathbf{j} = \mathbf{j}+2\mathbf{i}
\begin{pmatrix}3\\-4\end{pmatrix} = 3\mathbf{i}-4\mathbf{j}
(3,-4) ! 3\mathbf{i}+4\mathbf{j}
2\mathbf{i}+\mathbf{j} ! \mathbf{i}+2\mathbf{j}
""",
    "lists": r"""
(4,9) = （4，9）
4, 9 = 4、9
4, 9 = 4或9
4, 9 = 4 和 9
4, 9 = 4；9
4, 9 = 4 y 9
4, 9 = 4 et 9
4, 9 = 9 und 4
4, 9 = x=4 or x=9
4, 9 = 4 and 9 only
4, 9 = 4 and 9 respectively
(a) 4, (b) 9 = 4, 9
(a) 4 (b) 9 = a) 4, b) 9
1) 4 2) 9 = 4; 9
(i) 4 (ii) 9 = (a) 4 (b) 9
Part A: 4, Part B: 9 = 4, 9
4 apples and 9 pears = 4, 9
(1,2) = x=1, y=2
(a,b)=(1,2) = a=1, b=2
1,2,3,4 = 1-4
1,2,3,4 = 1 to 4
\pm 4 = 4, -4
5,-5 = |x|=5
\{1,1,2\} = \{1,2\}
4, 9 ! 4, 8
4, 9 ! 4, 9, 10
4, 9 ! 4
(4,9) ! （9，4）
(a) 4 (b) 9 ! (a) 9 (b) 4
(a) 4 (b) 9 ! 4, 8
a=1, b=2 ! a=2, b=1
\pm 4 ! \pm 5
(4,9) ! 4/9
4, 9 ? \undefined{4}
(a) 4 (b) 9 ? 9, 4
(1,2) ? P
3, -5 = 3 y -5
2, 3 = 2 e 3
3y - 5 ? 3 y -5
3y + 5 = 3 y + 5
- 9 x - 9 y + 8=0 ! - 9 x - 9 y + 7=0
x^2 - 12 x + y^2 - 12 y + 47=0 ! x^2 - 12 x + y^2 - 12 y + 46=0
x=-5, p=\frac{14}{3} = -5, \frac{14}{3}
x=2, p=3 ? 3, 2
y=1, x=2 ? (1, 2)
""",
    "shown arithmetic": r"""
91 = 2\cdot 8+75 = 91
317 = m+n = 280+37 = 317
10x^7 + C = \frac{70x^7}{7} + C = 10x^7 + C
10x^7 + C ! \frac{77x^7}{7} + C = 11x^7 + C
10x^7 + C ? \frac{70x^7}{7} + C = 11x^7 + C
90 ! 2\cdot 8+75 = 91
4 ? x^2 = 4
40 ? 2\cdot 20 = 41
""",
}  # fmt: skip
KINDS = {"=": Outcome.correct, "!": Outcome.incorrect, "?": None}


def rows() -> list[tuple[str, str, str, str]]:
    """(class, gold, sign, answer)."""
    found = []
    for name, block in PAIRS.items():
        for line in block.strip().splitlines():
            places = [(line.find(f" {sign} "), sign) for sign in KINDS if f" {sign} " in line]
            place, sign = min(places)
            found.append((name, line[:place], sign, line[place + 3 :]))
    return found


ROWS = rows()


@pytest.mark.parametrize(("name", "gold", "sign", "answer"), ROWS)
def test_a_pair_of_answers_is_judged_as_a_reader_would(name: str, gold: str, sign: str, answer: str) -> None:
    verdict = judge_answer(gold, answer)
    assert (verdict.outcome if verdict.outcome in DECIDED else None) == KINDS[sign], (name, verdict)


@pytest.mark.parametrize(("name", "gold", "sign", "answer"), ROWS)
def test_no_pair_is_judged_the_opposite_way_when_its_sides_change_places(name: str, gold: str, sign: str, answer: str) -> None:  # fmt: skip
    opposite = {"=": Outcome.incorrect, "!": Outcome.correct, "?": None}[sign]
    assert judge_answer(answer, gold).outcome != opposite, name


def test_there_are_enough_pairs_and_each_class_has_equal_and_different_ones() -> None:
    assert len(ROWS) >= 250
    for name in PAIRS:
        assert {sign for kind, _, sign, _ in ROWS if kind == name} >= {"=", "!"}
