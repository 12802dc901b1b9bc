/**
 * The template language of adapter rules against Go's own text/template, which kubectl has in it: the same data and the same
 * templates, but for the delimiters.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { executeTemplate } from '../../../src/api/kubernetes/go-template/execute.ts';
import { ExecError } from '../../../src/api/kubernetes/go-template/functions.ts';
import { parseTemplate } from '../../../src/api/kubernetes/go-template/parse.ts';
import { TemplateError } from '../../../src/api/kubernetes/go-template/tokens.ts';
import { runProgram, temporaryFolder } from '../../support/process.ts';
import { skipWithout } from '../../support/real-programs.ts';

const DATA = {
  Series: 'http_requests_total',
  LabelMatchers: 'namespace="shop",pod=~"a|b"',
  GroupBy: 'pod,container',
  GroupBySlice: ['pod', 'container', 'über'],
  LabelValuesByName: { namespace: 'shop', pod: 'a|b', empty: '' },
};

/** What makes text. */
const TEMPLATES = String.raw`
sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
<<.>>
<<$.Series>>
<<.GroupBySlice>><<.LabelValuesByName>>
<<.LabelValuesByName.pod>>|<<.LabelValuesByName.x>>
<<index .LabelValuesByName "pod">>
<<index .GroupBySlice 1>>
<<len .GroupBySlice>> <<len .LabelValuesByName>> <<len .Series>> <<len "ü">>
<<slice .Series 5>> <<slice .Series 0 4>> <<slice .GroupBySlice 1>> <<slice .GroupBySlice 1 2>>
<<if .LabelMatchers>>yes<<else>>no<<end>>
<<if .LabelValuesByName.empty>>yes<<else>>no<<end>>
<<if not .Series>>a<<else if eq .GroupBy "pod">>b<<else if .Series>>c<<else>>d<<end>>
<<if and .Series (eq .GroupBy "pod,container")>>both<<end>>
<<and 1 0 2>> <<and 1 2>> <<or 0 "" "x">> <<or 0 "">>| <<and "" .Nothing.At.All>>
<<not 0>> <<not "a">> <<not true>>
<<eq 1 1>> <<eq "a" "b" "a">> <<ne 1 2>> <<lt 1 2>> <<le 2 2>> <<gt "b" "a">> <<ge 1 2>> <<eq 1.5 1.5>> <<eq true false>>
<<range .GroupBySlice>>[<<.>>]<<end>>
<<range $i, $g := .GroupBySlice>><<if $i>>,<<end>><<$i>>=<<$g>><<end>>
<<range $k, $v := .LabelValuesByName>><<$k>>=<<$v>>;<<end>>
<<range .LabelValuesByName>>(<<.>>)<<end>>
<<range .GroupBySlice>><<if eq . "container">><<continue>><<end>><<.>> <<end>>
<<range .GroupBySlice>><<if eq . "container">><<break>><<end>><<.>> <<end>>
<<range .LabelValuesByName.nothing>>x<<else>>none<<end>>
<<range $.GroupBySlice>><<$.Series>>/<<.>> <<end>>
<<with .LabelValuesByName>><<.pod>><<$.Series>><<end>>
<<with .LabelValuesByName.empty>>x<<else>>none <<.Series>><<end>>
<<with $s := .Series>><<$s>><<end>>
<<$a := .Series>><<$a>> <<$a = "other">><<$a>>
<<$n := 1>><<range .GroupBySlice>><<$n = 2>><<end>><<$n>>
<<$n := 1>><<if true>><<$n := 2>><<$n>><<end>><<$n>>
a  <<- .Series ->>  b
a
<<- /* a comment */ ->>
b
a <</* another */>> b
<<.Series | printf "%s_%s" "x">> <<"x" | print .Series | printf "%q">>
<<printf "%s|%10s|%-10s|%.3s|%q|%v|%d|%05d|%x|%t|%f|%.2f|%%" "a" "b" "c" "abcdef" "q\"" "v" 7 42 "hi" true 1.5 2.345>>
<<printf "%v %v %v %s" .GroupBySlice .LabelValuesByName 1.5 .GroupBySlice>>
<<printf "%d" "x">> <<printf "%s" 1>> <<printf "%s">> <<printf "a" "b">> <<printf "%!">>
<<printf "%q" .GroupBySlice>> <<printf "%5d|%-5d|%x" 42 42 255>>
<<print "a" "b" 1 2 "c" 3>> <<print 1 2>> <<println "a" 1>>
<<html "<a href='x'>&\"">> <<js "it's \"<x>\" & \n y=1">> <<urlquery "a b&c=d/é!'()*~">>
<<"interpreted \t \"x\" \u00e9 \x41">> <<${'`'}raw \n${'`'}>> <<'a'>> <<0x1f>> <<1e3>> <<1_000>> <<-5>> <<1.50>> <<010>> <<+0b11>> <<0o17>> <<.5>> <<true>>
<<len (slice .Series 2)>> <<index (slice .GroupBySlice 1) 0>> <<(index .GroupBySlice 0)>>
<<block "inner" .Series>>[<<.>>]<<end>>
<<template "shared" .GroupBySlice>> <<template "shared">>
<<(.LabelValuesByName).pod>>
<<eq .LabelValuesByName.pod "a|b">>
`
  .trim()
  .split('\n');
/** Two lines of the table belong together. */
const JOINED = TEMPLATES.join('\u0000')
  .replace('a\u0000<<- /* a comment */ ->>\u0000b', 'a\n<<- /* a comment */ ->>\nb')
  .split('\u0000');
const SHARED = '<<define "shared">>{<<.>>}<<end>>';

/** What makes none, whether it is read or run. */
const BAD = [
  '<<nope>>',
  '<<.Series',
  '<<if .Series>>x',
  '<<end>>',
  '<<else>>',
  '<<>>',
  '<<$x>>',
  '<<"open>>',
  '<<break>>',
  '<<index .GroupBySlice 9>>',
  '<<index .Series "a">>',
  '<<slice .Series 9 2>>',
  '<<slice .LabelValuesByName 0>>',
  '<<len 3>>',
  '<<len>>',
  '<<eq 1>>',
  '<<eq 1 "a">>',
  '<<lt 1 "a">>',
  '<<eq .GroupBySlice .GroupBySlice>>',
  '<<not 1 2>>',
  '<<.Series.Deeper>>',
  '<<.Series "argument">>',
  '<<range .Series>>x<<end>>',
  '<<template "missing">>',
  '<<call .Series>>',
  '<<nil>>',
  '<<(.Series>>',
  '<<.Series)>>',
  '<<1 | 2>>',
  '<<range $a, $b, $c := .GroupBySlice>><<end>>',
];

function ours(template: string): string {
  const data = { ...DATA, LabelValuesByName: new Map(Object.entries(DATA.LabelValuesByName)) };
  try {
    return executeTemplate(parseTemplate(template), data, 'data');
  } catch (error) {
    if (error instanceof ExecError || error instanceof TemplateError) return `error: ${error.message}`;
    throw error;
  }
}

test('templates make what Go makes of them', { skip: skipWithout('kubectl') }, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const at = (name: string) => join(folder.path, name);
  const object = { apiVersion: 'example.com/v1', kind: 'Thing', metadata: { name: 'thing' }, data: DATA };
  writeFileSync(at('object.json'), JSON.stringify(object));
  const go = async (text: string) => {
    // Braces of the text itself would be taken for delimiters.
    const safe = text.replaceAll('{', '\u0002').replaceAll('}', '\u0003');
    writeFileSync(at('template'), safe.replaceAll('<<', '{{').replaceAll('>>', '}}'));
    const output = `go-template-file=${at('template')}`;
    const args = ['annotate', '--local', '-f', at('object.json'), 'a=b', '-o', output];
    return runProgram('kubectl', args, { env: { HOME: folder.path } });
  };
  const defined = JOINED.map((one, i) => `<<define "t${i}">>${one}<<end>>`).join('');
  const called = JOINED.map((_, i) => `<<template "t${i}" .data>>\u0001`).join('');
  const { stdout, stderr, code } = await go(SHARED + defined + called);
  t.equal(code, 0, stderr);
  const made = stdout.replaceAll('\u0002', '{').replaceAll('\u0003', '}').split('\u0001');
  // Data as a whole is a map for kubectl, and no value here.
  for (const [i, one] of JOINED.entries()) if (one !== '<<.>>') t.equal(ours(SHARED + one), made[i], one);
  for (const one of BAD) {
    const theirs = await go(`<<define "t">>${one}<<end>><<template "t" .data>>`);
    t.not(theirs.code, 0, `Go takes ${one}: ${theirs.stdout}`);
    t.match(ours(one), /^error: /, one);
  }
});
