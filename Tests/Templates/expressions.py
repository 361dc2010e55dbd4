"""Small templates: one for each construct, filter, method and test."""

VARIABLES = {
    "messages": [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Yo", "n": 3}, {"role": "user", "content": "héllo wörld"}],
    "d": {"b": 1, "a": "x", "C": [1, 2, {"k": None}], "items": 5, "名": 1.5},
    "l": [3, 1, 2], "s": "  Hello World \n", "names": ["bob", "Alice", "carol", "alice"], "n": 7, "f": 2.5, "t": True, "none": None,
    "empty": "", "html": "<a href='x'>&\"</a>", "nested": [[1, 2], [3, [4, 5]]], "big": 123456789012345678901234567890,
    "u": "ÄÖÜ straße ΑΣ ǆ", "lines": "a\nb\r\nc\n\nd",
}

EXPRESSIONS = [
    # printing
    "{{ none }}|{{ t }}|{{ f }}|{{ n }}|{{ d }}|{{ l }}|{{ nested }}|{{ big }}|{{ missing }}|{{ (1,) }}|{{ (1, 'a') }}|{{ () }}|{{ [] }}|{{ {} }}",
    "{{ 1e16 }} {{ 1e15 }} {{ 1.5e-5 }} {{ 0.0001 }} {{ 100000.0 }} {{ 1e22 }} {{ 1.0 }} {{ 123456.789e3 }}",
    "{{ ['a\\'b', \"a'b\\\"c\", 'tab\\t', '\\x00\\x7f\\u200b\\xa0é🎉'] }}", "{{ 'a' 'b' \"c\" }}", "{{ 'x\\u00e9\\x41\\101\\q\\\n y' }}",
    # arithmetic
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 'a' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'x' * -1 }} {{ t + 1 }}",
    "{{ 1 ~ 2 ~ 'a' ~ none ~ missing ~ [1] }}", "{{ 1 - 1 ~ 'x' }}", "{{ -n|abs }} {{ +f }} {{ - 3 }} {{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 0o17 }}",
    "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ missing + 'a' }}", "{{ 'a' + missing }}", "{{ none + 'a' }}", "{{ [1] + 'a' }}", "{{ -'a' }}",
    "{{ 9223372036854775807 }} {{ big == big }} {{ 1 == 1.0 }} {{ t == 1 }} {{ 'a' == 1 }} {{ missing == missing2 }} {{ none == missing }}",
    # comparisons and logic
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 <= 1.0 }} {{ 3 > 2 >= 2 != 1 == 1 }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ missing < 1 }}",
    "{{ 'a' in 'abc' }} {{ '' in 'abc' }} {{ 1 in l }} {{ 'b' in d }} {{ 'z' not in d }} {{ missing in l }} {{ 'a' in missing }} {{ 'x' in none }}", "{{ 1 in 'abc' }}", "{{ missing in 'abc' }}",
    "{{ 0 or 'x' }} {{ '' or none }} {{ 1 and 2 }} {{ 0 and missing.x }} {{ not 1 }} {{ not not 'a' }} {{ not missing }} {{ 1 or missing.x.y }}",
    "{{ 'a' if t }}|{{ 'a' if not t }}|{{ 'a' if 0 else 'b' if 0 else 'c' }}|{{ ('a' if 0) is defined }}", "{{ ('a' if 0).x }}", "{{ not 1 in l }} {{ not (1 in l) }}",
    # access
    "{{ d.a }} {{ d['a'] }} {{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 5) }} {{ d['items'] }} {{ d.C[2].k }} {{ d.名 }} {{ d.missing }} {{ d.missing is defined }}",
    "{{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.items() | length }} {{ d.items is defined }} {{ d.items is callable }}", "{{ d.missing.x }}", "{{ missing.x }}", "{{ missing[0] }}", "{{ missing() }}",
    "{{ l[0] }} {{ l[-1] }} {{ l[5] }} {{ l[-9] }} {{ l['a'] }} {{ l.0 }} {{ s[2] }} {{ s[-3] }} {{ 'abc'[9] }} {{ none.x }} {{ none['x'] }} {{ n.x }} {{ l[t] }} {{ l[1.0] }}",
    "{{ l[::-1] }} {{ l[1:] }} {{ l[:-1] }} {{ l[-2:] }} {{ l[:1] }} {{ l[5:] }} {{ l[::2] }} {{ l[2:0:-1] }} {{ l[-1:-9:-1] }} {{ l[:] }} {{ l[:none] }} {{ l[-100:100] }}",
    "{{ 'héllo'[1:3] }} {{ 'héllo'[::-1] }} {{ 'héllo'[-2:] }} {{ (1, 2, 3)[1:] }} {{ ''[1:] }} {{ 'abc'[::2] }} {{ 'abc'[3:1] }}", "{{ l[::0] }}", "{{ missing[1:] }}", "{{ d[1:] }}", "{{ l['a':] }}",
    "{{ d.__class__ }}", "{{ d['__class__'] }}", "{{ ''.__class__.__mro__ }}", "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}", "{{ l.append is defined }}", "{{ messages.append({'role': 'x'}) }}",
    # tests
    "{{ missing is defined }} {{ missing is undefined }} {{ none is none }} {{ none is not none }} {{ n is not defined }} {{ t is true }} {{ 1 is true }} {{ false is false }} {{ t is boolean }} {{ 1 is boolean }}",
    "{{ s is string }} {{ l is string }} {{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ d is sequence }} {{ s is sequence }} {{ n is sequence }} {{ none is sequence }} {{ missing is sequence }} {{ (1, 2) is sequence }} {{ d.items() is sequence }} {{ range(3) is sequence }}",
    "{{ l is iterable }} {{ d is iterable }} {{ s is iterable }} {{ n is iterable }} {{ none is iterable }} {{ missing is iterable }} {{ n is number }} {{ f is number }} {{ t is number }} {{ s is number }} {{ big is number }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ big is integer }}",
    "{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ n is eq 7 }} {{ n is equalto(8) }} {{ n is ne 7 }} {{ n is gt 3 }} {{ n is lt 3 }} {{ n is ge 7 }} {{ n is le 7 }} {{ 1 is in l }} {{ 'a' is lower }} {{ 'A' is upper }} {{ 'a' is sameas 'b' }} {{ none is sameas none }} {{ namespace is callable }}",
    "{{ 'a' is odd }}", "{{ n is eq 7 and t }}", "{{ n is defined and n is number or missing }}", "{{ n is not eq 7 }}", "{{ n is foo }}", "{{ t is is }}", "{{ n is odd is even }}",
    # filters
    "{{ s | trim }}|{{ 'xxaxx' | trim('x') }}|{{ l | length }}|{{ s | length }}|{{ u | length }}|{{ d | count }}|{{ missing | length }}", "{{ none | length }}", "{{ n | length }}", "{{ (l | map('string')) | length }}",
    "{{ l | join }}|{{ l | join(', ') }}|{{ messages | join('/', attribute='role') }}|{{ d | join(',') }}|{{ 'abc' | join('-') }}|{{ missing | join(',') }}|{{ [none, t, 1.0] | join(' ') }}",
    "{{ missing | default('x') }}|{{ none | default('x') }}|{{ none | default('x', true) }}|{{ '' | d('y', boolean=True) }}|{{ missing | default }}|{{ missing.x | default('y') }}",
    "{{ u | upper }}|{{ 'ÄÖÜ ß' | lower }}|{{ 'hELLO wORLD' | capitalize }}|{{ \"it's a heLLo-wORLD (foo) [bar\" | title }}|{{ none | upper }}|{{ 1 | capitalize }}",
    "{{ 'aXbXc' | replace('X', '-') }}|{{ 'aXbXc' | replace('X', '-', 1) }}|{{ 'abc' | replace('', '.') }}|{{ 1223 | replace(2, 3) }}|{{ 'aaa' | replace('aa', 'b') }}",
    "{{ l | first }}|{{ l | last }}|{{ s | first }}|{{ [] | first }}|{{ d | first }}|{{ l | sort }}|{{ l | sort(reverse=true) }}|{{ names | sort }}|{{ names | sort(case_sensitive=true) }}|{{ messages | sort(attribute='content') | map(attribute='content') | list }}",
    "{{ l | reverse | list }}|{{ 'abé' | reverse }}|{{ l | max }}|{{ l | min }}|{{ names | max }}|{{ l | sum }}|{{ messages | map(attribute='n', default=1) | sum }}|{{ names | unique | list }}|{{ [] | max }}", "{{ [1, 'a'] | sort }}", "{{ 1 | sort }}",
    "{{ d | dictsort }}|{{ {'b': 2, 'a': 3} | dictsort(by='value') }}|{{ {'b': 2, 'a': 3} | dictsort(reverse=true) }}|{{ {'B': 1, 'a': 2} | dictsort(true) }}|{{ d | items | list }}", "{{ l | dictsort }}", "{{ l | items | list }}",
    "{{ names | map('upper') | list }}|{{ names | map('replace', 'a', 'o') | join }}|{{ messages | map(attribute='role') | list }}|{{ nested | map('first') | list }}|{{ names | map('length') | sum }}", "{{ names | map('nofilter') | list }}", "{{ names | nofilter }}",
    "{{ l | select('odd') | list }}|{{ l | reject('equalto', 1) | list }}|{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}|{{ messages | rejectattr('n') | list | length }}|{{ messages | selectattr('n', 'defined') | list }}|{{ [0, 1, ''] | select | list }}|{{ l | select('>', 1) | list }}",
    "{{ none | map('upper') | list }}|{{ none | selectattr('a', 'nothing') | list }}|{{ 0 | select | list }}|{{ missing | reject('odd') | list }}|{{ '' | rejectattr('a') | list }}",
    "{% for a in none | selectattr('a') %}x{% endfor %}|", "{{ n | select | list }}", "{% macro f(a, b, a) %}{% endmacro %}x",
    "{{ '42' | int }} {{ ' 42 ' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ '3.9' | int }} {{ none | int }} {{ t | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ 2 | float }} {{ -3 | abs }} {{ 2.5 | round }} {{ 3.5 | round }}",
    "{{ d | string }}|{{ n | string }}|{{ none | string }}|{{ 'abé' | list }}|{{ d | list }}|{{ html | e }}|{{ html | safe }}|{{ (html | e) | e }}|{{ (html | safe) + html }}|{{ html + (html | safe) }}|{{ (html | safe) ~ html }}|{{ html | escape | length }}",
    "{{ lines | indent }}|{{ lines | indent(2) }}|{{ lines | indent(2, first=true) }}|{{ lines | indent('> ', blank=true) }}",
    "{{ d | tojson }}|{{ d | tojson(indent=2) }}|{{ nested | tojson(indent=4) }}|{{ u | tojson }}|{{ u | tojson(ensure_ascii=true) }}|{{ d | tojson(separators=(',', ':')) }}|{{ d | tojson(sort_keys=true) }}|{{ big | tojson }}|{{ '🎉\\x00\\x7f' | tojson(ensure_ascii=true) }}|{{ (1, 2) | tojson }}|{{ [] | tojson(indent=2) }}|{{ {} | tojson(indent=2) }}|{{ {1: 2, none: 3, true: 4} | tojson }}|{{ 1e16 | tojson }}|{{ html | tojson }}",
    "{{ missing | tojson }}", "{{ range(3) | tojson }}", "{{ '\\b\\f\\n\\r\\t\"\\\\/' | tojson }}", "{{ none | tojson | safe }}{{ t | tojson }}",
    # methods
    "{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xyax'.strip('yx') }}|{{ '\\u3000a\\x1c'.strip() }}|{{ 'éaé'.strip('é') }}|{{ s.strip(none) }}",
    "{{ s.split() }}|{{ 'a,b,,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ''.split() }}|{{ ''.split(',') }}|{{ ' a  b c '.split(none, 1) }}|{{ 'a b c'.rsplit(' ', 1) }}|{{ ' a  b c '.rsplit(none, 1) }}|{{ 'a--b--c'.split('--')[-1] }}|{{ 'a b'.split(maxsplit=1) }}|{{ 'abc'.split(sep='b') }}", "{{ 'a'.split('') }}", "{{ 'a'.split(1) }}",
    "{{ lines.splitlines() }}|{{ lines.splitlines(true) }}|{{ 'a=b=c'.partition('=') }}|{{ 'a=b=c'.rpartition('=') }}|{{ 'abc'.partition('=') }}|{{ 'abc'.rpartition('=') }}",
    "{{ 'abc'.startswith('a') }} {{ 'abc'.startswith(('x', 'ab')) }} {{ 'abc'.endswith('bc') }} {{ 'abc'.endswith('') }} {{ 'a'.startswith('abc') }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}", "{{ 'a'.startswith(1) }}", "{{ 'a'.startswith(['a']) }}", "{{ none.startswith('a') }}", "{{ l.startswith('a') }}",
    "{{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ 'abc'.find('c') }} {{ 'héc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abca'.rfind('a') }} {{ 'aaa'.count('a') }} {{ 'aaa'.count('') }} {{ 'abc'.index('c') }} {{ ','.join(names) }}", "{{ 'abc'.index('z') }}", "{{ ','.join(l) }}", "{{ 'a'.replace('a') }}",
    "{{ u.upper() }}|{{ 'ABC'.lower() }}|{{ 'hELLO wORLD'.capitalize() }}|{{ \"it's a hELLO\".title() }}|{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' \\n'.isspace() }} {{ ''.isdigit() }} {{ 'AB1'.isupper() }} {{ 'ab'.islower() }}",
    "{{ l.index(1) }} {{ l.count(2) }} {{ d.copy() }} {{ (1, 2).index(2) }}", "{{ l.index(9) }}", "{{ 'a'.nomethod() }}", "{{ l.nomethod() }}", "{{ d.nomethod() }}", "{{ d.nokey.strip() }}",
    # statements
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x // 2) }};{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in missing %}a{% else %}b{% endfor %}{% for c in 'añb' %}{{ c }}.{% endfor %}{% for k in d %}{{ k }},{% endfor %}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}{{ loop.last }} {% endfor %}{% for x in l if x > 9 %}a{% else %}nothing{% endfor %}", "{% for x in none %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% break %}", "{% for x in l %}{% for y in l %}{% break %}{% endfor %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}", "{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}", "{% for i in l %}{% if loop.first %}{% set y = i %}{% endif %}{{ y }},{% endfor %}{{ y }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.c is defined }}{{ ns['a'] }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}", "{% set x = 1 %}{% set x.a = 2 %}", "{% set zz.a = 2 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, e) = [3, 4] %}{{ c }}{{ e }}{% set t2 = 1, 2 %}{{ t2 }}", "{% set x %} a {{ n }} {% endset %}[{{ x }}]{% set y | trim | upper %} b {% endset %}[{{ y }}]", "{% set x %}{% set z = 1 %}{% endset %}{{ z }}",
    "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m() }}{{ m(b=1, a=2) }}{{ m(1) | length }}{{ m.name }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}{% for x in l %}{{ m() }}{% endfor %}", "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "{% macro m(v) %}{% for k in v %}{{ loop.index }}{{ k }}{{ n }}{% endfor %}{% endmacro %}{% for n in [1, 2] %}{{ m(['a']) }}{% endfor %}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{{ m() }}{% macro m() %}{% endmacro %}",
    "{% if 0 %}a{% elif t %}b{% else %}c{% endif %}{% if missing %}a{% elif 0 %}b{% else %}c{% endif %}{% if none %}{% endif %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% generation %}a{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}", "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{{ range(3) | list }}{{ range(1, 4) | list }}{{ range(5, 0, -2) | list }}{{ range(3)[1] }}{{ range(0) | length }}{% for i in range(2) %}{{ i }}{% endfor %}", "{{ range(1000000) }}", "{{ range('a') }}", "{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}",
    "{{ raise_exception('no: ' ~ n) }}", "{{ strftime_now('%Y-%m-%d') }}", "{{ strftime_now is defined }}{{ raise_exception is defined }}{{ range is defined }}",
    # white space, comments, raw
    "a\n  {% if t %}\n  b\n  {% endif %}\nc\n", "a\n  {%+ if t %}\n  b\n  {%- endif +%}\nc\n\n", "a {%- if t -%} \n b {%- endif -%} c", "a {{- n -}} b", "a\n{{ n }}\nb", "  {# c #}\n  a {# c #} b\n  {#- c -#}  \n c", "{% raw %}{{ x }}{% if %}\n{% endraw %}\nx", "{%- raw -%} {{ a }} {%- endraw -%} b", " \n {% set x = 1 %} \n y",
    "\u3000{%- if t %}a{% endif -%}\u3000b", "x\n\t{% if t %}y{% endif %}", "{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}} }}", "{{ {'a': {}}}}", "{{'a'}}{{-'b'-}} c", "a\r\nb\rc\n\n", "{#{{ x }}#}{##}", "{{ 1 }}\n", "{{ 1 }}\n\n", "{{+1}}", "{{ -1 }}", "{{-1}}",
    # what is no template
    "{{ 1", "{% if %}", "{% if t %}", "{% endif %}", "{{ }}", "{{ 1 2 }}", "{{ (1 }}", "{{ 'a }}", "{# a", "{% foo %}", "{% for x %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{{ a b }}", "{{ a. }}", "{{ a[ }}", "{{ ) }}", "{% raw %}", "{{ $ }}", "{% else %}", "{% set true = 1 %}", "{{ x | }}", "{{ x is }}", "{{ f(a=1, 2) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% if t %}{% for x in l %}{% endif %}{% endfor %}", "{{ [1, }}", "{{ 1 if }}", "{{ not }}", "{{ 'a' ~ }}", "{{ {1 2} }}",
]
