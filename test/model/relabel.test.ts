// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of Go's regexp.Expand
/** Relabelling by the rules of Prometheus, action by action. */
import { test } from 'tap';
import { compileRelabel, RELABEL_DEFAULTS, type RelabelRule } from '../../src/model/relabel.ts';

type Written = Partial<RelabelRule>;

function relabelled(labels: Record<string, string>, ...rules: Written[]): Record<string, string> | null {
  const map = new Map(Object.entries(labels));
  const keeps = compileRelabel(rules.map((rule) => ({ ...RELABEL_DEFAULTS, ...rule })))(map);
  return keeps ? Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1))) : null;
}

test('each action does what it does in Prometheus', async (t) => {
  const f = (labels: Record<string, string>, rule: Written | Written[], want: Record<string, string> | null): void => {
    t.strictSame(relabelled(labels, ...[rule].flat()), want, JSON.stringify(rule));
  };
  const abc = { a: 'foo', b: 'bar', c: 'baz' };
  f(
    abc,
    { sourceLabels: ['a'], regex: 'f(.*)', targetLabel: 'd', replacement: 'ch${1}-ch$1' },
    { ...abc, d: 'choo-choo' },
  );
  f(abc, { sourceLabels: ['a', 'b'], regex: 'foo;bar', targetLabel: 'd', replacement: 'x' }, { ...abc, d: 'x' });
  f(
    abc,
    { sourceLabels: ['a', 'b'], separator: '|', regex: '(.*)\\|(.*)', targetLabel: 'd', replacement: '$2$1' },
    { ...abc, d: 'barfoo' },
  );
  f(abc, { sourceLabels: ['a'], regex: 'fo', targetLabel: 'd' }, abc);
  f(abc, { sourceLabels: ['a'], regex: 'foo', targetLabel: 'b', replacement: '' }, { a: 'foo', c: 'baz' });
  f(abc, { sourceLabels: ['none'], regex: '(.*)', targetLabel: 'b' }, { a: 'foo', c: 'baz' });
  f(abc, { targetLabel: 'd', replacement: 'always' }, { ...abc, d: 'always' });
  f(
    abc,
    { sourceLabels: ['a'], regex: '(?P<head>f).*', targetLabel: 'd', replacement: '$head$$$9' },
    { ...abc, d: 'f$' },
  );
  f(abc, { sourceLabels: ['a'], regex: '(f)(.*)', targetLabel: '${1}_$2', replacement: 'v' }, { ...abc, f_oo: 'v' });
  f({ a: '0x' }, { sourceLabels: ['a'], regex: '(0)x', targetLabel: '${1}', replacement: 'v' }, { a: '0x' });
  f(
    { a: 'one\ntwo' },
    { sourceLabels: ['a'], regex: 'one.two', targetLabel: 'b', replacement: 'v' },
    { a: 'one\ntwo', b: 'v' },
  );
  f(abc, { action: 'drop', sourceLabels: ['a'], regex: '.*o' }, null);
  f(abc, { action: 'drop', sourceLabels: ['a'], regex: 'f' }, abc);
  f(abc, { action: 'keep', sourceLabels: ['a'], regex: 'foo|x' }, abc);
  f(abc, { action: 'keep', sourceLabels: ['a'], regex: 'x' }, null);
  f({ a: 'x', b: 'x' }, { action: 'keepequal', sourceLabels: ['a'], targetLabel: 'b' }, { a: 'x', b: 'x' });
  f(abc, { action: 'keepequal', sourceLabels: ['a'], targetLabel: 'b' }, null);
  f({ a: 'x', b: 'x' }, { action: 'dropequal', sourceLabels: ['a'], targetLabel: 'b' }, null);
  f(abc, { action: 'dropequal', sourceLabels: ['a'], targetLabel: 'b' }, abc);
  f(abc, { action: 'labeldrop', regex: '[bc]' }, { a: 'foo' });
  f(abc, { action: 'labelkeep', regex: '[bc]' }, { b: 'bar', c: 'baz' });
  f({ __meta_x: '1', a: '2' }, { action: 'labelmap', regex: '__meta_(.+)' }, { __meta_x: '1', a: '2', x: '1' });
  f({ ab: 'X y' }, { action: 'lowercase', sourceLabels: ['ab'], targetLabel: 'l' }, { ab: 'X y', l: 'x y' });
  f({ ab: 'X y' }, { action: 'uppercase', sourceLabels: ['ab'], targetLabel: 'u' }, { ab: 'X y', u: 'X Y' });
  // The last eight bytes of the MD5 of baz as a big-endian number, modulo 1000.
  f(abc, { action: 'hashmod', sourceLabels: ['c'], targetLabel: 'd', modulus: 1000 }, { ...abc, d: '976' });
  f(
    abc,
    [
      { action: 'drop', sourceLabels: ['a'], regex: 'foo' },
      { targetLabel: 'd', replacement: 'late' },
    ],
    null,
  );
});

test('a rule that cannot be used is refused, with its number', async (t) => {
  const f = (rule: Written, want: RegExp): void => {
    t.throws(() => relabelled({}, { targetLabel: 'a' }, rule), { code: 'bad_data', message: want });
  };
  f({ regex: '(', targetLabel: 'a' }, /relabel rule 2 \(replace\): error parsing regexp/);
  f({ targetLabel: '' }, /want a target label, got ""/);
  f({ targetLabel: 'a b' }, /want a target label/);
  f({ action: 'hashmod', targetLabel: 'a' }, /want a modulus above 0/);
  f({ action: 'lowercase', targetLabel: '$1' }, /want a target label/);
});
